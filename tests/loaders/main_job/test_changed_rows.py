"""Tests read what changed since the last build that was complete and passed; in doubt they read everything."""

import shutil
from pathlib import Path

import duckdb
import pytest

from loaders import dbt_plugin
from tests.loaders.main_job.conftest import AS_OF, ROOT, World
from tests.parsed_project import shared_parse

TESTED = "int_usage_events_counted"
NAMES = f"{TESTED}_rows_are_sound"


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    """A built world in which two rows of one table have lost the basis of their receipt."""
    shutil.copytree(world.home, tmp_path / "home")
    change(
        tmp_path / "home",
        f"""
        drop table if exists changes.{TESTED};
        delete from raw.model_changes where model = '{TESTED}';
        update intermediate.{TESTED} set received_at_basis = null where usage_event_key in (
            select usage_event_key from intermediate.{TESTED} order by usage_event_key limit 2
        )
        """,
    )
    return tmp_path / "home"


def change(home: Path, sql: str) -> None:
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        work.execute(sql)


def record(home: Path, condition: str, *, is_whole: bool = False, builds_from_now: int = 1) -> None:
    """Record as the change of a coming build the broken rows that keep the condition."""
    change(
        home,
        f"""
        create table if not exists changes.{TESTED} (build_id bigint, usage_event_key varchar, load_id bigint);
        insert into raw.model_changes
        select max(build_id) + {builds_from_now}, '{TESTED}', {is_whole} from raw.builds;
        insert into changes.{TESTED}
        select (select max(build_id) + {builds_from_now} from raw.builds), usage_event_key, load_id
        from (
            select *, row_number() over (order by usage_event_key) as place
            from intermediate.{TESTED} where received_at_basis is null
        ) as broken
        where {condition};
        """,
    )


def broken_rows_found(home: Path, command: str = "build", tested: str = NAMES) -> int:
    """How many broken rows the tests of the table find when nothing but tests is run."""
    from dbt.cli.main import dbtRunner

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("METERHOUSE_HOME", str(home))
        environment.setenv("METERHOUSE_AS_OF", AS_OF)
        folders = ["--project-dir", str(ROOT), "--profiles-dir", str(ROOT)]
        folders += ["--target-path", str(home / "target"), "--log-path", str(home / "logs")]
        try:
            with shared_parse(home):
                outcome = dbtRunner().invoke([command, "--select", tested, "--quiet", "--log-level", "none", *folders])
        finally:
            dbt_plugin.close_all()
    (result,) = (result for result in outcome.result.results if result.node.name == tested)
    return int(result.failures)


def test_only_rows_named_as_changed_are_read(home: Path) -> None:
    record(home, "place = 1")
    assert broken_rows_found(home) == 1


def test_nothing_is_read_where_nothing_changed(home: Path) -> None:
    record(home, "false")
    assert broken_rows_found(home) == 0


def test_all_is_read_where_a_build_made_the_table_anew(home: Path) -> None:
    record(home, "false", is_whole=True)
    assert broken_rows_found(home) == 2


def test_all_is_read_where_nothing_is_recorded_of_the_running_build(home: Path) -> None:
    record(home, "false", builds_from_now=0)
    assert broken_rows_found(home) == 2


def test_all_is_read_by_plain_dbt_test(home: Path) -> None:
    record(home, "false")
    assert broken_rows_found(home, "test") == 2


@pytest.mark.parametrize("sql", ["succeeded = false", "is_complete = false", "project = 'another'", "project = null"])
def test_all_is_read_where_no_build_of_this_project_has_passed(home: Path, sql: str) -> None:
    change(home, f"update raw.builds set {sql}")
    record(home, "false")
    assert broken_rows_found(home) == 2


def test_changes_of_a_build_that_did_not_pass_are_read_again(home: Path) -> None:
    record(home, "place = 1")
    assert broken_rows_found(home) == 1
    record(home, "false")
    assert broken_rows_found(home) == 1
    record(home, "place = 2")
    assert broken_rows_found(home) == 2


def test_of_a_table_that_is_appended_to_new_loads_are_read(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    change(home, "update staging.stg_polar__usage_events set event_name = null where load_id = 1")
    assert broken_rows_found(home, tested="stg_polar__usage_events_rows_are_sound") == 0
    change(home, "update raw.builds set through_load_id = 0")
    assert broken_rows_found(home, tested="stg_polar__usage_events_rows_are_sound") > 0
