.PHONY: setup demo test test-slow lint

VENV = .venv/bin
PYTEST = $(VENV)/python -m pytest

setup:
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

demo: setup
	@sh scripts/demo.sh

test: setup
	@$(PYTEST) -m "not slow"

test-slow: setup
	@$(PYTEST)

lint: setup
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@sh scripts/lint_sql.sh
