"""What readers of the published file rely on."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from loaders.commands.run import print_summary
from loaders.summary import summarize
from tests.loaders.main_job.conftest import AS_OF, SHARED, World

CHECKER = SHARED / "tools" / "check_contract.py"


@pytest.mark.skipif(not CHECKER.exists(), reason="the contract's checker is not beside this checkout")
def test_published_file_keeps_the_contract(world: World) -> None:
    command = [sys.executable, str(CHECKER), str(world.published.path), "--issue", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_personal_data_is_in_the_files_bytes(world: World) -> None:
    landed = world.home / "meterhouse.duckdb"
    with duckdb.connect(str(landed), read_only=True) as work:
        (planted,) = work.execute("select count(*) from raw.events where payload like '%canary%'").fetchone()
    assert planted > 0, "the world must hold canaries for this test to mean anything"
    published = world.published.path.read_bytes()
    assert b"canary" not in published
    # Compressed columns hide text from a search of bytes, so every value is searched as well.
    for table in world.published.tables():
        sql = f"select count(*) as n from \"{table}\" as t where cast(t as varchar) like '%canary%'"
        assert world.published.rows(sql) == [{"n": 0}], table


def test_model_prompts_stay_while_the_rest_of_metadata_goes(world: World) -> None:
    rows = world.published.rows("select metadata from usage_events where metadata like '%\"_llm\"%' limit 50")
    assert rows
    for row in rows:
        assert '"prompt"' not in row["metadata"]
        assert '"response"' not in row["metadata"]
        assert '"model"' in row["metadata"]


def test_file_is_in_the_format_of_duckdb_1(world: World) -> None:
    # Bytes 12 to 20 hold the storage version: 64 is what every engine since 0.10 reads, 2.0 writes 68 by itself.
    assert int.from_bytes(world.published.path.read_bytes()[12:20], "little") == 64


def test_files_are_not_for_everybody(world: World) -> None:
    assert world.published.path.stat().st_mode & 0o777 == 0o640
    assert (world.home / "meterhouse.duckdb").stat().st_mode & 0o777 == 0o600


def test_tables_and_columns_carry_their_documentation(world: World) -> None:
    rows = world.published.rows(
        "select table_name, column_name from duckdb_columns() "
        "where not internal and comment is null and table_name not in ('publication') order by all"
    )
    assert rows == []


def test_running_again_changes_nothing(world: World, cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    before = world.published.content()
    loads = world.published.rows("select * from loads order by all")
    done = cli("run", world.data, "--as-of", AS_OF, home=world.home)
    assert "landed before" in done.stderr
    assert world.published.content() == before
    assert world.published.rows("select * from loads order by all") == loads


def test_summary_names_money_exceptions_and_the_file(world: World) -> None:
    shown = world.run_stdout
    for part in ("usage events", "Expected and billed", "Orders by status", "Largest exceptions", "underbilled"):
        assert part in shown
    assert shown.rstrip().endswith(str(world.published.path))


def test_failed_tests_block_a_publish(
    tmp_path: Path, world: World, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    home = tmp_path / "home"
    cli("load", world.data / "org_c", home=home)
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        # A ledger that no longer adds up is what the data tests are there to find.
        work.execute("update raw.loads set landed = landed + 1 where records > 0")
    done = cli("run", "--as-of", AS_OF, home=home, expect=1)
    assert "the build failed" in done.stderr
    assert not (home / "published.duckdb").exists()
    assert "last build's models or tests failed" in cli("publish", home=home, expect=1).stderr


def test_a_build_of_a_part_is_not_published(
    tmp_path: Path, world: World, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    home = tmp_path / "home"
    assert "no build to publish" in cli("publish", home=home, expect=1).stderr
    cli("load", world.data / "org_c", home=home)
    cli("build", "--select", "+int_customers_merged", home=home)
    assert "covered only part of the project" in cli("publish", home=home, expect=1).stderr


def test_summary_says_none_where_no_order_is_compared(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(replace(summarize(world.published.path), money=[], statuses=[], largest=[]))
    said = [line for line in capsys.readouterr().out.splitlines() if line.endswith(": none")]
    assert said == ["Expected and billed: none", "Orders by status: none", "Largest exceptions: none"]
