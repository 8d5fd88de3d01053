"""Data tests of several tables see what they are there for: one row is broken, and the test that guards it fails."""

import shutil
from pathlib import Path

import duckdb
import pytest

from tests.loaders.main_job.conftest import World
from tests.loaders.main_job.test_changed_rows import broken_rows_found

EVENTS = "intermediate.int_usage_events_attributed"
# What the view marts.billing_outcomes is made of.
ROUTED = "intermediate.int_metered_events_routed"
TREES, TRACES = "assert_usage_trees_hang_together", "assert_traces_hold_every_rooted_event_once"
OUTCOMES, COSTS = "assert_each_usage_event_has_its_outcomes", "assert_costs_and_margins_add_up"
DAMAGE = {
    "a child lies too deep": (TREES, f"update {EVENTS} set depth = 7 where {{one}}", f"{EVENTS} where depth = 1"),
    "a child has the place of another parent": (
        TREES,
        f"update {EVENTS} set parent_record_number = parent_record_number + 1 where {{one}}",
        f"{EVENTS} where parent_event_key is not null",
    ),
    "a child has another root": (
        TREES,
        f"update {EVENTS} set root_event_key = uuid() where {{one}}",
        f"{EVENTS} where depth = 1",
    ),
    "a child that has a root is an orphan": (
        TREES,
        f"update {EVENTS} set root_event_key = null, root_load_id = null, depth = null where {{one}}",
        f"{EVENTS} where depth = 1",
    ),
    "a trace is gone": (TRACES, "delete from marts.event_traces where {one}", "marts.event_traces"),
    "a trace of one event is there twice": (
        TRACES,
        "insert into marts.event_traces from marts.event_traces where {one}",
        "marts.event_traces where event_count = 1",
    ),
    "a trace has the key of no root": (
        TRACES,
        "update marts.event_traces set root_event_key = uuid() where {one}",
        "marts.event_traces",
    ),
    "a step costs more in its trace": (
        TRACES,
        "update intermediate.int_trace_costs set cost_amount = cost_amount + 0.000000000001 where {one}",
        "intermediate.int_trace_costs where cost_amount is not null",
    ),
    "an event has no outcome": (
        OUTCOMES,
        f"delete from {ROUTED} where {{one}}",
        f"{ROUTED} where reason = 'no_meter'",
    ),
    "an event passes a meter and none": (
        OUTCOMES,
        f"insert into {ROUTED} select * replace (null as meter_id, 'no_meter' as reason) from {ROUTED} where {{one}}",
        f"{ROUTED} where reason is null",
    ),
    "an outcome is that of no event": (
        OUTCOMES,
        f"update {ROUTED} set usage_event_key = uuid() where {{one}}",
        ROUTED,
    ),
    "a day has lost its users": (
        COSTS,
        "delete from intermediate.int_usage_costs_daily where {one}",
        "intermediate.int_usage_costs_daily where cost_amount is null",
    ),
}


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built home folder that each damage is put right in by a copy of the work file."""
    home = tmp_path_factory.mktemp("data_tests") / "home"
    shutil.copytree(world.home, home)
    return home


@pytest.mark.parametrize("damage", DAMAGE)
def test_broken_row_is_seen(world: World, folder: Path, damage: str) -> None:
    test, sql, rows = DAMAGE[damage]
    shutil.copyfile(world.home / "meterhouse.duckdb", folder / "meterhouse.duckdb")
    with duckdb.connect(str(folder / "meterhouse.duckdb")) as work:
        (row,) = work.execute(f"select min(rowid) from {rows}").fetchone() or (None,)
        assert row is not None
        work.execute(sql.format(one=f"rowid = {row}"))
    assert broken_rows_found(folder, "test", test) > 0
