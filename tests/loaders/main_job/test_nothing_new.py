"""A run with nothing new neither builds nor publishes; whatever could move a number does."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from loaders import project
from loaders.transform import is_current
from loaders.warehouse import Home
from tests.loaders.main_job.conftest import AS_OF, ROOT, Published, World, meterhouse

NOW = datetime.fromisoformat(AS_OF)


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    """A home folder with the whole job done, for this test alone."""
    shutil.copytree(world.home, tmp_path / "home")
    return tmp_path / "home"


def change(home: Path, sql: str) -> None:
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        work.execute(sql)


def boundary(home: Path) -> datetime:
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        (instant,) = work.execute("select next_boundary_at from intermediate.int_next_boundary").fetchone() or (None,)
    assert instant is not None
    return instant.replace(tzinfo=UTC)  # type: ignore[no-any-return]


def test_run_with_nothing_new_prints_the_summary_and_touches_nothing(world: World, home: Path) -> None:
    files = [home / "published.duckdb", home / "logs" / "dbt.log"]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files]

    again = meterhouse("run", "--as-of", AS_OF, home=home)
    landed_before = meterhouse("run", world.data, "--as-of", AS_OF, "--fail-on", "underbilled", home=home, expect=3)

    assert "Nothing is new" in again.stderr
    assert "Nothing is new" in landed_before.stderr
    assert "Built" not in again.stderr
    assert "Expected and billed" in again.stdout
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == before


def test_missing_or_foreign_published_file_is_written_without_a_build(world: World, home: Path) -> None:
    (home / "published.duckdb").write_bytes(b"not a database")
    run = meterhouse("run", "--as-of", AS_OF, home=home)
    assert "Published" in run.stderr
    assert "Built" not in run.stderr
    assert Published(home / "published.duckdb").content() == world.published.content()


def test_as_of_may_move_up_to_the_next_boundary(home: Path) -> None:
    next_boundary = boundary(home)
    assert next_boundary > NOW
    assert is_current(Home(home), NOW)
    assert is_current(Home(home), next_boundary - timedelta(microseconds=1))
    assert not is_current(Home(home), next_boundary)
    assert not is_current(Home(home), NOW - timedelta(microseconds=1))


def test_tables_of_any_instant_before_the_boundary_are_those_of_the_last_build(world: World, home: Path) -> None:
    last = boundary(home) - timedelta(microseconds=1)
    meterhouse("build", "--as-of", last.isoformat(), home=home)
    meterhouse("publish", home=home)
    assert Published(home / "published.duckdb").content() == world.published.content()


def test_passed_boundary_builds_and_moves_a_number(world: World, home: Path) -> None:
    run = meterhouse("run", "--as-of", boundary(home).isoformat(), home=home)
    assert "Built" in run.stderr
    assert Published(home / "published.duckdb").content() != world.published.content()


@pytest.mark.parametrize(
    "sql",
    [
        "update raw.builds set succeeded = false",
        "update raw.builds set is_complete = false",
        "update raw.builds set finished_at = null, succeeded = null",
        "update raw.builds set project = 'another'",
        "update raw.builds set project = null",
        "insert into raw.builds select * replace (build_id + 1 as build_id, false as is_complete) from raw.builds",
        "insert into raw.loads select * replace (load_id + 1 as load_id) from raw.loads limit 1",
        "delete from raw.builds",
    ],
)
def test_unfinished_failed_partial_or_outdated_build_is_made_again(home: Path, sql: str) -> None:
    change(home, sql)
    assert not is_current(Home(home), NOW)


def test_home_without_a_work_file_is_not_current(tmp_path: Path) -> None:
    assert not is_current(Home(tmp_path / "nothing"), NOW)


@pytest.mark.parametrize(
    "name",
    [
        "seeds/meters.csv",
        "dbt_project.yml",
        "profiles.yml",
        "models/marts/usage/usage_daily.sql",
        "macros/rate_units.sql",
        "tests/warehouse/assert_ledger_adds_up.sql",
        "loaders/metering.py",
    ],
)
def test_fingerprint_sees_every_file_that_a_build_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for folder in ("models", "macros", "seeds", "tests/warehouse", "loaders"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(ROOT / file, tmp_path / file)
    whole = project.project_fingerprint()
    monkeypatch.setattr(project, "PROJECT_FOLDER", tmp_path)
    assert project.project_fingerprint() == whole

    with (tmp_path / name).open("a") as file:
        file.write("\n")

    assert project.project_fingerprint() != whole
