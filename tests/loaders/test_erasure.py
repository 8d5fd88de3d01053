"""What stays of an erased person's records, and whose records they are."""

import json
from typing import Any

import pytest

from loaders.records import ErasedIds, Person, Pseudonyms, Redaction, blocking_hashes, erase_event, people_named

PERSON = Person(
    customer_ids=frozenset({"c0ffee00-0000-4000-8000-000000000001"}), external_customer_ids=frozenset({"ann"})
)
MEMBER = Person(external_customer_ids=frozenset({"team"}), external_member_ids=frozenset({"ann"}))


def erased(event: dict[str, Any], person: Person = PERSON, kept: tuple[str, ...] = ()) -> str:
    return erase_event(json.dumps(event), Pseudonyms("salt", "org", person), frozenset(kept))


def test_numbers_keep_every_digit_and_unknown_fields_go() -> None:
    payload = (
        '{"name":"usage","external_customer_id":"ann","shoe_size":44,"metadata":{"_cost":{"amount":1.234567890123456789,'
        '"currency":"usd","note":"x"},"units":12345678901234567890.000000000001,"note":"mine","a":{"b":[1,{"c":2}]}}}'
    )
    kept = erase_event(payload, Pseudonyms("salt", "org", PERSON), frozenset({"units", "a.b", "_cost.amount"}))
    assert '"amount":1.234567890123456789,"currency":"usd"}' in kept
    assert '"units":12345678901234567890.000000000001' in kept
    assert json.loads(kept)["metadata"]["a"] == {"b": [1, {"c": 2}]}
    assert "shoe_size" not in kept
    assert "note" not in kept


def test_one_id_has_one_pseudonym_and_another_salt_another() -> None:
    one, two = (json.loads(erased({"external_customer_id": "ann", "name": name})) for name in ("a", "b"))
    assert one["external_customer_id"] == two["external_customer_id"] != "ann"
    other = json.loads(erase_event('{"external_customer_id":"ann"}', Pseudonyms("pepper", "org", PERSON), frozenset()))
    assert other["external_customer_id"] != one["external_customer_id"]


def test_an_id_in_capitals_is_the_same_one() -> None:
    upper, lower = (
        json.loads(erased({"customer_id": text}))["customer_id"]
        for text in ("C0FFEE00-0000-4000-8000-000000000001", "c0ffee00-0000-4000-8000-000000000001")
    )
    assert upper == lower


def test_a_parent_is_called_as_its_event_is() -> None:
    pseudonyms = Pseudonyms("salt", "org", PERSON)
    parent = json.loads(erase_event('{"external_customer_id":"ann","external_id":"e1"}', pseudonyms, frozenset()))
    child = json.loads(erase_event('{"external_customer_id":"ann","parent_id":"e1"}', pseudonyms, frozenset()))
    assert child["parent_id"] == parent["external_id"]
    by_polar_id = '{"external_customer_id":"ann","parent_id":"0e0e0e00-0000-4000-8000-000000000001"}'
    assert json.loads(erase_event(by_polar_id, pseudonyms, frozenset()))["parent_id"].startswith("0e0e0e00")


def test_a_short_id_is_replaced_as_an_id_only() -> None:
    """A property `plan` that a meter reads may be called like somebody."""
    event = {"external_customer_id": "ann", "name": "ann", "metadata": {"plan": "ann"}}
    kept = json.loads(erased(event, kept=("plan",)))
    assert (kept["name"], kept["metadata"]["plan"]) == ("ann", "ann")
    assert kept["external_customer_id"] != "ann"


@pytest.mark.parametrize(
    ("record", "is_theirs"),
    [
        ({"external_customer_id": "ann"}, True),
        ({"customer": {"external_id": "ann"}}, True),
        ({"source": "system", "metadata": {"customer_external_id": "ann"}}, True),
        ({"source": "user", "external_customer_id": "bob", "metadata": {"customer_external_id": "ann"}}, False),
        ({"external_customer_id": "bob", "external_member_id": "ann"}, False),
        ({"customer": "ann"}, False),
        ({"customer_id": 7, "external_customer_id": ["ann"]}, False),
    ],
)
def test_whose_record_it_is(record: dict[str, Any], is_theirs: bool) -> None:
    named = people_named(record, "events")
    assert named.is_of(PERSON) is is_theirs
    assert ErasedIds("salt", frozenset(blocking_hashes("salt", "org", PERSON))).are_in("org", named) is is_theirs
    assert not ErasedIds("salt", frozenset(blocking_hashes("salt", "org", PERSON))).are_in("another", named)


def test_a_member_is_one_under_their_customer_only() -> None:
    blocked = ErasedIds("salt", frozenset(blocking_hashes("salt", "org", MEMBER)))
    for customer, is_theirs in (("team", True), ("other", False)):
        named = people_named({"external_customer_id": customer, "external_member_id": "ann"}, "events")
        assert named.is_of(MEMBER) is is_theirs
        assert blocked.are_in("org", named) is is_theirs
    kept = json.loads(erased({"external_customer_id": "team", "external_member_id": "ann"}, MEMBER))
    assert kept["external_customer_id"] == "team"
    assert kept["external_member_id"] != "ann"


def test_redaction_reaches_into_lists_and_sees_escaped_names() -> None:
    redaction = Redaction(["items.note", "metadata._llm.prompt"])
    assert redaction.of('{"items":[{"note":"a","n":1.10},{"n":2}]}') == '{"items":[{"n":1.10},{"n":2}]}'
    escaped = '{"metadata":{"_llm":{"pr\\u006fmpt":"secret"}}}'
    assert redaction.may_touch(escaped.encode())
    assert redaction.of(escaped) == '{"metadata":{"_llm":{}}}'
    assert redaction.of('{"metadata":{"prompt":"stays"}}') is None
