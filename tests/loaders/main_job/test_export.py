"""Exported tables say what the published file and the raw tables say, row for row and type for type."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars
import pytest

from tests.loaders.main_job.conftest import World

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_each_published_table_is_a_file_with_its_rows(world: World, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "parquet"
    cli("export", folder, home=world.home)
    assert {path.stem for path in folder.iterdir()} == set(world.published.tables())
    with duckdb.connect(str(world.published.path), read_only=True) as reader:
        for table in world.published.tables():
            source = f"'{folder / table}.parquet'"
            described = reader.execute(f"select column_name, column_type from (describe {source})").fetchall()
            wanted = reader.execute(f'select column_name, column_type from (describe "{table}")').fetchall()
            assert described == wanted, table
            differing = reader.execute(
                f'select count(*) from (from "{table}" except all from {source} union all '
                f'(from {source} except all from "{table}"))'
            ).fetchall()
            assert differing == [(0,)], table


def test_raw_records_come_on_request_and_for_their_owner_only(world: World, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "backup"
    cli("export", folder, "--raw", home=world.home)
    events = folder / "raw" / "events.parquet"
    assert events.stat().st_mode & 0o077 == 0
    with duckdb.connect(str(world.home / "meterhouse.duckdb"), read_only=True) as work:
        rows = work.execute("select record_key::varchar, payload from raw.events order by all").fetchall()
    assert polars.read_parquet(events).select("record_key", "payload").sort("record_key", "payload").rows() == rows


def test_exporting_again_replaces_the_files(world: World, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "parquet"
    folder.mkdir()
    (folder / "orders.parquet").write_text("what was there before")
    (folder / "mine.txt").write_text("not ours")
    cli("export", folder, home=world.home)
    assert (
        polars.read_parquet(folder / "orders.parquet").height
        == world.published.rows("select count(*) as n from orders")[0]["n"]
    )
    assert (folder / "mine.txt").read_text() == "not ours"
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("is_file", [True, False])
def test_what_cannot_be_exported_says_why(world: World, tmp_path: Path, cli: Cli, is_file: bool) -> None:
    target = tmp_path / "x"
    if is_file:
        target.write_text("")
        assert "is a file" in cli("export", target, home=world.home, expect=2).stderr
    else:
        assert "nothing is published yet" in cli("export", target, home=tmp_path / "empty", expect=1).stderr
        assert not target.exists()
