"""run, build, publish, status and plain dbt, as schedulers and people use them."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from loaders.warehouse import Home, locked
from tests.loaders.main_job.conftest import AS_OF, ROOT, Published, World, begun_home, plain_dbt
from tests.terminal import run_on_a_terminal

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def first_run(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home in which one organization went through the job though a file was missing, and what was said of that."""
    from tests.loaders.main_job.conftest import meterhouse

    home = tmp_path_factory.mktemp("small") / "home"
    missing = home.parent / "no such file.jsonl"
    done = meterhouse("run", missing, world.data / "org_c", "--as-of", AS_OF, home=home, expect=1)
    return home, done.stderr


@pytest.fixture(scope="module")
def small(first_run: tuple[Path, str]) -> Path:
    return first_run[0]


def test_run_lands_what_it_can_and_says_what_it_could_not(first_run: tuple[Path, str]) -> None:
    home, said = first_run
    assert "no such file.jsonl" in said
    assert Published(home / "published.duckdb").rows("select count(*) > 0 as any from orders") == [{"any": True}]


def test_plain_dbt_build_gives_the_same_tables(world: World, small: Path, tmp_path: Path, cli: Cli) -> None:
    cli("load", world.data / "org_c", home=tmp_path)
    done = plain_dbt("build", "--exclude", "test_type:unit", home=tmp_path)
    assert done.returncode == 0, done.stdout
    cli("publish", home=tmp_path)
    ours, theirs = (Published(home / "published.duckdb") for home in (small, tmp_path))
    # Landed at another moment, and among other files: everything else is the same.
    for table in ("usage_events", "order_reconciliation", "meter_usage", "billing_outcomes", "customers", "orders"):
        sql = f"select columns(lambda name: name not in ('landed_at', 'file_number')) from {table} order by all"
        assert ours.rows(sql) == theirs.rows(sql), table


def test_plain_dbt_respects_the_lock(small: Path) -> None:
    with locked(Home(small)):
        done = plain_dbt("build", home=small)
    assert done.returncode == 2
    assert f"process {os.getpid()}" in done.stdout + done.stderr


def test_an_empty_warehouse_builds_and_publishes(tmp_path: Path, cli: Cli) -> None:
    done = cli("run", home=tmp_path)
    assert "0 usage events" in done.stdout
    assert Published(tmp_path / "published.duckdb").rows("select count(*) as n from publication") == [{"n": 1}]


def test_a_build_on_a_terminal_shows_how_far_it_is_and_passes(small: Path) -> None:
    """dbt's events of models and of tests name the number of all nodes differently: a bar that asks fails the test."""
    command = [sys.executable, "-m", "loaders.cli", "--home", str(small), "build", "--as-of", AS_OF]
    code, shown, _ = run_on_a_terminal(command, cwd=ROOT, timeout=600)
    assert code == 0, shown.decode()
    # The bar is redrawn ten times a second; what it showed last may be a few nodes short of all.
    finished, total = map(int, re.findall(rb"(\d+)/(\d+)", shown)[-1])
    assert total > 200
    assert total - 50 < finished <= total


def test_fail_on_names_statuses(small: Path, cli: Cli) -> None:
    wrong = cli("run", "--fail-on", "bad", home=small, expect=2)
    assert wrong.stderr.startswith("error: --fail-on: no such status: 'bad'. Choose from not_comparable, pending")


def test_as_of_is_checked(small: Path, cli: Cli) -> None:
    wrong = cli("build", "--as-of", "yesterday", home=small, expect=2)
    assert wrong.stderr == ("error: --as-of: no ISO 8601 instant: 'yesterday'. Write it like 2026-05-01T00:00:00Z.\n")


def test_as_of_is_read_from_the_environment(
    small: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shutil.copytree(small, tmp_path / "home")
    monkeypatch.setenv("METERHOUSE_AS_OF", "tomorrow")
    for command in ("run", "build"):
        wrong = cli(command, home=home, expect=2)
        assert "no ISO 8601 instant: 'tomorrow'" in wrong.stderr
    monkeypatch.setenv("METERHOUSE_AS_OF", "2026-04-02T00:00:00Z")
    assert "as of 2026-04-02 00:00:00" in cli("run", home=home).stdout


def test_as_of_decides_what_is_open_and_fail_on_the_exit_code(small: Path, cli: Cli) -> None:
    published = Published(small / "published.duckdb")
    events = published.rows("select count(*) as n from usage_events")
    closed = "select count(*) as n from billing_periods where is_closed"
    late = published.rows(closed)
    cli("run", "--as-of", "2026-02-01T00:00:00Z", "--fail-on", "unbilled,matched", home=small, expect=3)
    assert published.rows("select count(*) as n from usage_events") == events
    assert published.rows(closed)[0]["n"] < late[0]["n"]
    cli("run", "--as-of", AS_OF, "--fail-on", "unbilled,unexpected", home=small)
    assert published.rows(closed) == late


def test_status_of_a_home_says_what_comes_next(world: World, tmp_path: Path, cli: Cli) -> None:
    def blocks() -> list[str]:
        blocked: list[str] = json.loads(cli("status", "--format", "json", home=tmp_path).stdout)["blocks"]
        return blocked

    assert blocks() == ["nothing is landed: run 'meterhouse load PATH' or 'meterhouse run PATH'"]
    cli("load", world.data / "org_c", home=tmp_path)
    assert blocks() == ["nothing is built: run 'meterhouse build'"]
    cli("build", "--as-of", AS_OF, home=tmp_path)
    assert blocks() == ["the last build is not published: run 'meterhouse publish'"]
    cli("publish", home=tmp_path)
    assert blocks() == []
    cli("load", world.data / "org_b" / "meters", home=tmp_path)
    assert blocks() == ["loads after 1 are not built: run 'meterhouse build'"]
    shown = cli("status", home=tmp_path).stdout
    assert "result passed" in shown
    with locked(Home(tmp_path)):
        assert f"process {os.getpid()} is working on this home folder" in blocks()[0]


def test_a_failed_build_says_what_failed_and_keeps_the_log(tmp_path: Path, cli: Cli) -> None:
    home = begun_home(tmp_path / "home")
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work_file:
        work_file.execute("alter table raw.loads rename column kind to kind_of_old")
    failed = cli("build", home=home, expect=1)
    assert "  loads: Runtime Error in model loads (models/marts/quality/loads.sql): Binder Error: " in failed.stderr
    assert "Binder Error" in (home / "logs" / "dbt.log").read_text()


def test_a_seed_whose_lines_end_in_two_ways_is_read(tmp_path: Path) -> None:
    """A row that another program added ends in CRLF below a header that ends in LF."""
    project, home = tmp_path / "project", tmp_path / "home"
    for folder in ("macros", "models", "seeds", "tests/warehouse"):
        shutil.copytree(ROOT / folder, project / folder)
    for file in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(ROOT / file, project / file)
    clause = {"property": "name", "operator": "eq", "value": 'say "hi", ok'}
    meter = ["org", "met", "Greetings", json.dumps({"conjunction": "and", "clauses": [clause]}), "sum", "units"]
    with (project / "seeds" / "meters.csv").open("a", newline="") as seed:
        csv.writer(seed).writerow(meter)
    home.mkdir()
    folders = ("--project-dir", str(project), "--profiles-dir", str(project))
    done = plain_dbt("seed", "--select", "meters", *folders, home=home)
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work_file:
        assert work_file.execute("from reference.meters").fetchall() == [tuple(meter)]


def test_unit_tests_of_the_models_pass(world: World) -> None:
    done = plain_dbt("test", "--select", "test_type:unit", home=world.home)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "PASS=0 " not in done.stdout
