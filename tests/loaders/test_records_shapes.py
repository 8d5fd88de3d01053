"""Kinds by shape, hint and option; containers taken apart; organizations found; keys and contents compared."""

import json
from collections.abc import Callable
from typing import Any

import duckdb
import pytest
from conftest import FIXTURES, NOW
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.records import (
    Context,
    Event,
    Judged,
    Rejected,
    Resource,
    examine,
    hint_from_path,
    occurrence_key,
    position_key,
    read_event_content,
)

pytestmark = pytest.mark.filterwarnings("error")

CONTEXT = Context(now=NOW, organization_id="org_1")
ORDER = {"id": "o_1", "billing_reason": "purchase", "created_at": "2026-01-01T00:00:00Z", "currency": "usd"}
EVENT = {"name": "e", "external_customer_id": "c"}


def judged(record: Any, context: Context = CONTEXT) -> list[Judged]:
    return list(examine(record if isinstance(record, bytes) else json.dumps(record).encode(), 0, context))


def resource(record: Any, context: Context = CONTEXT) -> Resource:
    (one,) = judged(record, context)
    assert isinstance(one.verdict, Resource), one.verdict
    return one.verdict


def event(record: Any, context: Context = CONTEXT) -> Event:
    (one,) = judged(record, context)
    assert isinstance(one.verdict, Event), one.verdict
    return one.verdict


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("orders.jsonl", "orders"),
        ("orders/2026-01.jsonl.gz", "orders"),
        ("a/Customer_export.json", "customers"),
        ("orders/refunds.jsonl", "refunds"),
        ("usage-events-2026.ndjson", "events"),
        ("orders/old/x.jsonl", None),
        ("webhooks.jsonl", None),
        ("borders.jsonl", None),
    ],
)
def test_file_name_then_folder_name_hint_at_the_kind(path: str, kind: str | None) -> None:
    assert hint_from_path(path) == kind


def test_shape_beats_the_hint() -> None:
    assert resource(ORDER, Context(now=NOW, organization_id="o", hint="customers")).kind == "orders"


def test_hint_decides_where_the_shape_does_not() -> None:
    bare = {"id": "c_1", "external_id": "mine"}

    assert resource(bare, Context(now=NOW, organization_id="o", hint="customers")).kind == "customers"
    assert isinstance(judged(bare)[0].verdict, Rejected)


def test_named_kind_that_the_shape_contradicts_is_refused() -> None:
    (one,) = judged(ORDER, Context(now=NOW, organization_id="o", kind="customers"))

    assert isinstance(one.verdict, Rejected)
    assert (one.verdict.reason_code, one.verdict.found) == ("unknown_shape", "orders, not customers")


def test_kind_webhooks_is_only_a_hint() -> None:
    assert resource(ORDER, Context(now=NOW, organization_id="o", kind="webhooks")).kind == "orders"


@pytest.mark.parametrize(
    ("webhook_type", "kind"),
    [
        ("order.paid", "orders"),
        ("subscription.past_due", "subscriptions"),
        ("customer.created", "customers"),
        ("customer.deleted", "customers"),
        ("customer.state_changed", "webhooks"),
        ("customer_seat.assigned", "webhooks"),
        ("member.updated", "webhooks"),
        ("product.updated", "products"),
        ("refund.created", "refunds"),
        ("checkout.created", "webhooks"),
        ("something.new", "webhooks"),
    ],
)
def test_webhook_data_lands_as_its_kind_with_type_and_time(webhook_type: str, kind: str) -> None:
    data = {**ORDER, "customer_id": "c", "order_id": "o", "amount": 1}
    landed = resource({"type": webhook_type, "timestamp": "2026-01-01T02:00:00+02:00", "data": data})

    assert (landed.kind, landed.webhook_type, landed.resource_id) == (kind, webhook_type, "o_1")
    assert landed.webhook_at is not None
    assert landed.webhook_at.isoformat() == "2026-01-01T00:00:00+00:00"
    assert landed.payload == json.dumps(data)


def test_redelivered_webhook_has_the_same_content_and_a_state_that_came_back_has_not() -> None:
    def state(timestamp: str) -> str:
        data = {"id": "c_1", "active_subscriptions": []}
        return resource({"type": "customer.state_changed", "timestamp": timestamp, "data": data}).content_hash

    assert state("2026-01-01T00:00:00Z") == state("2026-01-01T01:00:00+01:00")
    assert state("2026-01-01T00:00:00Z") != state("2026-01-02T00:00:00Z")


def test_rejected_webhook_keeps_the_whole_delivery() -> None:
    delivery = json.dumps({"type": "member.created", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "m"}}).encode()
    (one,) = judged(delivery, Context(now=NOW))

    assert isinstance(one.verdict, Rejected)
    assert one.verdict.reason_code == "missing_organization"
    assert one.raw == delivery


FORMS: dict[str, Callable[[list[str]], str]] = {
    "array": lambda texts: "[" + " , ".join(texts) + "]",
    "envelope": lambda texts: '{"events": [' + ",".join(texts) + "]}",
    "page": lambda texts: '{"items":[' + ",\n".join(texts) + '],"pagination":{"total_count":3,"max_page":1}}',
    "array of envelopes": lambda texts: "[" + ",".join(f'{{"events":[{text}]}}' for text in texts) + "]",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"name":"e","metadata":{"k":NaN}}', "number_out_of_range"),
        ('{"name":"e","name":"f"}', "invalid_json"),
        ('{"name":"\\u0000"}', "nul_character"),
        ('{"name":"\\ud800"}', "invalid_json"),
        ('{"k":' * 70 + "1" + "}" * 70, "too_deep"),
        ("{" * 5000 + "}" * 5000, "too_deep"),
        ('{"name":"' + "x" * (1 << 20) + '"}', "too_large"),
        ("7", "not_an_object"),
        ('{"name" "e"}', "invalid_json"),
    ],
    ids=["NaN", "repeated key", "NUL", "surrogate", "deep", "very deep", "large", "scalar", "grammar"],
)
def test_bad_record_in_a_container_leaves_its_neighbours_alone(form: str, bad: str, reason: str) -> None:
    good = json.dumps(EVENT)
    text = FORMS[form]([good, bad, good]).encode()
    first, second, third = judged(text)

    assert isinstance(first.verdict, Event)
    assert isinstance(third.verdict, Event)
    assert isinstance(second.verdict, Rejected)
    assert second.verdict.reason_code == reason
    for one in (first, second, third):
        assert text[one.byte_offset : one.byte_offset + len(one.raw)] == one.raw
    assert second.raw == bad.encode()


def test_invalid_utf8_in_a_container_leaves_its_neighbours_alone() -> None:
    verdicts = [one.verdict for one in judged(b'{"events":[' + json.dumps(EVENT).encode() + b',{"name":"\xff"}]}')]

    assert isinstance(verdicts[0], Event)
    assert isinstance(verdicts[1], Rejected)
    assert verdicts[1].reason_code == "invalid_utf8"


@pytest.mark.parametrize(
    "text", ['[{"name":"e"', '[{"name":"e"},]', '[{"name":"e"}{"name":"f"}]', '{"events":[{"name":"e"}]'], ids=repr
)
def test_broken_container_is_one_bad_record(text: str) -> None:
    (one,) = judged(text.encode())

    assert isinstance(one.verdict, Rejected)
    assert one.verdict.reason_code == "invalid_json"
    assert one.raw == text.encode()


def test_order_without_an_id_is_no_page() -> None:
    (one,) = judged({**{name: ORDER[name] for name in ORDER if name != "id"}, "items": [{"id": "i"}]})

    assert isinstance(one.verdict, Rejected)
    assert (one.verdict.reason_code, one.verdict.field) == ("missing_field", "id")


def test_repeated_list_in_an_envelope_is_refused_not_dropped() -> None:
    (one,) = judged(b'{"events":[{"name":"lost"}],"events":[]}')

    assert isinstance(one.verdict, Rejected)
    assert one.verdict.reason_code == "invalid_json"


def test_list_whose_text_stands_earlier_in_the_envelope_gets_its_true_offset() -> None:
    inner = json.dumps([EVENT])
    text = f'{{"note":{json.dumps({"copy": [EVENT]})},"events":{inner}}}'.encode()
    (one,) = judged(text)

    assert one.byte_offset == text.rindex(b'{"name"')


@pytest.mark.parametrize("text", ["[]", '{"events":[]}', '{"items":[],"pagination":{"total_count":0}}', "[ ]"])
def test_empty_container_holds_no_records(text: str) -> None:
    assert judged(text.encode()) == []


def test_envelope_organization_counts_for_its_events_and_their_own_beats_it() -> None:
    envelope = {"organization_id": "org_2", "events": [EVENT, {**EVENT, "organization_id": "org_3"}]}

    organizations = [one.verdict.organization_id for one in judged(envelope)]

    assert organizations == ["org_2", "org_3"]


@pytest.mark.parametrize("inner", ["customer", "product", "subscription"])
def test_organization_of_an_inner_object_beats_the_option(inner: str) -> None:
    assert resource({**ORDER, inner: {"organization_id": "org_9"}}).organization_id == "org_9"


def test_payload_is_the_exact_text_of_the_record() -> None:
    text = '{"name" : "e",  "external_customer_id":"c","metadata":{"x":1.50, "y":1E+2}}'

    assert event(f"[ {text} ]".encode()).payload == text


def test_key_parts_cannot_run_into_each_other(submitted: Callable[..., dict[str, Any]]) -> None:
    first = event(submitted(organization_id="a", external_id='b","c'))
    second = event(submitted(organization_id='a","b', external_id="c"))

    assert first.record_key != second.record_key
    assert occurrence_key("a", "b", 1) != position_key("a", "b", 1)


def test_recorded_id_is_the_same_in_upper_case(recorded: Callable[..., dict[str, Any]]) -> None:
    assert event(recorded(id="ABC")).record_key == event(recorded(id="abc")).record_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"metadata": {"a": 1, "b": 2}}, {"metadata": {"b": 2.0, "a": 1}}),
        (
            {"metadata": {"_cost": {"amount": 1.5, "currency": "usd"}}},
            {"metadata": {"_cost": {"amount": "1.50", "currency": "usd"}}},
        ),
        ({"timestamp": "2026-01-01T00:00:00Z"}, {"timestamp": "2026-01-01T02:00:00.000+02:00"}),
        ({"customer": {"id": "x"}, "label": "l", "child_count": 3, "parent_id": "p"}, {}),
        ({"metadata": {}}, {"metadata": None}),
        ({"customer_id": None}, {}),
    ],
    ids=["key order and number writing", "cost as text", "instant", "later knowledge", "no metadata", "null is absent"],
)  # fmt: skip
def test_content_is_equal(one: dict[str, Any], other: dict[str, Any], recorded: Callable[..., dict[str, Any]]) -> None:
    hashes = {read_event_content(json.dumps(recorded(**fields))).content_hash for fields in (one, other)}

    assert len(hashes) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "other"},
        {"timestamp": "2026-01-01T00:00:00.000001Z"},
        {"external_customer_id": "customer_2"},
        {"customer_id": "customer_1"},
        {"member_id": "m"},
        {"external_member_id": "m"},
        {"metadata": {"k": "1"}},
        {"metadata": {"k": 1}},
        {"metadata": {"k": True}},
        {"metadata": {"k": 1.0000000000000001}},
        {"metadata": {"other": "1"}},
        {"source": "system"},
    ],
    ids=repr,
)
def test_content_differs(fields: dict[str, Any], recorded: Callable[..., dict[str, Any]]) -> None:
    plain = read_event_content(json.dumps(recorded())).content_hash

    assert read_event_content(json.dumps(recorded(**fields))).content_hash != plain


def test_content_compares_numbers_beyond_a_double(recorded: Callable[..., dict[str, Any]]) -> None:
    text = json.dumps(recorded(metadata={"k": 0}))
    one, other = (text.replace('"k": 0', f'"k": 9007199254740992.{digits}') for digits in ("1", "2"))

    assert read_event_content(one).content_hash != read_event_content(other).content_hash


@given(st.datetimes(), st.sampled_from(["", "Z", "+05:30", "-08", "+0100"]), st.integers(0, 10**9 - 1))
def test_instants_read_alike_here_and_in_duckdb(instant: Any, offset: str, nanoseconds: int) -> None:
    """What lands must not fail or change when the models cast it."""
    text = f"{instant.strftime('%Y').zfill(4)}{instant.strftime('-%m-%dT%H:%M:%S')}.{nanoseconds:09d}{offset}"
    (one,) = judged({**ORDER, "modified_at": text})
    verdict = one.verdict
    if isinstance(verdict, Rejected):
        assert verdict.field == "modified_at"
        return
    assert isinstance(verdict, Resource)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        row = connection.execute("select cast(? as timestamptz) at time zone 'UTC'", [text]).fetchone()
    assert verdict.modified_at is not None
    assert row == (verdict.modified_at.replace(tzinfo=None),)


SEEDS = [line for path in sorted(FIXTURES.glob("*/*")) for line in path.read_bytes().splitlines() if len(line) < 2000]


@settings(deadline=None)
@given(
    st.sampled_from(SEEDS), st.sampled_from(SEEDS), st.integers(0, 2000), st.integers(0, 2000), st.binary(max_size=3)
)
def test_no_bytes_raise_and_every_record_is_a_part_of_them(
    one: bytes, other: bytes, cut: int, paste: int, noise: bytes
) -> None:
    raw = one[:cut] + noise + other[paste:]
    for record in judged(raw):
        assert raw[record.byte_offset : record.byte_offset + len(record.raw)] == record.raw
        if not isinstance(record.verdict, Rejected):
            assert record.verdict.payload.encode() in record.raw
            assert json.loads(record.verdict.payload)
