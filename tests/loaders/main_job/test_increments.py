"""An incremental build equals a full refresh, row for row, after whatever came in whatever order."""

import json
import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loaders import dbt_plugin
from loaders.publish import _CLOSED_PERIODS
from tests.loaders.main_job.conftest import ROOT, World, lines_of, meterhouse
from tests.parsed_project import shared_parse

SEEDS_OF_TEST, SEEDS_OF_TEST_SLOW = 1, 50
# Each step lands more and judges later; the last one lands nothing.
STEPS = ("2026-02-10T00:00:00", "2026-03-31T23:00:00", "2026-05-01T00:00:00", "2026-05-10T00:00:00")


class Dbt:
    """dbt in this process: the project is parsed once for all builds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from dbt.cli.main import dbtRunner

        self._folder = folder
        self._environment = monkeypatch
        self._runner = dbtRunner

        self._manifest: Any = None

    def __call__(self, home: Path, as_of: str, *arguments: str) -> None:
        self._environment.setenv("METERHOUSE_HOME", str(home))
        self._environment.setenv("METERHOUSE_AS_OF", as_of)
        folders = ["--project-dir", str(ROOT), "--profiles-dir", str(ROOT)]
        folders += ["--target-path", str(self._folder / "target"), "--log-path", str(self._folder / "logs")]
        quiet = ["--quiet", "--log-level", "none", "--log-level-file", "none", "--no-write-json"]
        try:
            if self._manifest is None:
                with shared_parse(home, target=self._folder / "target"):
                    self._manifest = self._runner().invoke(["parse", *quiet, *folders]).result
            outcome = self._runner(manifest=self._manifest).invoke([*arguments, *quiet, *folders])
        finally:
            dbt_plugin.close_all()
        assert outcome.success, outcome.exception or [
            (result.node.name, result.message) for result in outcome.result if result.status == "error"
        ]


@pytest.fixture
def dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dbt:
    return Dbt(tmp_path, monkeypatch)


def deal(world: World, folder: Path, seed: int) -> list[Path]:
    """The world's records, shuffled over the steps: late, repeated, children before parents, usage before customers.

    What came is sometimes repeated in a later step, or told of otherwise. Files of a kind stay apart: a name is a hint.
    """
    chance = random.Random(seed)
    steps = [folder / f"step-{number}" for number in range(len(STEPS) - 1)]
    for path in sorted(path for path in world.data.rglob("*") if path.is_file()):
        relative = path.relative_to(world.data)
        hands: list[list[bytes]] = [[] for _ in steps]
        late = chance.random()
        for line in lines_of(path):
            first = 0 if chance.random() < late else chance.randrange(len(steps))
            hands[first].append(line)
            if chance.random() < 0.05:
                hands[chance.randrange(first, len(steps))].append(line)
            for said in said_again(line, chance):
                hands[chance.randrange(first, len(steps))].append(said)
        for step, lines in zip(steps, hands, strict=True):
            if lines:
                chance.shuffle(lines)
                target = step / relative.parts[1].split(".")[0] / f"{relative.parts[0]}-{path.name.split('.')[0]}"
                target.mkdir(parents=True)
                (target / "records.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    for number, step in enumerate(steps):
        deal_changes(world, step, number, chance)
    return steps


def said_again(line: bytes, chance: random.Random) -> list[bytes]:
    """What later exports may say of a recorded event: that it is there under another id of Polar's too, or is called by
    another external id, which changes once more, and which a child names.
    """
    if chance.random() > 0.05 or not line.startswith(b'{"id":') or b'"source":"user"' not in line:
        return []
    event = json.loads(line)
    another = {**event, "id": str(uuid.UUID(int=chance.getrandbits(128), version=4))}
    if event.get("external_id") and chance.random() < 0.5:
        said = [another]
    else:
        names = [f"{name}-{event['id']}" for name in ("sent", "told")]
        said = [{**event, "external_id": name, "child_count": count} for count, name in enumerate(names, 1)]
        said.append({**another, "external_id": None, "parent_id": chance.choice(names)})
    return [json.dumps(record).encode() for record in said]


def objects_of(world: World, kind: str) -> list[dict[str, Any]]:
    """The world's API objects of a kind, as they landed."""
    with duckdb.connect(str(world.home / "meterhouse.duckdb"), read_only=True) as work:
        rows = work.execute(
            "select payload from raw.resources where kind = ? and webhook_type is null order by payload", [kind]
        ).fetchall()
    return [json.loads(payload) for (payload,) in rows]


def another_meter(meter: dict[str, Any], chance: random.Random) -> None:
    """A meter that Polar archived, one that measures otherwise, or one that is new."""
    change = chance.choice(("archived", "aggregation", "filter", "new"))
    if change == "archived":
        meter["archived_at"] = f"2026-0{chance.randrange(2, 5)}-15T00:00:00Z"
    elif change == "aggregation":
        meter["aggregation"] = {"func": chance.choice(("count", "sum", "max")), "property": "_llm.total_tokens"}
    elif change == "filter":
        meter["filter"]["clauses"] = []
    else:
        meter["id"] = str(uuid.UUID(int=chance.getrandbits(128), version=4))


def another_price(holder: dict[str, Any], chance: random.Random) -> None:
    """A product or subscription whose metered prices cost more, are capped, or are gone."""
    change = chance.choice(("amount", "cap", "gone"))
    for price in holder["prices"]:
        if price.get("amount_type") == "metered_unit":
            price |= {"amount": {"unit_amount": "3.25"}, "cap": {"cap_amount": 700}, "gone": {}}[change]
    if change == "gone":
        holder["prices"] = [price for price in holder["prices"] if price.get("amount_type") != "metered_unit"]


def another_order(order: dict[str, Any], chance: random.Random) -> None:
    """An order that was refunded, paid or voided since."""
    order["refunded_amount"] = order["net_amount"] // 2
    order["status"], order["paid"] = chance.choice((("partially_refunded", True), ("paid", True), ("void", False)))


def another_customer(customer: dict[str, Any], chance: random.Random) -> None:
    """A customer that is gone, or whose external id another one took over."""
    if chance.random() < 0.5:
        customer["deleted_at"] = f"2026-0{chance.randrange(2, 5)}-10T00:00:00Z"
    else:
        customer["id"] = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        customer["created_at"] = f"2026-0{chance.randrange(2, 5)}-10T00:00:00Z"


CHANGES: dict[str, Callable[[dict[str, Any], random.Random], None]] = {
    "meters": another_meter,
    "products": another_price,
    "subscriptions": another_price,
    "orders": another_order,
    "customers": another_customer,
}


def deal_changes(world: World, step: Path, number: int, chance: random.Random) -> None:
    """Add later versions of some objects to a step: meters and prices that change, refunds, customers that go."""
    for kind, change in CHANGES.items():
        for place, item in enumerate(chance.sample(objects_of(world, kind), chance.randrange(3))):
            change(item, chance)
            item["modified_at"] = f"2026-05-0{1 + number}T00:00:0{place}Z"
            target = step / kind / f"changed-{place}"
            target.mkdir(parents=True)
            (target / "records.jsonl").write_bytes(json.dumps(item).encode() + b"\n")


def rows_apart(connection: duckdb.DuckDBPyConnection, sides: dict[str, str]) -> list[tuple[Any, ...]]:
    """Some rows that one of two queries returns and the other does not, after the name of the one that does."""
    (one, left), (other, right) = sides.items()
    return connection.execute(
        f"(select '{one}', * from ({left} except all {right}) limit 3) union all "
        f"(select '{other}', * from ({right} except all {left}) limit 3)"
    ).fetchall()


def differences(one: Path, other: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the marts that are in one work file and not in the other, some of each table."""
    found = {}
    with duckdb.connect() as connection:
        for name, home in (("one", one), ("other", other)):
            connection.execute(f"attach '{home / 'meterhouse.duckdb'}' as {name} (read_only)")
        tables = connection.execute(
            "select table_catalog, table_name from information_schema.tables where table_schema = 'marts' order by all"
        ).fetchall()
        assert {name for base, name in tables if base == "one"} == {name for base, name in tables if base == "other"}
        for table in sorted({name for _, name in tables}):
            columns = connection.execute(f"select column_name from (describe one.marts.{table}) order by 1").fetchall()
            listed = ", ".join(f'"{column}"' for (column,) in columns)
            names = {"incremental": "one", "full refresh": "other"}
            rows = rows_apart(
                connection, {name: f"select {listed} from {base}.marts.{table}" for name, base in names.items()}
            )
            if rows:
                found[table] = rows
    return found


def unnamed_changes(before: Path, home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the marts that the last build changed and did not name: a publish would not write them.

    A view of tables that are changed in place is never stale in the work file itself, whatever it names.
    """
    found = {}
    with duckdb.connect() as connection:
        for name, folder in (("before", before), ("after", home)):
            connection.execute(f"attach '{folder / 'meterhouse.duckdb'}' as {name} (read_only)")
        models = connection.execute(
            "select model from after.raw.model_changes where not is_whole and model in ("
            "  select table_name from information_schema.tables"
            "  where table_catalog = 'before' and table_schema = 'marts'"
            ") and build_id = (select max(build_id) from after.raw.builds) order by 1"
        ).fetchall()
        for (model,) in models:
            named = connection.execute(
                "select column_name from duckdb_columns() where database_name = 'after' and schema_name = 'changes' "
                "and table_name = ? and column_name != 'build_id'",
                [model],
            ).fetchall()
            same = " and ".join(f"rows.{column} is not distinct from named.{column}" for (column,) in named) or "false"
            names = f"select * from after.changes.{model} where build_id = (select max(build_id) from after.raw.builds)"
            sides = {
                name: f"select * from {name}.marts.{model} as rows anti join ({names}) as named on {same}"
                for name in ("before", "after")
            }
            rows = rows_apart(connection, sides)
            if rows:
                found[model] = rows
        assert len(models) > 10
    return found


def made_anew(home: Path) -> list[str]:
    """The large tables that the last build did not change in place; a relation of a new event name is new by itself."""
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        rows = work.execute(
            "select model from raw.model_changes where is_whole and model not like 'wide\\_%' escape '\\' "
            "and build_id = (select max(build_id) from raw.builds) order by 1"
        ).fetchall()
    return [model for (model,) in rows]


def publish_closed_periods(home: Path) -> None:
    """Keep what is known of closed periods as a publish would: what it is compared with later is an input too."""
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        (build_id,) = work.execute("select max(build_id) from raw.builds").fetchone() or (0,)
        work.execute(_CLOSED_PERIODS, {"published_at": datetime(2026, 6, 1), "build_id": build_id})


def landed_steps(world: World, folder: Path, home: Path, seed: int) -> Iterator[tuple[int, str]]:
    """Land a step of the dealt world after the other; of each say its number and as of when it is to be built."""
    steps: list[Path | None] = [*deal(world, folder, seed), None]
    for number, (step, as_of) in enumerate(zip(steps, STEPS, strict=True)):
        if step is not None:
            landed_at = datetime(2026, 6, 1 + number).isoformat() + "Z"
            meterhouse("load", step, "--landed-at", landed_at, home=home)
        yield number, as_of


def check_sequence(world: World, folder: Path, dbt: Dbt, seed: int) -> None:
    home, other, before = folder / "home", folder / "other", folder / "before"
    for number, as_of in landed_steps(world, folder, home, seed):
        if number == 0:
            dbt(home, as_of, "seed")
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(home, before)
        dbt(home, as_of, "run")
        assert bool(made_anew(home)) == (number == 0), (seed, number, made_anew(home))
        assert number == 0 or unnamed_changes(before, home) == {}, (seed, number)
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(home, other)
        dbt(other, as_of, "run", "--full-refresh")
        assert differences(home, other) == {}, (seed, number)
        publish_closed_periods(home)


@pytest.mark.parametrize("seed", range(SEEDS_OF_TEST))
def test_incremental_build_equals_a_full_refresh(world: World, tmp_path: Path, dbt: Dbt, seed: int) -> None:
    check_sequence(world, tmp_path, dbt, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS_OF_TEST, SEEDS_OF_TEST_SLOW))
def test_incremental_build_equals_a_full_refresh_slow(world: World, tmp_path: Path, dbt: Dbt, seed: int) -> None:
    check_sequence(world, tmp_path, dbt, seed)


def test_changed_definition_builds_an_incremental_model_anew(world: World, tmp_path: Path, dbt: Dbt) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    counts = "select count(*) from staging.stg_polar__usage_events"
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        (whole,) = work.execute(counts).fetchone() or (0,)
        work.execute("delete from staging.stg_polar__usage_events where record_number > 10")
    dbt(home, STEPS[-1], "run", "--select", "stg_polar__usage_events")
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        (kept,) = work.execute(counts).fetchone() or (0,)
        work.execute("update raw.increments set definition = 'another'")
    assert kept < whole
    dbt(home, STEPS[-1], "run", "--select", "stg_polar__usage_events")
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        assert work.execute(counts).fetchone() == (whole,)


def test_build_after_one_that_did_not_end_makes_everything_anew(world: World, tmp_path: Path, dbt: Dbt) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        before = work.execute("select count(*) from marts.usage_events").fetchone()
        # What a kill leaves: tables of two builds, and a build that is the newest and is not the one that was applied.
        work.execute("delete from intermediate.int_usage_events_attributed where record_number > 10")
        # And of a model that the project no longer has.
        work.execute("create table intermediate.int_gone as select 1 as load_id")
        work.execute("create table changes.int_gone as select 1 as load_id")
        work.execute(
            "insert into raw.builds select * replace (build_id + 1 as build_id) from raw.builds "
            "where build_id = (select max(build_id) from raw.builds)"
        )
    dbt(home, STEPS[-1], "run")
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        assert work.execute("select count(*) from marts.usage_events").fetchone() == before
        assert work.execute("select 1 from duckdb_tables() where table_name = 'int_gone'").fetchone() is None
    assert {"int_usage_events_attributed", "usage_events"} <= set(made_anew(home))
