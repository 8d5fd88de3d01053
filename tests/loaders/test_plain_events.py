"""The fast path and the Python judge agree: whatever the walk proves plain, the judge accepts in exactly that way."""

import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import FIXTURES, NOW, Landing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_landing import contents_of

from loaders import landing as landing_module
from loaders import plain_events
from loaders.plain_events import PlainJudge
from loaders.records import Context, Event, examine
from loaders.sources.lines import PADDING, Lines, read_ahead, split_lines

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


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_WORTH_PLANNING", "_WORTH_LOADING", "_WORTH_COMPILING"):
        monkeypatch.setattr(plain_events, limit, 0)


def split(content: bytes) -> Lines:
    return split_lines(content + PADDING, 0, len(content))


def find_plain(content: bytes, context: Context) -> pa.Table:
    table = PlainJudge(context, Path(tempfile.gettempdir())).find(split(content))
    assert table is not None
    table.validate(full=True)
    return table


def values_of_plain(lines: list[bytes], context: Context) -> dict[int, tuple[Any, ...]]:
    """Return line number -> (organization, key, shape, source, text) of what the walk takes for plain."""
    content = b"\n".join(lines) + b"\n"
    kept = [raw for _, raw in split(content).units()]
    assert kept == [line.removesuffix(b"\r") for line in lines]
    table = find_plain(content, context)
    for key, key_hash in zip(table["record_key"], table["key_hash"], strict=True):
        assert key_hash.as_py() == key.as_py().int >> 64
    names = ("organization_id", "record_key", "shape", "source", "payload", "byte_offset")
    rows = zip(table["line"].to_pylist(), *(table[name].to_pylist() for name in names), strict=True)
    found = {}
    for line, organization_id, record_key, shape, source, payload, byte_offset in rows:
        assert content[byte_offset:].startswith(payload.encode())
        found[line] = (organization_id, record_key.hex, shape, source, payload)
    return found


def check(lines: list[bytes], context: Context) -> int:
    """Assert that the judge says of each plain line what the walk says; return how many were plain."""
    plain = values_of_plain(lines, context)
    for number, found in plain.items():
        raw = lines[number].removesuffix(b"\r")
        (judged,) = examine(raw, 0, context)
        verdict = judged.verdict
        assert isinstance(verdict, Event), (raw, verdict)
        assert judged.raw == raw
        expected = (verdict.organization_id, verdict.record_key, verdict.shape, verdict.source, verdict.payload)
        assert found == expected, raw
    return len(plain)


@pytest.mark.parametrize("line", [*SPACED[: len(PLAIN)], *COMPACT])
def test_ordinary_event_is_plain(line: bytes) -> None:
    assert check([line], CONTEXTS[0]) == 1


@pytest.mark.parametrize("line", SPACED[len(PLAIN) :])
def test_event_without_an_organization_is_plain_where_one_stands_in(line: bytes) -> None:
    assert check([line], CONTEXTS[0]) == 0
    assert check([line], CONTEXTS[1]) == 1


@pytest.mark.parametrize("context", CONTEXTS)
def test_fixtures_are_judged_alike(context: Context) -> None:
    check([line for line in SEEDS if line.strip()], context)


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
    check(mutants(seed, 400), context)


def test_mutants_are_both_plain_and_not() -> None:
    lines = mutants(1, 4000)

    assert 400 < check(lines, CONTEXTS[0]) < len(lines) - 400


FORMS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-02-29T%H:%M:%S"]
OFFSETS = ["Z", "+00:00", "-14:59", "+14:59", "+15:00", "-0800", "+05", ""]


def test_instants_are_judged_alike() -> None:
    """Any calendar day of any year, and every minute around the one from which a submission is in the future."""
    chance = random.Random(1)
    days = [datetime(1, 1, 1) + timedelta(seconds=chance.randrange(9999 * 31_556_000)) for _ in range(1000)]
    days += [datetime(2026, chance.randint(1, 12), 28) + timedelta(days=day) for day in range(4) for _ in range(100)]
    near = [NOW.replace(tzinfo=None) + timedelta(minutes=minute, seconds=minute % 2) for minute in range(-1000, 1000)]
    texts = [instant.strftime(chance.choice(FORMS)) + chance.choice(OFFSETS) for instant in [*days, *near]]
    lines = [json.dumps({**event, "timestamp": text}).encode() for event in (SENT, READ) for text in texts]

    assert check(lines, CONTEXTS[0]) > 500


def land_both_ways(content: bytes, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Land the content by the fast path and by the judge alone, twice over, and compare all that came of it."""
    results = []
    whole = 64 << 20
    for worth, group_bytes, group_lines in ((0, 5000, whole), (0, whole, 7), (0, whole, whole), (whole, whole, whole)):
        monkeypatch.setattr(plain_events, "_WORTH_PLANNING", worth)
        monkeypatch.setattr(landing_module, "_LARGEST_GROUP_BYTES", group_bytes)
        monkeypatch.setattr(landing_module, "_ROW_GROUP", group_lines)
        monkeypatch.setattr(landing_module, "_GROUP_LINES", 2 * group_lines)
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
    assert results[0] == results[1] == results[2] == results[3]


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


def test_first_of_two_is_the_first_by_either_path(landing: Landing) -> None:
    """A record inside an envelope is judged in Python: it must not come after the plain lines that follow it."""
    envelope = {"events": [{**SENT, "metadata": {"units": 1}}]}
    file = landing.land_lines("x.jsonl", [envelope, {**SENT, "metadata": {"units": 2}}])

    assert (file.landed, file.conflict) == (1, 1)
    assert landing.rows("select record_number from raw.events") == [(1,)]


def test_two_keys_with_one_hash_both_land(landing: Landing) -> None:
    """Eight bytes of a key are compared first; keys that share them are not the same."""
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
def test_bad_utf8_takes_no_neighbour_along(bad: int) -> None:
    lines = [SPACED[0]] * 1000
    lines[bad] = lines[bad].replace(b"call", b"c\xffll")

    assert sorted(values_of_plain(lines, CONTEXTS[0])) == [n for n in range(1000) if n != bad]


def test_reader_ends_when_nobody_waits_for_it() -> None:
    blocks = (split_lines(b"{}\n", number, 3) for number in range(100))
    ahead = read_ahead(blocks)
    next(ahead)
    ahead.close()

    assert next(blocks).offset < 20


def test_error_of_the_reader_reaches_who_waits() -> None:
    def blocks() -> Iterator[Any]:
        yield split_lines(b"{}\n", 0, 3)
        raise OSError("gone")

    ahead = read_ahead(blocks())
    next(ahead)
    with pytest.raises(OSError, match="gone"):
        next(ahead)


def test_views_do_not_copy_lines() -> None:
    lines = split(b"\n".join(SPACED))
    table = PlainJudge(CONTEXTS[1], Path(tempfile.gettempdir())).find(lines)

    assert table is not None
    for column in ("payload", "organization_id"):
        assert table[column].chunk(0).buffers()[2].address == pa.py_buffer(lines.buffer).address
    assert table["line"].to_pylist() == list(np.arange(len(SPACED)))


def test_every_beginning_of_a_line_is_judged_alike() -> None:
    """The walk asks nowhere whether the line ends: what follows in the buffer must never complete it."""
    for line in [*SPACED, *COMPACT]:
        for end in range(1, len(line)):
            content = line[:end] + b"\n" + line[end:] + b"\n"
            lines = split(content)
            table = find_plain(content, CONTEXTS[1])
            for number in table["line"].to_pylist():
                (judged,) = examine(lines.line(number)[1], 0, CONTEXTS[1])
                assert isinstance(judged.verdict, Event)


@pytest.mark.parametrize("missing", range(9))
def test_line_with_nothing_behind_it_is_left_to_the_judge(missing: int) -> None:
    """The walk reads eight bytes at a time, and stops only at the byte behind the line."""
    buffer = b"\n".join([SPACED[0], SPACED[0] + PADDING[missing:]])
    lines = split_lines(buffer, 0, 2 * len(SPACED[0]) + 1)
    table = PlainJudge(CONTEXTS[0], Path(tempfile.gettempdir())).find(lines)

    assert table is not None
    assert table["line"].to_pylist() == [0, 1][: 1 if missing else 2]


def test_keys_of_every_length_are_the_judges() -> None:
    """MD5 takes 64 bytes at a time and the size in the last eight: each length pads in another way."""
    long = ["x" * length for length in range(200)]
    lines = [json.dumps({**SENT, "external_id": text, "organization_id": f"o{text[:3]}"}).encode() for text in long]
    lines += [json.dumps({**READ, "id": f"AZ@[`{{{text}", "organization_id": text}).encode() for text in long[1:]]
    lines += [
        json.dumps({**SENT, "external_id": "\u00e9\u0130\U0001f600" * n}, ensure_ascii=False).encode() for n in range(9)
    ]

    assert check(lines, CONTEXTS[0]) == len(lines)
    assert (
        check([json.dumps({**SENT, "external_id": "x" * size}).encode() for size in (1900, 2100, 9000)], CONTEXTS[0])
        == 1
    )


@pytest.mark.parametrize("levels", [1, 15, 30, 31, 32, 63, 64, 1000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_judged_alike(levels: int, opening: str, closing: str) -> None:
    deep = opening * levels + "1" + closing * levels
    lines = [json.dumps({**READ, field: "here"}).replace('"here"', deep).encode() for field in ("metadata", "customer")]

    count = check(lines, CONTEXTS[0])
    assert levels > 15 or count == (2 if opening.startswith("{") else 1)  # metadata is no list


@pytest.mark.parametrize("count", [1, 100, 250, 300, 2000])
def test_many_keys_are_judged_alike(count: int) -> None:
    many = {f"key{number}": number for number in range(count)}
    repeated = json.dumps({**SENT, "metadata": {**many, "last": 1}}).replace('"last"', f'"key{count // 2}"').encode()
    alike = {"a" + "x" * 9 + f"{number:04d}" + "y": number for number in range(count)}

    assert check([repeated], CONTEXTS[0]) == 0
    assert check([json.dumps({**event, "metadata": alike}).encode() for event in (SENT, READ)], CONTEXTS[0]) in (0, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(-1e90, 1e90) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["_cost", "_llm", "amount"]), inner),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    JSON,
    st.sampled_from([SENT, READ]),
    st.sampled_from(["metadata", "customer", "label", "child_count", "name"]),
    st.booleans(),
)
def test_any_json_in_any_field_is_judged_alike(value: Any, event: dict[str, Any], field: str, is_ascii: bool) -> None:
    line = json.dumps({**event, field: value}, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    inside = json.dumps({**event, "metadata": {"k": value}}, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")

    check([line, inside, line.replace(b": ", b"\t:  "), inside.replace(b", ", b" ,")], CONTEXTS[0])


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"[+-]?[0-9]{0,20}(\.[0-9]{0,14})?([eE][+-]?[0-9]{0,3})?", fullmatch=True))
def test_any_number_is_judged_alike(number: str) -> None:
    lines = []
    for text in (number, f'"{number}"'):
        cost = json.dumps({**SENT, "metadata": {"_cost": {"amount": "here", "currency": "usd"}}})
        tokens = json.dumps({**SENT, "metadata": {"_llm": {**LLM, "input_tokens": "here"}}})
        lines += [
            line.replace('"here"', text).encode() for line in (cost, tokens, json.dumps({**READ, "label": "here"}))
        ]

    check(lines, CONTEXTS[0])


@pytest.mark.parametrize("amount", ["0", "-1.5", "99999.123456789012", "1.2e-05", "1E4", "12e3", "1e-12", "0.1e-11"])
def test_ordinary_cost_is_plain(amount: str) -> None:
    line = json.dumps({**SENT, "metadata": {"_cost": {"amount": 7, "currency": "usd"}}})

    assert check([line.replace("7", text).encode() for text in (amount, f'"{amount}"')], CONTEXTS[0]) == 2


def test_nothing_is_compiled_for_little(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loading costs what judging some megabytes in Python costs, compiling ten times as much."""
    monkeypatch.setattr(plain_events, "_WORTH_PLANNING", 10)
    monkeypatch.setattr(plain_events, "_WORTH_LOADING", 100)
    monkeypatch.setattr(plain_events, "_WORTH_COMPILING", 1000)
    for is_compiled, needed in ((True, 100), (False, 1000)):
        monkeypatch.setattr(plain_events, "_is_compiled", lambda _, answer=is_compiled: answer)
        walk = plain_events._Walk()
        assert walk.get(needed - 1, tmp_path) is None
        assert walk.get(1, tmp_path) is None
        assert walk.get(10, tmp_path) is not None
        assert walk.get(9, tmp_path) is None


@pytest.mark.slow
def test_what_is_compiled_goes_to_the_home_where_the_package_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from loaders import plain_walk

    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    assert not list(tmp_path.iterdir())
    plain_walk.load(tmp_path)

    assert plain_events._is_compiled(tmp_path)
    assert list(tmp_path.rglob("*.nbc"))
