"""The fast path and the Python judge agree: whatever SQL proves plain, the judge accepts in exactly that way."""

import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from conftest import FIXTURES, NOW, Landing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_landing import contents_of

from loaders import landing as landing_module
from loaders.plain_events import judge_plain_lines, match_grammar
from loaders.records import RECORD_BYTE_LIMIT, Context, Event, examine
from loaders.sources.lines import arrow_lines, read_ahead, split_lines

pytestmark = pytest.mark.filterwarnings("error")

Maker = Callable[..., dict[str, Any]]

LLM = {"vendor": "v", "model": "m", "input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
CUSTOMER = {
    "id": "c_1", "metadata": {"tier": "gold"}, "external_id": None, "email": "e@x", "email_verified": True,
    "billing_address": {"city": None, "country": "FR"}, "tax_id": ["FR1", "eu_vat"], "organization_id": "org_2",
}  # fmt: skip
SENT = {
    "name": "call", "external_customer_id": "customer_1", "external_id": "x-1", "timestamp": "2026-01-31T23:30:00.5Z",
    "organization_id": "org_1", "metadata": {"k": "v", "n": 1.5, "b": True, "_cost": {"amount": 0.0123,
    "currency": "usd"}},
}  # fmt: skip
READ = {
    "id": "0000000A-0000-4000-8000-00000000000a", "timestamp": "2026-02-28T00:00:00+05:30", "organization_id": "org_1",
    "customer_id": None, "customer": CUSTOMER, "external_customer_id": "customer_1", "member_id": None,
    "child_count": 0, "parent_id": None, "label": "Call", "source": "user", "name": "call",
    "metadata": {"list": [1, None]},
}  # fmt: skip
PLAIN = [
    SENT,
    {**SENT, "timestamp": None, "metadata": {}},
    {**SENT, "name": "n" * 128, "metadata": {"_llm": LLM, "k": "x" * 500, "text": 'é " \\ \n \U0001f600'}},
    {**SENT, "metadata": {"_llm": {**LLM, "cached_input_tokens": None, "prompt": "p" * 600}}},
    {
        **SENT,
        "metadata": {"_cost": {"currency": "usd", "amount": "1.5"}, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6},
    },
    {**SENT, "metadata": {"_cost": {"amount": 1.2e-05, "currency": "usd"}}},
    {**SENT, "timestamp": "2024-02-29T23:59:59.123456789-14:59", "customer_id": "c", "external_customer_id": None},
    READ,
    {**READ, "customer": None, "source": "system", "metadata": {"amount": 5, "_llm": LLM}},
    {**READ, "metadata": None, "timestamp": "2999-12-31T23:59:59Z"},
]
WITHOUT_ORGANIZATION = [{**SENT, "organization_id": None}, {k: v for k, v in SENT.items() if k != "organization_id"}]
SPACED = [json.dumps(event).encode() for event in [*PLAIN, *WITHOUT_ORGANIZATION]]
COMPACT = [json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() for event in PLAIN]
SEEDS = [*SPACED, *COMPACT]
SEEDS += [
    line for path in sorted(FIXTURES.glob("*/*.jsonl")) for line in path.read_bytes().splitlines() if len(line) < 1000
]

CONTEXTS = [
    Context(now=NOW),
    Context(now=NOW, organization_id='o "é\\'),
    Context(now=NOW, kind="events", hint="orders", organization_id="org_1"),
    Context(now=datetime(2026, 1, 31, 23, 26, tzinfo=UTC), kind="webhooks"),
]

# What DuckDB's JSON takes and the judge refuses, what looks alike, what is just within or beyond a limit.
PIECES = [
    b"NaN", b"nan", b"-Infinity", b"1e999", b"1e99", b"0e99999999999999999999", b"1" * 400, b"12345678901234567890",
    b",", b",}", b",]", b" ", b"\t", b"\r", b"\x0b", b"\x00", b"\\u0000", b"\\\\u0000", b"\\ud800", b"\\ud83d\\ude00",
    b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xc3\xa9", b"\xe2\x80\xa8", b"\x7f", b"\\/", b"\\u00e9", b"\\n", b"\\x",
    b"null", b"true", b"[]", b"{}", b"[[1]]", b'{"a":{"b":1}}', b'""', b'"x"', b"0", b"-0", b"01", b"1.", b".5", b"+1",
    b'"metadata":{},', b'"organization_id":"o",', b'"organization_id":"",', b'"id":"i",', b'"id":null,',
    b'"source":"user",',
    b'"events":[],', b'"data":{},"type":"x",', b'"items":[],', b'"email":"e",', b'"client_secret":"s",',
    b'"customer":{},',
    b'"customer":{"organization_id":"o"},', b'"_cost":{"amount":1,"currency":"usd"},',
    b'"_cost":{"amount":"1,"currency":"usd"},',
    b'"_cost":1,', b'"_llm":{},', b'"_llm":null,', b'"k":"",', b'"k":null,', b'"k":1,"k":2,', b'"amount":100000,',
    b'"amount":1.1234567890123,', b'"amount":1e-13,', b'"amount":1E5,', b'"currency":"eur",', b'"vendor":null,',
    b'"prompt":1,',
    b'"timestamp":"2026-02-29T00:00:00Z",', b'"timestamp":"2026-06-01T12:05:00Z",',
    b'"timestamp":"2026-06-01T12:05:01Z",',
    b'"timestamp":"2026-06-02T02:00:00+14:00",', b'"timestamp":"2026-05-31T21:30:00-14:40",',
    b'"timestamp":"2026-01-01T24:00:00Z",',
    b'"timestamp":"2026-01-01T00:00:60Z",', b'"timestamp":"2026-01-01T00:00:00",', b'"timestamp":"2026-01-01",',
    b'"timestamp":5,',
    b'"ingested_at":"2026-01-01T00:00:00.1Z",', b'"ingested_at":"x",', b'"external_id":null,', b'"external_id":"",',
    b'"external_id":5,',
    "\u0130".encode(), b'"' + b"x" * 501 + b'"', "\u00e9".encode() * 251, b"n" * 129,
]  # fmt: skip


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def judge_in_sql(
    connection: duckdb.DuckDBPyConnection, lines: list[bytes], context: Context
) -> dict[int, tuple[Any, ...]]:
    """Return line number -> (organization, key, shape, source) of what SQL takes for plain."""
    split = split_lines(b"\n".join(lines) + b"\n", 0)
    kept = [raw for _, raw in split.units()]
    assert kept == [line.removesuffix(b"\r") for line in lines]
    table = arrow_lines(split, RECORD_BYTE_LIMIT)
    for name, column in match_grammar(table["text"].combine_chunks()).items():
        table = table.append_column(name, column)
    connection.register("arrow_lines", table)
    judge_plain_lines(connection, context, 0)
    rows = connection.execute(
        "select line, organization_id, replace(record_key::varchar, '-', ''), shape, source from plain_lines"
        " where record_key is not null"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def check(connection: duckdb.DuckDBPyConnection, lines: list[bytes], context: Context) -> int:
    """Assert that the judge says of each plain line what SQL says; return how many were plain."""
    plain = judge_in_sql(connection, lines, context)
    for number, found in plain.items():
        raw = lines[number].removesuffix(b"\r")
        (judged,) = examine(raw, 0, context)
        verdict = judged.verdict
        assert isinstance(verdict, Event), (raw, verdict)
        assert found == (verdict.organization_id, verdict.record_key, verdict.shape, verdict.source), raw
        assert verdict.payload.encode() == judged.raw == raw
    return len(plain)


@pytest.mark.parametrize("line", [*SPACED[: len(PLAIN)], *COMPACT])
def test_ordinary_event_is_plain(line: bytes, connection: duckdb.DuckDBPyConnection) -> None:
    assert check(connection, [line], CONTEXTS[0]) == 1


@pytest.mark.parametrize("line", SPACED[len(PLAIN) :])
def test_event_without_an_organization_is_plain_where_one_stands_in(
    line: bytes, connection: duckdb.DuckDBPyConnection
) -> None:
    assert check(connection, [line], CONTEXTS[0]) == 0
    assert check(connection, [line], CONTEXTS[1]) == 1


@pytest.mark.parametrize("context", CONTEXTS)
def test_fixtures_are_judged_alike(context: Context, connection: duckdb.DuckDBPyConnection) -> None:
    check(connection, [line for line in SEEDS if line.strip()], context)


MEMBERS = [piece for piece in PIECES if piece.endswith(b",") and piece != b","]
VALUES = [
    b"NaN",
    b"1e999",
    b"1e99",
    b"-1.5E-7",
    b"null",
    b"true",
    b"[1, null]",
    b"[]",
    b"{}",
    b"0",
    b"-0",
    b"01",
    b"1" * 30,
]
VALUES += [
    b'"x"',
    b'""',
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\u00e9\\n"',
    b'"\xff"',
    b'"\xc3\xa9"',
    b'{"a":1,"a":2}',
    b'{"b":[[]]}',
]
VALUE = re.compile(rb': ?("[^"]*"|[^",}\]{\[]+)')
MEMBER = re.compile(rb'(?<=[{,]) ?"\w+" ?: ?(?:"[^"]*"|[^",}\]{\[]+), ?')


def mutate(line: bytes, chance: random.Random) -> bytes:
    """Add, drop, double or change a member as often as not; else put something in anywhere, or cut."""
    kind = chance.random()
    members = list(MEMBER.finditer(line))
    values = list(VALUE.finditer(line))
    if kind < 0.3 and members:
        place = chance.choice(members).start()
        return line[:place] + chance.choice(MEMBERS) + line[place:]
    if kind < 0.5 and members:
        member = chance.choice(members)
        return line[: member.start()] + member.group() * chance.choice([0, 0, 2]) + line[member.end() :]
    if kind < 0.8 and values:
        value = chance.choice(values)
        return line[: value.start(1)] + chance.choice(VALUES) + line[value.end(1) :]
    start = chance.randrange(len(line) + 1)
    end = chance.choice([start, start, start + 1, chance.randrange(start, len(line) + 1)])
    return line[:start] + chance.choice(PIECES) + line[end:]


def mutants(seed: int, count: int) -> list[bytes]:
    chance = random.Random(seed)
    lines = []
    for _ in range(count):
        line = chance.choice(SPACED + COMPACT if chance.random() < 0.8 else SEEDS)
        for _ in range(chance.choice([0, 1, 1, 1, 2])):
            line = mutate(line, chance)
        lines.append(line.replace(b"\n", b""))
    return [line for line in lines if line.removesuffix(b"\r").strip(b" \t\r\n")]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(CONTEXTS))
def test_mutated_lines_are_judged_alike(seed: int, context: Context) -> None:
    with duckdb.connect() as connection:
        check(connection, mutants(seed, 400), context)


def test_mutants_are_both_plain_and_not(connection: duckdb.DuckDBPyConnection) -> None:
    lines = mutants(1, 4000)

    assert 400 < check(connection, lines, CONTEXTS[0]) < len(lines) - 400


FORMS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-02-29T%H:%M:%S"]
OFFSETS = ["Z", "+00:00", "-14:59", "+14:59", "+15:00", "-0800", "+05", ""]


def test_instants_are_judged_alike(connection: duckdb.DuckDBPyConnection) -> None:
    """Any calendar day of any year, and every minute around the one from which a submission is in the future."""
    chance = random.Random(1)
    days = [datetime(1, 1, 1) + timedelta(seconds=chance.randrange(9999 * 31_556_000)) for _ in range(1000)]
    days += [datetime(2026, chance.randint(1, 12), 28) + timedelta(days=day) for day in range(4) for _ in range(100)]
    near = [NOW.replace(tzinfo=None) + timedelta(minutes=minute, seconds=minute % 2) for minute in range(-1000, 1000)]
    texts = [instant.strftime(chance.choice(FORMS)) + chance.choice(OFFSETS) for instant in [*days, *near]]
    lines = [json.dumps({**event, "timestamp": text}).encode() for event in (SENT, READ) for text in texts]

    assert check(connection, lines, CONTEXTS[0]) > 500


def land_both_ways(content: bytes, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Land the content by the fast path and by the judge alone, twice over, and compare all that came of it."""
    results = []
    for fast_lines, group_bytes in ((0, 5000), (0, 64 << 20), (10**9, 64 << 20)):
        monkeypatch.setattr(landing_module, "_FAST_LINES", fast_lines)
        monkeypatch.setattr(landing_module, "_GROUP_BYTES", group_bytes)
        monkeypatch.setattr(landing_module, "_FIRST_GROUP_BYTES", group_bytes)
        monkeypatch.setattr("loaders.sources.files.BLOCK_SIZE", min(group_bytes, 4096))
        with tempfile.TemporaryDirectory() as folder:
            landing = Landing(Path(folder))
            (landing.folder / "in").mkdir()
            first, second = landing.folder / "in/events.jsonl", landing.folder / "in/more.jsonl"
            first.write_bytes(content)
            half = content.splitlines(keepends=True)
            second.write_bytes(b"".join(reversed(half)).replace(b'"call"', b'"other"', 5))
            summaries = [
                landing.land_one(first),
                landing.land_one(first, **options),
                landing.land_one(second, **options),
            ]
            for summary in summaries:
                assert summary.records == summary.landed + summary.duplicate + summary.conflict + summary.quarantined
                summary.path = Path(summary.path).name
                summary.error = summary.error and summary.error.replace(folder, "")
            contents = contents_of(landing.home)
            contents["loads"] = [(Path(row[0]).name, *row[1:]) for row in contents["loads"]]
            quarantine = landing.rows("select * exclude (found) from raw.quarantine order by all")
            keys = landing.rows(
                "select (select count(*) from raw.events), (select count(*) from raw.event_keys), "
                "(select count(*) from raw.events anti join"
                " raw.event_keys on (record_key::uhugeint >> 64)::ubigint = key_hash)"
            )
            assert keys[0][0] == keys[0][1]
            assert keys[0][2] == 0
            results.append((summaries, contents, quarantine))
    assert results[0] == results[1] == results[2]


CONTAINERS = [
    json.dumps({"events": [SENT, {**SENT, "external_id": "in-envelope"}]}).encode(),
    json.dumps([READ, {**READ, "id": "in-list"}, 5]).encode(),
    b"[]",
    json.dumps({"type": "order.paid", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "o"}}).encode(),
    json.dumps({k: v for k, v in SENT.items() if k != "external_id"}).encode(),
    json.dumps({"name": "call", "external_customer_id": "c", "organization_id": "org_1"}).encode(),
    b"",
    b"  \r",
]


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**32), st.sampled_from([{}, {"organization_id": "org_1"}, {"kind": "events"}, {"kind": "orders"}])
)
def test_landing_is_the_same_by_either_path(seed: int, options: dict[str, Any]) -> None:
    chance = random.Random(seed)
    events = [json.dumps({**SENT, "external_id": str(n // 2), "name": f"call{n % 7}"}).encode() for n in range(20)]
    events += [
        json.dumps({**READ, "id": str(n // 2), "child_count": n % 2, "label": "é" * n}).encode() for n in range(20)
    ]
    lines = [*events, *mutants(seed, 40), *(chance.choice(CONTAINERS) for _ in range(8))]
    chance.shuffle(lines)
    with pytest.MonkeyPatch.context() as monkeypatch:
        land_both_ways(chance.choice([b"\n", b"\r\n"]).join(lines), monkeypatch, **options)


def test_first_of_two_is_the_first_by_either_path(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record inside an envelope is judged in Python: it must not come after the plain lines that follow it."""
    monkeypatch.setattr(landing_module, "_FAST_LINES", 0)
    envelope = {"events": [{**SENT, "metadata": {"units": 1}}]}
    file = landing.land_lines("x.jsonl", [envelope, {**SENT, "metadata": {"units": 2}}])

    assert (file.landed, file.conflict) == (1, 1)
    assert landing.rows("select record_number from raw.events") == [(1,)]


def test_two_keys_with_one_hash_both_land(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight bytes of a key are compared first; keys that share them are not the same."""
    monkeypatch.setattr(landing_module, "_FAST_LINES", 0)
    landing.land_lines("a.jsonl", [{**SENT, "external_id": "1"}])
    other = landing.write("b.jsonl", [{**SENT, "external_id": "2"}])
    landing.rows(
        "insert into raw.event_keys select md5_number_upper(''), 1; update raw.event_keys set key_hash ="
        ' (\'0x\' || md5(\'["org_1","submitted","2"]\')[1:16])::ubigint; select 1'
    )

    assert landing.land_one(other).landed == 1


def test_keys_of_an_older_work_file_are_made_once(landing: Landing) -> None:
    landing.land_lines("a.jsonl", [{**SENT, "external_id": str(n)} for n in range(5)])
    landing.rows("drop table raw.event_keys; select 1")

    assert landing.land_lines("b.jsonl", [{**SENT, "external_id": "4"}]).duplicate == 1
    assert landing.rows("select count(*) from raw.event_keys") == [(5,)]


@pytest.mark.parametrize("bad", [0, 1, 500, 998, 999])
def test_bad_utf8_takes_no_neighbour_along(bad: int, connection: duckdb.DuckDBPyConnection) -> None:
    lines = [SPACED[0]] * 1000
    lines[bad] = lines[bad].replace(b"call", b"c\xffll")

    assert sorted(judge_in_sql(connection, lines, CONTEXTS[0])) == [n for n in range(1000) if n != bad]


def test_reader_ends_when_nobody_waits_for_it() -> None:
    blocks = (split_lines(b"{}\n", number) for number in range(100))
    ahead = read_ahead(blocks)
    next(ahead)
    ahead.close()

    assert next(blocks).offset < 20


def test_error_of_the_reader_reaches_who_waits() -> None:
    def blocks() -> Iterator[Any]:
        yield split_lines(b"{}\n", 0)
        raise OSError("gone")

    ahead = read_ahead(blocks())
    next(ahead)
    with pytest.raises(OSError, match="gone"):
        next(ahead)


def test_views_do_not_copy_lines() -> None:
    lines = split_lines(b"\n".join(SPACED), 0)
    table = arrow_lines(lines, RECORD_BYTE_LIMIT)

    assert table["text"].chunk(0).buffers()[2].address == pa.py_buffer(lines.buffer).address
    assert table["line"].to_pylist() == list(np.arange(len(SPACED)))
