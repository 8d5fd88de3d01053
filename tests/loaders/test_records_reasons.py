"""Each reason for which a record is refused, and the order in which reasons apply."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import FIXTURES, NOW, conformance_cases

from loaders.records import Context, Event, Rejected, Resource, Verdict, examine

pytestmark = pytest.mark.filterwarnings("error")

CONTEXT = Context(now=NOW)
INVALID = sorted((FIXTURES / "invalid").glob("*.jsonl"))
REASONS = {
    "invalid_utf8", "invalid_json", "not_an_object", "too_deep", "nul_character", "number_out_of_range",
    "unknown_shape", "missing_field", "invalid_field", "missing_organization", "naive_timestamp", "future_timestamp",
    "name_too_long", "invalid_metadata",
}  # fmt: skip


def judge(record: Any, context: Context = CONTEXT) -> Verdict:
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    (judged,) = examine(raw, 0, context)
    return judged.verdict


def reason(record: Any, context: Context = CONTEXT) -> str | None:
    verdict = judge(record, context)
    return verdict.reason_code if isinstance(verdict, Rejected) else None


@pytest.mark.parametrize("case", conformance_cases("validation"))
def test_event_is_valid_where_polar_says_so(case: dict[str, Any]) -> None:
    verdict = judge(case["input"]["event"], Context(now=NOW, organization_id="org_1"))

    assert isinstance(verdict, Event) is case["expected"]["valid"], verdict


def test_every_reason_but_size_has_a_fixture() -> None:
    assert {path.stem for path in INVALID} == REASONS


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_record_is_refused_for_the_reason_its_fixture_is_named_for(path: Path) -> None:
    for line in path.read_bytes().splitlines():
        assert reason(line) == path.stem, line[:200]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_message_is_a_template_without_values(path: Path) -> None:
    for line in path.read_bytes().splitlines():
        verdict = judge(line)
        assert isinstance(verdict, Rejected)
        assert ": " in verdict.message
        assert verdict.message.endswith(".")
        for value in ("customer_1", "org_1", "robot", "yesterday", "eur", "colour", "caf"):
            assert value not in verdict.message
        assert verdict.found is None or len(verdict.found) <= 200


@pytest.mark.parametrize("path", sorted((FIXTURES / "valid").glob("*.jsonl")), ids=lambda path: path.stem)
def test_valid_fixture_is_accepted(path: Path) -> None:
    for line in path.read_bytes().splitlines():
        assert isinstance(judge(line), Event | Resource), (line, judge(line))


def test_record_of_exactly_1_mib_is_accepted_and_one_byte_more_is_not() -> None:
    record = b'{"id":"customer_1","email":"","organization_id":"org_1"}'
    largest = record.replace(b'"email":""', b'"email":"' + b"x" * ((1 << 20) - len(record)) + b'"')
    verdict = judge(largest.replace(b"xx", b"x", 1) + b" ")

    assert len(largest) == 1 << 20
    assert isinstance(judge(largest), Resource)
    assert isinstance(verdict, Resource)
    assert reason(largest + b" ") == "too_large"


@pytest.mark.parametrize(("levels", "expected"), [(64, None), (65, "too_deep")], ids=["64 levels", "65 levels"])
def test_depth_counts_the_record_itself_as_the_first_level(levels: int, expected: str | None) -> None:
    nested = b'{"k":' * (levels - 1) + b"1" + b"}" * (levels - 1)
    record = b'{"id":"c","email":"e","organization_id":"o","metadata":' + nested + b"}"

    assert reason(record) == expected


def test_many_brackets_side_by_side_or_in_texts_are_not_deep() -> None:
    record = {"id": "c", "email": "[" * 500 + '\\"{', "organization_id": "o", "list": [[] for _ in range(500)]}

    assert reason(record) is None


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b'{"a":"\xff\\u0000"', "invalid_utf8"),
        (b'{"a":"\\u0000","b":NaN', "nul_character"),
        (b"[" * 70 + b"NaN", "too_deep"),
        (b'{"a":NaN', "number_out_of_range"),
        (b'{"name":5,"source":"user","id":"i"}', "invalid_field"),
        (b'{"name":"e","timestamp":"2026-01-01T00:00:00"}', "missing_field"),
        (b'{"name":"e","external_customer_id":"c","timestamp":"2026-01-01T00:00:00"}', "missing_organization"),
        (
            b'{"name":"' + b"n" * 129 + b'","external_customer_id":"c","organization_id":"o","metadata":[],'
            b'"timestamp":"2026-01-01T00:00:00"}',
            "naive_timestamp",
        ),
    ],
    ids=[
        "utf-8 first",
        "then NUL",
        "then depth",
        "then numbers",
        "fields",
        "missing field",
        "organization",
        "timestamp",
    ],
)
def test_first_reason_that_applies_is_given(record: bytes, expected: str) -> None:
    assert reason(record) == expected


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [(timedelta(minutes=5), None), (timedelta(minutes=5, microseconds=1), "future_timestamp")],
    ids=["5 minutes", "a microsecond more"],
)
def test_timestamp_may_run_5_minutes_ahead_of_the_clock(ahead: timedelta, expected: str | None) -> None:
    event = {"name": "e", "external_customer_id": "c", "organization_id": "o", "timestamp": (NOW + ahead).isoformat()}

    assert reason(event) == expected


def test_recorded_event_is_never_refused_for_the_rules_of_submission() -> None:
    event = {
        "id": "i", "source": "user", "name": "n" * 500, "timestamp": "9998-01-01T00:00:00", "organization_id": "o",
        "metadata": {"empty": "", "null": None, "_cost": {"amount": 10**6, "currency": "eur"}, "_llm": 1},
    }  # fmt: skip

    assert isinstance(judge(event), Event)


def test_repeated_key_is_named_in_what_was_found_only() -> None:
    verdict = judge(b'{"name":"e","metadata":{"secret key":1,"secret key":1},"external_customer_id":"c"}')

    assert isinstance(verdict, Rejected)
    assert verdict.found == 'key "secret key"'
    assert "secret" not in verdict.message


@pytest.mark.parametrize("text", ['a":', '": "', '\\":', "a : b", '{"a":1,"a":2}'])
def test_text_that_looks_like_a_repeated_key_is_accepted(text: str) -> None:
    event = {"name": "e", "external_customer_id": "c", "organization_id": "o", "metadata": {"k": text, text: 1}}

    assert reason(event) is None


@pytest.mark.parametrize(
    "amount",
    [99999, "99999.999999999999", -99999, "1e4", 1e-12, "0.000000000001", "1.0000000000000000", 0, "-.5", "7."],
    ids=repr,
)
def test_cost_amount_within_17_digits_12_decimals_is_accepted(amount: float | str) -> None:
    metadata = {"_cost": {"amount": amount, "currency": "usd"}}

    assert reason({"name": "e", "external_customer_id": "c", "organization_id": "o", "metadata": metadata}) is None


@pytest.mark.parametrize(
    "amount", [100000, "1e5", "0.0000000000001", "NaN", "Infinity", "", " 1", "1,5", "0x1", None, [1], "١"], ids=repr
)
def test_cost_amount_beyond_them_is_refused(amount: Any) -> None:
    metadata = {"_cost": {"amount": amount, "currency": "usd"}}
    event = {"name": "e", "external_customer_id": "c", "organization_id": "o", "metadata": metadata}

    assert reason(event) == "invalid_metadata"


def test_hostile_text_is_judged_in_linear_time() -> None:
    started = datetime.now(UTC)
    for hostile in (b'{"' + b'\\"' * 500_000, b'{"a":"' + b"\\" * 1_000_000, b"[" * 1_000_000, b'{"a":[' * 150_000):
        assert reason(hostile) in ("invalid_json", "too_deep", "too_large")

    assert datetime.now(UTC) - started < timedelta(seconds=10)
