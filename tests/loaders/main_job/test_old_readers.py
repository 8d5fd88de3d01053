"""Dashboards bundle old engines: the published file and the queries beside it are read by each of them.

Each has an environment of its own, thrown away after the test, for it must not meet the project's DuckDB.
"""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from loaders.report import DASHBOARDS
from tests.loaders.main_job.conftest import World

_READ = """
import pathlib, sys
{connect}
for name in tables:
    run(f'select count(*), count(columns(*)) from "{{name}}"')
for path in sorted(pathlib.Path(sys.argv[2]).glob("*.sql")):
    assert run(path.read_text()), path
print(len(tables))
"""
_DUCKDB = """
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
run = lambda sql: connection.execute(sql).fetchall()
tables = [row[0] for row in run("select table_name from duckdb_tables() where not internal")]
"""
# As Apache Superset opens it.
_SUPERSET = """
import sqlalchemy
engine = sqlalchemy.create_engine(f"duckdb:///{sys.argv[1]}?access_mode=read_only")
connection = engine.connect()
run = lambda sql: connection.exec_driver_sql(sql).fetchall()
tables = sqlalchemy.inspect(engine).get_table_names()
"""


def environment(folder: Path, *packages: str) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"{', '.join(packages)} cannot be installed here for Python {sys.version_info[:2]}")
    return python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("connect", "packages"),
    [
        (_DUCKDB, ["duckdb==1.1.3"]),
        (_DUCKDB, ["duckdb==1.4.4"]),
        (_DUCKDB, ["duckdb==1.5.6"]),
        (_DUCKDB, ["duckdb>=2.0,<2.1"]),
        (_SUPERSET, ["duckdb-engine", "sqlalchemy", "duckdb==1.4.4"]),
    ],
    ids=["1.1.3", "1.4.4", "1.5.6", "2.0", "superset"],
)
def test_published_file_is_read_by(world: World, tmp_path: Path, connect: str, packages: list[str]) -> None:
    python = environment(tmp_path / "environment", *packages)
    command = [python, "-c", _READ.format(connect=connect), world.published.path, DASHBOARDS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == len(world.published.tables())
