"""Wide relations: whatever the keys, each value has one column, under a name that stays."""

import hashlib
import itertools
import json
import re
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from uuid import UUID

import duckdb
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loaders.exact import exact_metadata_numbers
from loaders.warehouse import RAW_TABLES
from loaders.wide import OTHER, Column, Node, State, Target, claim_columns, claim_relations, script, slug

KEYWORDS = ["select", "order", "left"]
LIMIT = 500
HOSTILE = [
    *(
        "",
        " ",
        "a",
        "A",
        "a.b",
        "b",
        "a_b",
        "0",
        "1",
        "-",
        "*",
        "$.a",
        "/",
        "~",
        "~1",
        "select",
        "Order",
        "_",
        "__",
        "é",
        "ß",
    ),
    *(
        "usage_event_key",
        "USAGE_EVENT_KEY",
        "other_properties",
        "sent_at",
        "unit_amount",
        "a_string",
        "a_number",
        "a_json",
    ),
    *(
        'q"',
        "it's",
        "{{ 1/0 }}",
        "{% raw %}",
        "'; drop table raw.events; --",
        "null",
        "None",
        "🚀",
        "x" * 500,
        "x" * 499 + "y",
    ),
]
keys = st.one_of(
    st.sampled_from(HOSTILE), st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5)
)
scalars = st.one_of(
    st.sampled_from(
        ["", "null", "5", "true", "{}", "[]", True, False, None, 0, 1, 1.5, -2, 0.1 + 0.2, 10**25, 10**26, 2**64]
    ),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5),
)
values = st.recursive(
    scalars,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(keys, below, max_size=3)),
    max_leaves=6,
)
metadata = st.dictionaries(keys, values, max_size=6)


def leaves(value: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str, Any]]:
    """Every leaf of a metadata: its keys, its type, its value."""
    found = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            found += leaves(item, (*path, key))
        elif item is not None:
            kind = "json" if isinstance(item, (dict, list)) else "string"
            kind = "boolean" if isinstance(item, bool) else "number" if isinstance(item, (int, Decimal)) else kind
            found.append(((*path, key), kind, item))
    return found


def pointer_of(path: tuple[str, ...]) -> str:
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def fits(number: Decimal) -> bool:
    with localcontext() as context:
        context.prec = 1200
        return abs(number) < Decimal(10) ** 26 and number == round(number, 12)


def exactly(text: str) -> dict[str, Any]:
    """Metadata with its numbers as they were written."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def cells_of(text: str) -> dict[tuple[str, str], Any]:
    """The cells that an event must have, by pointer and type."""
    cells: dict[tuple[str, str], Any] = {}
    for path, kind, value in leaves(exactly(text)):
        pointer = pointer_of(path)
        if kind != "number" or fits(value):
            cells[pointer, kind] = value
            continue
        cells[pointer, "double"] = float(value)
        if abs(value) < Decimal(10) ** 26 - 1:
            with localcontext() as context:
                context.prec = 60
                # Half away from zero, as DuckDB casts.
                cells[pointer, "number"] = Decimal(repr(float(value))).quantize(Decimal("1e-12"), ROUND_HALF_UP)
    return cells


def same(value_type: str, cell: Any, value: Any) -> bool:
    if value_type == "json":
        written = json.dumps(value, default=float)
        return bool(json.loads(cell, parse_int=float) == json.loads(written, parse_int=float))
    if value_type == "number" and abs(value) > 1e14:
        # Rounded from a double, where it does not fit.
        return bool(abs(cell - value) <= abs(value) / 10**15)
    return bool(cell == value)


def objects(value: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys of every object in a metadata that has any: also one that holds null and nothing else."""
    found = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            found += [(*path, key), *objects(item, (*path, key))]
    return found


def nodes_of(texts: list[str]) -> list[Node]:
    """What the macro gathers from the structures of these events."""
    counts: dict[tuple[str, str, str], int] = {}
    for text in texts:
        places = [(path, "object") for path in objects(exactly(text))]
        for path, kind, value in leaves(exactly(text)):
            places.append((path, kind))
            if kind == "number" and not fits(value):
                places.append((path, "double"))
        for place, found in places:
            key = (pointer_of(place), ".".join(place), found)
            counts[key] = counts.get(key, 0) + 1
    return [Node("call", *key, count) for key, count in counts.items()]


def warehouse(texts: list[str]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        f"{RAW_TABLES}; create schema marts; insert into raw.builds values "
        "(1, 'build', '2026-01-01', '2026-01-01', null, true, null, 1, null, null);"
        "create table events (usage_event_key uuid, event_name varchar, metadata varchar, exact_numbers varchar)"
    )
    rows = []
    for number, text in enumerate(texts):
        is_long = re.search(r"[0-9][0-9.]{15,}|[.][0-9]{13,}|[:,\[\s]-?[0-9][0-9.]*[eE]", text)
        payload = f'{{"metadata": {text}}}'
        rows.append((UUID(int=number), "call", text, exact_metadata_numbers(payload) if is_long else None))
    connection.executemany("insert into events values (?, ?, ?, ?)", rows)
    return connection


def write(connection: duckdb.DuckDBPyConnection, texts: list[str], limit: int = LIMIT) -> list[Column]:
    stored = [Column(*row) for row in connection.execute("from raw.wide_columns").fetchall()]
    state = State(
        schema="marts", events="events", last_load_id=1, column_limit=limit, keywords=KEYWORDS,
        targets=[Target("call", len(texts), True)], columns=stored, nodes=nodes_of(texts),
    )  # fmt: skip
    relations = connection.execute("select * from raw.wide_relations").fetchall()
    document = msgspec.json.decode(msgspec.json.encode(state))
    document["relations"] = [
        dict(zip(("relation_name", "event_name", "through_load_id"), row, strict=True)) for row in relations
    ]
    connection.execute(script(json.dumps(document)))
    return [Column(*row) for row in connection.execute("from raw.wide_columns").fetchall()]


@settings(deadline=None, max_examples=150)
@example([{"a": {"0": 1}}, {"a": [7]}], 1)
@example([{"a/b~c": 0.1 + 0.2}, {"a/b~c": 2.5e-7}], 2)
@example([{"": ""}, {" ": [], "": {"": None}}], 0)
@example([{"a": 256.1060791015625}, {"a": -256.1060791015625}], 0)
@given(st.lists(metadata, min_size=1, max_size=6), st.integers(0, 6))
def test_each_value_is_in_its_column_and_nothing_else_is(events: list[dict[str, Any]], first: int) -> None:
    texts = [json.dumps(event) for event in events]
    with warehouse(texts) as connection:
        before = write(connection, texts[:first])
        columns = write(connection, texts)
        assert columns[: len(before)] == before
        names = {(column.pointer, column.value_type): column.column_name for column in columns}
        assert len(set(names.values())) == len(names)
        cursor = connection.execute("select * from marts.wide_call order by usage_event_key")
        shown = [description[0] for description in cursor.description or []]
        assert shown == ["usage_event_key", *(it.column_name for it in sorted(columns, key=lambda it: it.position))]
        for text, row in zip(texts, cursor.fetchall(), strict=True):
            found = {name: cell for name, cell in zip(shown[1:], row[1:], strict=True) if cell is not None}
            expected = {names[place]: (place[1], value) for place, value in cells_of(text).items()}
            assert set(found) == set(expected), (text, found)
            for name, (value_type, value) in expected.items():
                assert same(value_type, found[name], value), (text, name, found[name], value)


@settings(deadline=None, max_examples=50)
@given(st.lists(metadata, min_size=1, max_size=4), st.integers(0, 3))
def test_values_beyond_the_limit_share_one_column(events: list[dict[str, Any]], limit: int) -> None:
    texts = [json.dumps(event) for event in events]
    with warehouse(texts) as connection:
        columns = write(connection, texts, limit)
        shared = {(column.pointer, column.value_type) for column in columns if column.column_name == OTHER}
        assert len(columns) - len(shared) <= limit
        if not shared:
            return
        assert len({column.position for column in columns if column.column_name == OTHER}) == 1
        rows = connection.execute("select other_properties from marts.wide_call order by usage_event_key")
        for text, (cell,) in zip(texts, rows.fetchall(), strict=True):
            expected = {
                pointer_of(path) for path, kind, _ in leaves(exactly(text)) if (pointer_of(path), kind) in shared
            }
            assert set(json.loads(cell or "{}")) == expected, (text, cell)


nodes = st.builds(
    lambda path, kind, count: Node("call", pointer_of(tuple(path)), ".".join(path), kind, count),
    st.lists(keys, min_size=1, max_size=3),
    st.sampled_from(["string", "number", "double", "boolean", "json"]),
    st.integers(1, 5),
)
batches = st.lists(st.lists(nodes, max_size=6, unique_by=lambda it: (it.pointer, it.value_type)), max_size=4)


@given(batches)
def test_names_stay_and_never_meet(parts: list[list[Node]]) -> None:
    columns: list[Column] = []
    for part in parts:
        new = claim_columns("wide_call", columns, part, LIMIT, KEYWORDS)
        assert new == claim_columns("wide_call", columns, reversed(part), LIMIT, KEYWORDS)
        columns += new
    names = [column.column_name for column in columns]
    assert len(set(names)) == len(names)
    assert [column.position for column in columns] == list(range(1, len(columns) + 1))
    for column in columns:
        assert re.fullmatch("[a-z_][a-z0-9_]{0,62}", column.column_name)
        assert column.column_name not in {"usage_event_key", *KEYWORDS}
        assert not re.search("_(at|date|month)$", column.column_name)
        assert column.value_type == "number" or not re.search("(^|_)amount$", column.column_name)
        assert column.value_type == "string" or not column.column_name.endswith("_key")


@pytest.mark.parametrize(
    ("key", "value_type", "name"),
    [
        ("model", "string", "model"),
        ("Response Status", "number", "response_status"),
        ("a.b", "string", "a_b"),
        ("größe", "number", "grosse"),
        ("order", "string", "order_"),
        ("0", "string", "_0"),
        ("created_at", "string", "created_at_string"),
        ("amount", "number", "amount"),
        ("net_amount", "json", "net_amount_json"),
        ("", "string", "property_8a5edab2"),
        ("usage_event_key", "string", "usage_event_key_8dcd733b"),
    ],
)
def test_column_is_named_after_its_property(key: str, value_type: str, name: str) -> None:
    found = [Node("call", pointer_of((key,)), key, value_type, 1)]
    assert [column.column_name for column in claim_columns("wide_call", [], found, LIMIT, KEYWORDS)] == [name]


def test_plain_name_goes_to_what_is_spelled_so_then_to_the_frequent() -> None:
    twins = [Node("call", "/Model", "Model", "string", 9), Node("call", "/model", "model", "string", 1)]
    names = {column.pointer: column.column_name for column in claim_columns("wide_call", [], twins, LIMIT, KEYWORDS)}
    assert names == {"/model": "model", "/Model": f"model_{hash_of('/Model')}"}
    types = [Node("call", "/units", "units", "string", 1), Node("call", "/units", "units", "number", 9)]
    columns = claim_columns("wide_call", [], types, LIMIT, KEYWORDS)
    assert [(column.column_name, column.value_type) for column in columns] == [
        ("units", "number"),
        ("units_string", "string"),
    ]


def test_relations_are_named_after_their_events() -> None:
    events = ["chat.completion", "Chat Completion", "chat completion", "🚀", "", "x" * 60, "x" * 60 + "y", "columns"]
    targets = [Target(name, 1, True) for name in events]
    names = claim_relations([], targets, ["wide_columns"])
    assert len(set(names.values())) == len(events)
    assert names["Chat Completion"] == "wide_chat_completion"
    assert names["chat.completion"] == f"wide_chat_completion_{hash_of('chat.completion')}"
    assert names["columns"] == f"wide_columns_{hash_of('columns')}"
    assert names["🚀"] == f"wide_event_{hash_of('🚀')}"
    for name in names.values():
        assert re.fullmatch("wide_[a-z0-9_]{1,58}", name)


def test_no_events_make_no_relation() -> None:
    written = script(msgspec.json.encode(State("marts", "events", 0, LIMIT)).decode())
    # Only what tests ask of all relations, of none here.
    assert re.findall(r"(?m)^(\w+ or replace \w+ \S+)", written) == [
        "create or replace view raw.wide_events",
        "create or replace view raw.wide_values",
    ]
    assert "marts" not in written


def test_slug_of_a_name_is_itself() -> None:
    for name in itertools.chain(["a", "_a", "a_1", "total_tokens"], map(slug, HOSTILE)):
        assert slug(name) == name


def hash_of(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:8]
