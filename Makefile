.PHONY: setup demo docs test test-slow lint bench

VENV = .venv/bin
PYTEST = $(VENV)/python -m pytest

setup:
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

demo: setup
	@sh scripts/demo.sh

docs: setup
	@sh scripts/docs.sh

# In the order of pyproject.toml's testpaths: by their number of tests, files of few long ones would be alone at the end.
test: setup
	@$(PYTEST) -m "not slow" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: setup
	@$(PYTEST)

lint: setup
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@sh scripts/lint_sql.sh

# What landing costs beside DuckDB, polars and dlt. Quick: make bench BENCH_SCALE=0.05 (see benchmarks/run.py).
bench: setup
	@$(VENV)/python benchmarks/run.py
