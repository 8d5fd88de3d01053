"""The wide relations of a whole build: hostile keys and names, and changed events against all events."""

import json
import random
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from loaders.exact import exact_metadata_numbers
from tests.loaders.main_job.conftest import AS_OF, Published, World, meterhouse
from tests.loaders.main_job.test_increments import Dbt, differences
from tests.loaders.main_job.test_increments import dbt as dbt
from tests.loaders.test_wide import HOSTILE, cells_of, same

EVENT_NAMES = [name for name in HOSTILE if name] + [
    "columns",
    "Columns",
    "chat.completion",
    "chat completion",
    "b" * 300,
]
HOSTILE_METADATA: list[dict[str, Any]] = [
    {key: f"text of {place}" for place, key in enumerate(HOSTILE)},
    {key: place for place, key in enumerate(HOSTILE)},
    {key: dict.fromkeys(HOSTILE[::3], True) for key in HOSTILE[::4]},
    {key: [key, {key: 1.5}] for key in HOSTILE},
    {"a": {"b": "two levels"}, "a.b": "a dot", "l": ["not the key 0"], "n": None, "e": {}, "o": {"n": None}},
    {"o": "beside an object that holds null alone"},
    {"a": {"0": "a key"}, "l": {"0": "the key 0", "00": 7}, "0": ["x"]},
    {"units": "LONG", "a/b": "LONG", "score": 0.1 + 0.2, "huge": 10**40, "tiny": 1e-30, "whole": 2**64},
    {"units": "12345678.123456789012", "score": "n/a", "huge": True, "tiny": "", "whole": "null"},
    {
        "_cost": {"amount": "1.5", "currency": "usd"},
        "_llm": {"vendor": "v", "model": "m", "prompt": "canary"},
        "_llm2": 1,
    },
    {},
]


def hostile_file(folder: Path) -> Path:
    lines = []
    for number, (name, metadata) in enumerate(
        (name, metadata) for name in EVENT_NAMES for metadata in HOSTILE_METADATA
    ):
        # Every name has the plain event, the first one has them all: the names' own trouble needs few columns.
        if name != EVENT_NAMES[0] and metadata:
            metadata = {"place": number, name: name}
        # Twenty digits, which no float of Python's holds.
        text = json.dumps(metadata, ensure_ascii=bool(number % 2)).replace('"LONG"', "12345678.123456789012")
        event = {"id": f"00000000-0000-4000-8000-{number:012}", "source": "user", "name": name}
        event |= {"timestamp": "2026-01-01T00:00:00Z", "organization_id": "acme", "external_customer_id": "c"}
        lines.append(json.dumps(event)[:-1] + f', "metadata": {text}}}')
    file = folder / "events.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("hostile")
    home = folder / "home"
    meterhouse("load", hostile_file(folder), home=home)
    with pytest.MonkeyPatch.context() as environment:
        # YAML knows no pairs of surrogates, which escaped JSON has.
        variables = json.dumps({"wide_event_names": EVENT_NAMES}, ensure_ascii=False)
        Dbt(folder, environment)(home, AS_OF, "build", "--exclude", "test_type:unit", "--vars", variables)
    meterhouse("publish", home=home)
    return Published(home / "published.duckdb")


def test_every_hostile_value_is_found_by_metadata_columns(hostile: Published) -> None:
    columns = {
        (row["event_name"], row["pointer"], row["value_type"]): (row["relation_name"], row["column_name"])
        for row in hostile.rows("select * from metadata_columns")
    }
    relations = {event_name: relation for (event_name, _, _), (relation, _) in columns.items()}
    assert len(set(relations.values())) == len(EVENT_NAMES)
    events = hostile.rows("select usage_event_key, event_name, event_id, metadata from usage_events")
    texts = landed_texts(hostile)
    assert len(events) == len(texts) == len(EVENT_NAMES) * len(HOSTILE_METADATA)
    rows = {
        relation: {row["usage_event_key"]: row for row in hostile.rows(f'from "{relation}"')}
        for relation in relations.values()
    }
    for event in events:
        name = event["event_name"]
        row = rows[relations[name]][event["usage_event_key"]]
        cells = cells_of(texts[event["event_id"]])
        expected = {
            columns[name, *place]: (place[1], value)
            for place, value in cells.items()
            if not is_typed_elsewhere(place[0])
        }
        found = {
            (relations[name], column)
            for column, cell in row.items()
            if cell is not None and column != "usage_event_key"
        }
        assert found == set(expected), event
        for (_, column), (value_type, value) in expected.items():
            assert same(value_type, row[column], value), (event, column)


def is_typed_elsewhere(pointer: str) -> bool:
    return pointer.split("/")[1] in ("_cost", "_llm")


def landed_texts(published: Published) -> dict[str, str]:
    with duckdb.connect(str(published.path.with_name("meterhouse.duckdb")), read_only=True) as work:
        payloads = [payload for (payload,) in work.execute("select payload from raw.events").fetchall()]
    return {
        json.loads(payload)["id"]: payload[payload.index('"metadata": ') + len('"metadata": ') : -1]
        for payload in payloads
    }


def test_names_are_safe_and_documented(hostile: Published) -> None:
    columns = "from duckdb_columns() where not internal and table_name like 'wide\\_%' escape '\\'"
    assert hostile.rows(f"select table_name, column_name {columns} and comment is null") == []
    assert (
        hostile.rows(f"select column_name {columns} and not regexp_full_match(column_name, '[a-z_][a-z0-9_]*')") == []
    )
    assert hostile.rows(f"select table_name {columns} and column_index = 1 and column_name != 'usage_event_key'") == []
    # No name needs quotes, whatever the property is called.
    (relation,) = hostile.rows(
        "select relation_name, count(*) as n from metadata_columns group by all order by n desc limit 1"
    )
    names = [
        row["column_name"]
        for row in hostile.rows("select * from metadata_columns where relation_name = $1", [relation["relation_name"]])
    ]
    assert len(names) > 100
    assert hostile.rows(f"select {', '.join(names)} from {relation['relation_name']} where false") == []


def test_prompts_are_in_no_wide_relation(hostile: Published) -> None:
    assert hostile.rows("select * from metadata_columns where pointer like '/\\_llm/%' escape '\\'") == []
    assert b"canary" not in hostile.path.read_bytes()


# Changed events against all events


class Usage:
    """The usage events of a work file, and random changes of them: gone, back, early ones late, new ones."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self._chance = random.Random(seed)
        self._round = 0

    def change(self) -> None:
        """Remove events, bring some back, land new ones and early ones late; name them all in changes.wide_test."""
        self._round += 1
        events = "intermediate.int_usage_events_attributed"
        with duckdb.connect(str(self.home / "meterhouse.duckdb")) as work:
            work.execute("create table if not exists changes.removed as from " + events + " limit 0")
            work.execute("create or replace table changes.wide_test (load_id bigint, usage_event_key uuid)")
            back = work.execute("select usage_event_key from changes.removed").fetchall()
            self._move(work, "changes.removed", events, [key for (key,) in back if self._chance.random() < 0.5])
            keys = [key for (key,) in work.execute(f"select usage_event_key from {events} order by 1").fetchall()]
            self._move(work, events, "changes.removed", self._chance.sample(keys, 40))
            for number in range(60):
                self._land(work, events, UUID(int=100 * self._round + number))

    def _move(self, work: duckdb.DuckDBPyConnection, source: str, target: str, keys: list[UUID]) -> None:
        work.execute(
            f"insert into changes.wide_test select load_id, usage_event_key from {source} where usage_event_key in ?",
            [keys],
        )
        work.execute(f"insert into {target} from {source} where usage_event_key in ?", [keys])
        work.execute(f"delete from {source} where usage_event_key in ?", [keys])

    def _land(self, work: duckdb.DuckDBPyConnection, events: str, key: UUID) -> None:
        names = ["api.request", "job.run", "tool.call", f"news {self._round}", "API request"]
        metadata = json.dumps(
            {
                self._chance.choice(
                    ["status", "Status", "route", f"key {self._round}", "deep", ""]
                ): self._chance.choice([1, "text", True, [1], {"0": 1}, {"b": None, "c": 2.5}, 0.1 + 0.2, None])
                for _ in range(3)
            }
        )
        exact = exact_metadata_numbers(f'{{"metadata": {metadata}}}') if "0.30000000000000004" in metadata else None
        load = self._chance.choice([1, 100 + self._round])
        work.execute(
            f"insert into {events} by name select ? as usage_event_key, 'acme' as organization_id, ? as event_name, "
            "? as metadata, cast(json_structure(?) as varchar) as metadata_structure, ? as exact_numbers, ? as load_id",
            [key, self._chance.choice(names), metadata, metadata, exact, load],
        )
        work.execute("insert into changes.wide_test values (?, ?)", [load, key])


def names_given(home: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        return work.execute("from raw.wide_columns order by relation_name, position").fetchall()


def test_changed_events_give_the_relations_of_all_events(world: World, tmp_path: Path, dbt: Dbt) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    shutil.copytree(world.home, home)
    usage = Usage(home, seed=7)
    for _ in range(4):
        before = names_given(home)
        usage.change()
        dbt(home, AS_OF, "run-operation", "rewrite_wide_relations", "--args", "{changed: changes.wide_test}")
        assert set(before) <= set(names_given(home))
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(home, other)
        dbt(other, AS_OF, "run-operation", "rewrite_wide_relations")
        assert names_given(home) == names_given(other)
        assert differences(home, other) == {}


def test_list_of_names_leaves_other_relations_out_until_they_return(world: World, tmp_path: Path, dbt: Dbt) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    before = names_given(home)
    few = ["--select", "metadata_columns", "--vars", json.dumps({"wide_event_names": ["job.run", "no such event"]})]
    relations = (
        "select table_name from duckdb_tables() where schema_name = 'marts' and table_name[:5] = 'wide_' order by 1"
    )
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        all_relations = work.execute(relations).fetchall()
    dbt(home, AS_OF, "run", *few)
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        assert work.execute(relations).fetchall() == [("wide_job_run",)]
        assert work.execute("select distinct relation_name from marts.metadata_columns").fetchall() == [
            ("wide_job_run",)
        ]
    dbt(home, AS_OF, "run", "--select", "metadata_columns")
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        assert work.execute(relations).fetchall() == all_relations
    assert names_given(home) == before
