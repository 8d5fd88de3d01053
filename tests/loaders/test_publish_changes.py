"""A published file that is a changed copy of the last one is the file that would be written anew."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from loaders import publish as publishing
from loaders import published_tables
from loaders.publish import Publication, publish
from loaders.warehouse import Home, open_work_file
from tests.loaders.main_job.conftest import ROOT

START = datetime(2026, 1, 1)
ROWS_OF_LOAD = 1000

TABLES = """
create schema marts; create schema intermediate; create schema reference;
create table intermediate.int_organizations_covered as select timestamp '2026-01-01' as data_horizon_at;
create table intermediate.int_billing_periods_settled (
    billing_period_key varchar, organization_id varchar, subscription_key varchar, period_start_at timestamp,
    period_end_at timestamp, is_closed boolean
);
create table intermediate.int_metered_quantities (
    billing_period_key varchar, customer_key varchar, currency varchar, expected_amount bigint
);
create table reference.currencies as select 'usd' as currency, 2 as minor_unit_digits;
create table reference.meters as select 'is not published' as meter_id;
create table marts.usage_events (load_id bigint, record_number bigint, name varchar, amount decimal(38, 12));
create table marts.usage_daily (usage_daily_key uuid, event_count bigint);
create table marts.customers (customer_key varchar, event_count double);
comment on table marts.usage_events is 'One row per event.';
comment on column marts.usage_events.amount is 'What it''s worth.';
comment on column marts.customers.event_count is 'How many.';
create table changes.usage_events (build_id bigint, load_id bigint, record_number bigint);
create table changes.usage_daily (build_id bigint, usage_daily_key uuid);
"""


RELATIONS = """
select database_name, schema_name, table_name, comment from duckdb_tables()
union all
select database_name, schema_name, view_name, comment from duckdb_views() where not internal
"""


class Warehouse:
    """A small work file whose builds are written by hand, as the project's macros record them."""

    def __init__(self, folder: Path, loads: int = 5) -> None:
        self.home = Home(folder)
        self.build_id = 0
        with open_work_file(self.home) as work:
            work.execute(TABLES)
        self.build(*[self.append] * loads, self.sum_up)

    def build(
        self,
        *changes: Callable[[duckdb.DuckDBPyConnection], None],
        ends: str = "passed",
        tells: bool = True,
        is_whole: bool = False,
    ) -> None:
        """Make changes and record them as one build; one that `tells` nothing leaves no word of any model."""
        self.build_id += 1
        finished = START + timedelta(days=self.build_id)
        row = [self.build_id, START, START, None if ends == "killed" else finished]
        with open_work_file(self.home) as work:
            for change in changes:
                change(work)
            work.execute(
                "insert into raw.builds values (?, 'build', ?, ?, ?, ?, ?, 0, 'project', 'definitions')",
                [*row, ends != "partial", {"killed": None, "failed": False}.get(ends, True)],
            )
            for model in ("usage_events", "usage_daily") if tells else ():
                work.execute("insert into raw.model_changes values (?, ?, ?)", [self.build_id, model, is_whole])

    def do(self, sql: str, parameters: list[Any] | None = None) -> None:
        with open_work_file(self.home) as work:
            work.execute(sql, parameters or [])

    def append(self, work: duckdb.DuckDBPyConnection) -> None:
        """The next load's rows."""
        work.execute(
            "insert into marts.usage_events select (select coalesce(max(load_id), 0) + 1 from marts.usage_events), i, "
            "case when i % 3 > 0 then 'event ' || i end, i / 7 from range(?) as t(i)",
            [ROWS_OF_LOAD],
        )
        work.execute(
            "insert into changes.usage_events select ?, load_id, record_number from marts.usage_events "
            "where load_id = (select max(load_id) from marts.usage_events)",
            [self.build_id],
        )

    def touch(self, seed: int) -> Callable[[duckdb.DuckDBPyConnection], None]:
        """Change, remove and double some rows of any load; some that are named do not change."""

        def change(work: duckdb.DuckDBPyConnection) -> None:
            work.execute(
                "insert into changes.usage_events select ?, load_id, record_number from marts.usage_events "
                "where hash(load_id, record_number, ?) % 50 = 0",
                [self.build_id, seed],
            )
            keys = f"select (load_id, record_number) from changes.usage_events where build_id = {self.build_id}"
            named = f"where (load_id, record_number) in ({keys})"
            chosen = f"{named} and hash(load_id, record_number, {seed}) % 4"
            work.execute(f"insert into marts.usage_events from marts.usage_events {chosen} = 0")
            work.execute(f"update marts.usage_events set name = 'touched {seed}', amount = null {chosen} = 1")
            work.execute(f"delete from marts.usage_events {chosen} = 2")

        return change

    def sum_up(self, work: duckdb.DuckDBPyConnection) -> None:
        """Bring the rollup up to date, and name what differs: its key is a UUID, and text where it is published."""
        work.execute(
            "create or replace temp table daily as select md5(coalesce(name, '-'))::uuid as usage_daily_key, "
            "count(*) as event_count from marts.usage_events group by all"
        )
        work.execute(
            "insert into changes.usage_daily select distinct ?, usage_daily_key from "
            "((from daily except from marts.usage_daily) union all (from marts.usage_daily except from daily))",
            [self.build_id],
        )
        work.execute("delete from marts.usage_daily; insert into marts.usage_daily from daily")

    def publish(self) -> Publication:
        """Publish, and compare the file with the marts: rows, columns, comments, and what is left behind."""
        publication = publish(self.home)
        self.check()
        return publication

    def check(self) -> None:
        """The published file holds what the marts hold."""
        with open_work_file(self.home) as work:
            work.execute(f"attach '{self.home.published_file}' as published (read_only)")
            expected = {"currencies", *names(work, "schema_name = 'marts'")}
            assert set(names(work, "database_name = 'published'")) == expected | {"publication"}
            for table in expected:
                source = f"{'reference' if table == 'currencies' else 'marts'}.{table}"
                target = f"published.main.{table}"
                assert published_form(described(work, source)) == described(work, target)
                rows = [work.execute(f"from {name} order by all").fetchall() for name in (source, target)]
                assert published_form(rows[0]) == rows[1], table
            built_at = work.execute("select built_at from published.publication").fetchall()
            assert built_at == [(START + timedelta(days=self.build_id),)]
            work.execute("detach published")
        assert {path.name for path in self.home.path.iterdir()} == {
            "meterhouse.duckdb",
            "meterhouse.lock",
            "published.duckdb",
        }

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with open_work_file(self.home) as work:
            return work.execute(sql).fetchall()


def names(work: duckdb.DuckDBPyConnection, condition: str) -> list[str]:
    return [name for (name,) in work.execute(f"select table_name from ({RELATIONS}) where {condition}").fetchall()]


def described(work: duckdb.DuckDBPyConnection, table: str) -> list[tuple[Any, ...]]:
    """A table's comment, and its columns with type and comment, in order."""
    *first, name = table.split(".")
    place = f"table_name = '{name}' and " + (
        "database_name = 'published'" if "published" in first else f"schema_name = '{first[0]}'"
    )
    comment = work.execute(f"select comment from ({RELATIONS}) where {place}").fetchall()
    columns = f"select column_name, data_type, comment from duckdb_columns() where {place} order by column_index"
    return comment + work.execute(columns).fetchall()


def published_form(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows or descriptions of columns as they are published: UUIDs, which are keys, as their 32 digits."""
    return [
        tuple(cell.hex if isinstance(cell, UUID) else "VARCHAR" if cell == "UUID" else cell for cell in row)
        for row in rows
    ]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "home")
    assert made.publish().changed_count is None
    return made


def test_only_what_changed_is_written(warehouse: Warehouse) -> None:
    assert warehouse.publish().changed_count == 0
    warehouse.build(warehouse.touch(1))
    assert warehouse.publish().changed_count == 1
    warehouse.build(warehouse.touch(2), warehouse.sum_up)
    assert warehouse.publish().changed_count == 2
    warehouse.build(lambda work: work.execute("insert into marts.customers values ('a', 0.5), (null, null)"))
    assert warehouse.publish().changed_count == 1


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 60))])
def test_whatever_builds_do_the_copy_is_what_would_be_written_anew(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    warehouse = Warehouse(tmp_path / "home")
    warehouse.publish()
    copied = 0
    for step in range(12):
        for ends in [*chance.choices(("passed", "failed", "partial", "killed"), k=chance.randrange(3)), "passed"]:
            _change_anything(warehouse, chance, seed * 1000 + step, ends)
        copied += warehouse.publish().changed_count is not None
    assert copied >= 4


def _change_anything(warehouse: Warehouse, chance: random.Random, seed: int, ends: str) -> None:
    """A build that does what builds do, and sometimes what they seldom do."""
    events = [warehouse.touch(seed), warehouse.append, warehouse.sum_up]
    small = [
        "insert into marts.customers values ('a', 1.5)",
        "delete from marts.customers",
        "create or replace table marts.products as select 1 as product_id",
        "drop table if exists marts.products",
        "comment on column marts.usage_daily.event_count is 'More or less.'",
        "comment on table marts.usage_events is null",
        "update reference.currencies set minor_unit_digits = minor_unit_digits + 1",
        "create or replace table marts.customers as select customer_key, event_count::bigint as event_count "
        "from marts.customers",
    ]
    chosen = chance.sample(events, k=chance.randrange(4)) + [
        (lambda work, sql=sql: work.execute(sql)) for sql in chance.sample(small, k=chance.randrange(3))
    ]
    kind = chance.random()
    if kind < 0.1:
        chosen.append(lambda work: work.execute("update marts.usage_events set amount = amount + 1"))
    elif kind < 0.15:
        data_type = chance.choice(("integer", "hugeint"))
        chosen.append(lambda work: work.execute(f"alter table marts.usage_daily alter event_count type {data_type}"))
    warehouse.build(*chosen, ends=ends, is_whole=kind < 0.1, tells=kind < 0.9)


@pytest.mark.parametrize(
    "sql",
    [
        "alter table marts.usage_events add column extra integer",
        "alter table marts.usage_events drop column name",
        "create or replace table marts.usage_events as select * exclude (name), name from marts.usage_events",
    ],
    ids=["added", "dropped", "moved"],
)
def test_table_with_other_columns_is_replaced(warehouse: Warehouse, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_tables, "_LARGE_PART", 1)
    warehouse.build(lambda work: work.execute(sql))
    assert warehouse.publish().changed_count == 1


def test_view_is_published_as_a_table_of_which_the_named_rows_change(warehouse: Warehouse) -> None:
    warehouse.do(
        """
        create view marts.loud_usage as select load_id, record_number, upper(name) as name from marts.usage_events;
        comment on view marts.loud_usage is 'As a view says it.';
        comment on column marts.loud_usage.name is 'In capitals.';
        create table changes.loud_usage (build_id bigint, load_id bigint, record_number bigint);
        """
    )

    def name_rows(work: duckdb.DuckDBPyConnection) -> None:
        build = warehouse.build_id
        work.execute("insert into changes.loud_usage from changes.usage_events where build_id = ?", [build])
        work.execute("insert into raw.model_changes values (?, 'loud_usage', false)", [build])

    warehouse.build(name_rows)
    warehouse.publish()
    warehouse.build(warehouse.touch(1), warehouse.append, name_rows)
    assert warehouse.publish().changed_count == 2
    warehouse.build(name_rows)
    assert warehouse.publish().changed_count == 0


def test_keys_are_published_as_text(warehouse: Warehouse) -> None:
    """An event's with the hyphens of the landed record's key, others without; nobody's member is called so."""
    key = "00112233-4455-6677-8899-aabbccddeeff"
    warehouse.do(
        f"""
        create table marts.keys as
        select '{key}'::uuid as usage_event_key, null::uuid as parent_event_key, '{key}'::uuid as customer_key,
            '{key}'::uuid as member_key
        union all
        select null, '{key}'::uuid, null, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid;
        """
    )
    warehouse.build(tells=False)
    publish(warehouse.home)
    with duckdb.connect(str(warehouse.home.published_file), read_only=True) as reader:
        rows = reader.execute("from keys order by all").fetchall()
        types = reader.execute("select distinct data_type from duckdb_columns() where table_name = 'keys'").fetchall()
    digits = key.replace("-", "")
    assert rows == [(key, None, digits, digits), (None, key, None, "unattributed")]
    assert types == [("VARCHAR",)]


def test_rows_stay_in_the_order_of_loads(warehouse: Warehouse) -> None:
    for _ in range(3):
        warehouse.build(warehouse.append)
        assert warehouse.publish().changed_count == 1
    with duckdb.connect(str(warehouse.home.published_file), read_only=True) as reader:
        rows = reader.execute("select load_id, record_number from usage_events").fetchall()
    assert rows == sorted(rows)


def test_copy_stays_readable_by_duckdb_1(warehouse: Warehouse) -> None:
    warehouse.build(warehouse.touch(1))
    warehouse.publish()
    assert int.from_bytes(warehouse.home.published_file.read_bytes()[12:20], "little") == 64
    assert warehouse.home.published_file.stat().st_mode & 0o777 == 0o640


def test_reader_keeps_the_file_it_opened(warehouse: Warehouse) -> None:
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print('open', flush=True); input(); "
        "print(c.execute('select max(load_id) from usage_events').fetchone()[0])"
    )
    command = [sys.executable, "-c", script, str(warehouse.home.published_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        warehouse.build(warehouse.append)
        assert warehouse.publish().changed_count == 1
        answer, _ = reader.communicate("\n")
    assert answer == "5\n"


def flip_bit(place: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 4
        path.write_bytes(content)

    return damage


def change_by_hand(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("update usage_events set amount = 0 where load_id = 1")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(Path.unlink, id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"not a database"), id="foreign"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-262144]), id="a block short"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1000]), id="torn"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes() + bytes(262144)), id="longer"),
        *(
            pytest.param(
                flip_bit(part / 11), id=f"bit flipped at {part} of 11", marks=[] if part % 4 == 3 else pytest.mark.slow
            )
            for part in range(12)
        ),
        pytest.param(flip_bit(0.0001), id="bit of the header flipped"),
        pytest.param(change_by_hand, id="changed by hand"),
    ],
)
def test_damaged_or_foreign_file_is_not_copied(warehouse: Warehouse, damage: Callable[[Path], None]) -> None:
    warehouse.build(warehouse.touch(1))
    damage(warehouse.home.published_file)
    assert warehouse.publish().changed_count is None
    assert warehouse.publish().changed_count == 0


def test_older_file_that_is_put_back_is_not_copied(warehouse: Warehouse, tmp_path: Path) -> None:
    older = tmp_path / "older.duckdb"
    shutil.copyfile(warehouse.home.published_file, older)
    warehouse.build(warehouse.touch(1))
    assert warehouse.publish().changed_count == 1
    shutil.copyfile(older, warehouse.home.published_file)
    warehouse.build(warehouse.touch(2))
    assert warehouse.publish().changed_count is None


def test_file_of_another_home_is_not_copied(warehouse: Warehouse, tmp_path: Path) -> None:
    other = Warehouse(tmp_path / "other", loads=6)
    other.publish()
    shutil.copyfile(other.home.published_file, warehouse.home.published_file)
    warehouse.build(warehouse.touch(1))
    assert warehouse.publish().changed_count is None


def test_file_of_a_build_that_the_work_file_does_not_know_is_not_copied(warehouse: Warehouse) -> None:
    warehouse.do("delete from raw.builds")
    warehouse.build_id = 10
    warehouse.build(warehouse.touch(1))
    assert warehouse.publish().changed_count is None


def test_file_of_another_version_is_not_copied(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "__version__", "0.0.9")
    assert warehouse.publish().changed_count is None


def test_build_that_tells_less_than_it_changed_is_noticed_by_the_count(warehouse: Warehouse) -> None:
    warehouse.build(lambda work: work.execute("delete from marts.usage_events where record_number = 7"))
    assert warehouse.publish().changed_count is None


def test_key_that_is_unknown_or_no_column_is_not_relied_on(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_tables, "_LARGE_PART", 1)

    def change(work: duckdb.DuckDBPyConnection) -> None:
        work.execute("update marts.usage_events set name = 'moved' where load_id = 2")
        work.execute("insert into changes.usage_events values (?, 2, null)", [warehouse.build_id])

    warehouse.build(change)
    assert warehouse.publish().changed_count == 1
    warehouse.do("alter table changes.usage_events rename load_id to of_load")
    warehouse.build(lambda work: work.execute("update marts.usage_events set name = 'moved' where load_id = 3"))
    assert warehouse.publish().changed_count == 1


def test_what_was_published_is_forgotten_and_what_was_not_is_kept(warehouse: Warehouse) -> None:
    warehouse.build(warehouse.touch(1), warehouse.sum_up)
    told = "select (select count(*) from raw.model_changes), (select count(*) from changes.usage_events)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "_swap", lambda *_: (_ for _ in ()).throw(OSError("the disk is gone")))
        with pytest.raises(publishing.PublishError, match="The last file stays"):
            publish(warehouse.home)
    (kept,) = warehouse.rows(told)
    assert kept[0] == 2
    assert kept[1] > 0
    assert warehouse.publish().changed_count == 2
    assert warehouse.rows(told) == [(0, 0)]
    assert warehouse.rows("select count(*) from raw.publications") == [(1,)]


def test_file_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_GROWTH_BYTES", 1 << 20)
    warehouse = Warehouse(tmp_path / "home", loads=20)
    warehouse.publish()
    first = warehouse.home.published_file.stat().st_size
    sizes, written_anew = [], 0
    for seed in range(30):
        warehouse.build(warehouse.touch(seed))
        written_anew += publish(warehouse.home).changed_count is None
        sizes.append(warehouse.home.published_file.stat().st_size)
    warehouse.check()
    assert 1 <= written_anew <= 10
    assert max(sizes) <= first * 1.6 + (3 << 20)


def test_large_part_of_the_rows_is_written_anew(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_tables, "_LARGE_PART", 0.001)
    warehouse.build(warehouse.touch(1))
    assert warehouse.publish().changed_count is None


KILLED = """
import os, sys
from loaders import publish
from loaders.warehouse import Home
name, moment, home = sys.argv[1:]
place = os if name == "replace" else publish
wrapped = getattr(place, name)
def kill(*arguments, **options):
    if moment == "after":
        wrapped(*arguments, **options)
    os._exit(9)
setattr(place, name, kill)
publish.publish(Home(home))
"""
STAGES = (
    "copy_checked",
    "attach_copy",
    "plan_changes",
    "write",
    "_write_publication",
    "check",
    "fingerprint_of",
    "_remember",
    "replace",
    "_forget",
    "forget_changes",
)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_killed_publish_leaves_the_old_file_or_the_new_one_and_the_next_is_right(
    warehouse: Warehouse, stage: str, moment: str
) -> None:
    old = warehouse.home.published_file.read_bytes()
    warehouse.build(warehouse.touch(1), warehouse.sum_up)
    command = [sys.executable, "-c", KILLED, stage, moment, str(warehouse.home.path)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9
    is_new = "forget" in stage or (stage, moment) == ("replace", "after")
    assert (warehouse.home.published_file.read_bytes() != old) == is_new
    warehouse.build(warehouse.touch(2), warehouse.append)
    # The new one was remembered before it was moved into place: it is copied too.
    assert warehouse.publish().changed_count == (1 if is_new else 2)
