"""The whole job, run once as a user runs it: simulate, run, and the files it leaves."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import tests.plain_environment  # noqa: F401
from tests.made_once import made_once
from tests.parsed_project import shared_parse

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared"
AS_OF = "2026-05-10T00:00:00Z"

Rows = list[dict[str, Any]]


def meterhouse(*arguments: str | Path, home: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own and check its exit code."""
    command = [sys.executable, "-m", "loaders.cli", "--home", str(home), *map(str, arguments)]
    with shared_parse(home, arguments):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == expect, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def plain_dbt(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run dbt itself in the project, on a home folder."""
    environment = {
        **os.environ,
        "METERHOUSE_HOME": str(home),
        "METERHOUSE_AS_OF": AS_OF,
        "DBT_TARGET_PATH": str(home / "target"),
        "DBT_LOG_PATH": str(home / "logs"),
    }
    command = [str(Path(sys.executable).parent / "dbt"), *arguments]
    with shared_parse(home):
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def lines_of(path: Path) -> list[bytes]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    content = content.removeprefix(b"\xef\xbb\xbf")
    if path.suffix == ".json" or path.name.endswith("pages_last.json"):
        # A document that may span lines goes on one.
        return [json.dumps(json.loads(content)).encode()]
    return content.splitlines()


class Published:
    """A published file and the questions tests ask of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, sql: str, parameters: list[Any] | None = None) -> Rows:
        with duckdb.connect(str(self.path), read_only=True) as reader:
            cursor = reader.execute(sql, parameters or [])
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def tables(self) -> list[str]:
        names = self.rows("select table_name from duckdb_tables() where not internal order by table_name")
        return [row["table_name"] for row in names]

    def content(self) -> dict[str, tuple[int, int]]:
        """Row count and an order-free hash of every table but publication and loads, which name instants of runs."""
        return {
            table: tuple(self.rows(f'select count(*) as n, bit_xor(hash("{table}")) as h from "{table}"')[0].values())
            for table in self.tables()
            if table not in ("publication", "loads")
        }


def make_world(folder: Path) -> None:
    """Simulate a world and run the job on it, then once more without news: a run of a copy of its home needs no dbt."""
    home = folder / "home"
    home.mkdir()
    meterhouse("simulate", folder / "world", home=home)
    run = meterhouse("run", folder / "world" / "data", "--as-of", AS_OF, home=home)
    (folder / "run.json").write_text(json.dumps([run.stdout, run.stderr]))
    meterhouse("build", "--as-of", AS_OF, home=home)
    meterhouse("publish", home=home)


def begun_home(home: Path) -> Path:
    """Make a home folder without records whose next run needs no dbt: it takes ten seconds less than a first one."""
    return shutil.copytree(made_once("empty", _make_empty) / "home", home)


def _make_empty(folder: Path) -> None:
    for _ in range(2):
        meterhouse("build", "--as-of", "2025-01-01T00:00:00Z", home=folder / "home")


class World:
    """A simulated world, what the job made of it, and the right answers."""

    def __init__(self, made: Path, home: Path) -> None:
        self.data = made / "world" / "data"
        self.home = shutil.copytree(made / "home", home)
        self.answers = json.loads((made / "world" / "answers.json").read_text())
        said = json.loads((made / "run.json").read_text().replace(str(made / "home"), str(home)))
        self.run_stdout, self.run_stderr = said
        self.published = Published(self.home / "published.duckdb")


@pytest.fixture
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    return meterhouse
