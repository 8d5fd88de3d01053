"""A number that nothing holds, in one event, stops nobody: all is built, tested and published; what is sound counts."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.world import START, Organization, iso
from tests.loaders.main_job.conftest import Published, begun_home, meterhouse

AS_OF = START + timedelta(days=90)
# Units of events of one customer, each of another member, on a sum meter at one cent a unit.
USAGE: dict[str, list[float]] = {
    "sound": [3, 4],
    "beyond decimals": [1e28, 5],
    "beyond doubles": [1e308, 1e308],
    "sum beyond decimals": [6e25, 5e25],
    "cancelled": [1e26, -1e26, 5],
    "cancelled beyond decimals": [1e300, 5, -1e300],
    "shares beyond integers": [1e17, -1e17, 1e-11, 1e6],
    "amount near an integer's end": [5e18],
    "amounts beyond integers": [9e18, 9e18],
    "nanoseconds": [1764556800123456789] * 3,
}


def sold(name: str, units: list[float], *, func: str = "sum", has_price: bool = True) -> Organization:
    organization = Organization(name)
    meter_id = organization.meter({"func": func, "property": "units"})
    prices = [organization.metered_price(meter_id)] if has_price else []
    organization.sell([*prices, organization.fixed_price(1000)], interval="month")
    for number, amount in enumerate(units):
        member = {"external_member_id": f"member-{number}"}
        organization.usage(number, amount, START + timedelta(hours=1 + number), **member)
    return organization


def organizations() -> list[Organization]:
    made = [sold(name, units) for name, units in USAGE.items()]
    made += [sold(f"{func} of vast", [1e30, 2e26], func=func) for func in ("max", "min", "avg", "unique", "count")]
    made.append(sold("vast without a price", [1e26, 1e25, 9e25], has_price=False))
    tokens = Organization("vast tokens")
    tokens.customer()
    model = {"vendor": "a", "model": "b", "input_tokens": 0, "output_tokens": 0, "total_tokens": 5 * 10**18}
    for number in range(3):
        tokens.event(number, "llm", {"_llm": model}, START, parent_id=tokens.uuid("event", 0) if number else None)
    tokens.event(3, "llm", {"_llm": {**model, "total_tokens": 7}}, START)
    return [*made, tokens]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = begun_home(tmp_path_factory.mktemp("vast") / "home")
    path = home.parent / "records.jsonl"
    records = [record for organization in organizations() for record in organization.records]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    meterhouse("run", path, "--as-of", iso(AS_OF), home=home)
    return Published(home / "published.duckdb")


def usage(published: Published, name: str) -> dict[str, Any]:
    rows = published.rows(
        "select consumed_units, expected_amount from meter_usage where organization_id = ? and event_count > 0",
        [Organization(name).id],
    )
    (row,) = rows
    return row


def test_what_is_sound_is_billed(published: Published) -> None:
    assert usage(published, "sound") == {"consumed_units": 7, "expected_amount": 7}


@pytest.mark.parametrize("name", sorted(USAGE))
def test_units_are_the_sum_and_an_amount_beyond_any_money_is_unknown(published: Published, name: str) -> None:
    row = usage(published, name)
    whole = sum(USAGE[name])
    assert row["consumed_units"] == pytest.approx(whole, rel=1e-9, abs=10)
    assert (row["expected_amount"] is None) == (whole >= 1e15)
    (shares,) = published.rows(
        "select sum(a.expected_amount) as amount, count(*) as members from member_allocations as a "
        "where organization_id = ?",
        [Organization(name).id],
    )
    assert shares == {"amount": row["expected_amount"], "members": len(USAGE[name])}


def test_token_counts_beyond_any_model_are_left_out(published: Published) -> None:
    organization = Organization("vast tokens").id
    (row,) = published.rows(
        "select count(*) as n, sum(llm_total_tokens) as tokens from usage_events where organization_id = ?",
        [organization],
    )
    assert row == {"n": 4, "tokens": 7}


def test_each_event_has_its_outcome(published: Published) -> None:
    rows = published.rows(
        "select count(*) filter (where o.usage_event_key is null) as missing from usage_events as e "
        "left join billing_outcomes as o using (usage_event_key)"
    )
    assert rows == [{"missing": 0}]


def test_wide_relations_tell_a_dotted_key_from_the_block_of_that_name(tmp_path: Path) -> None:
    organization = Organization("dotted")
    block = {"vendor": "v", "model": "m", "input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    for number, metadata in enumerate(
        ({"_llm.model": "z"}, {"_llm": block}, {"_cost.amount": 2}, {"_cost": {"amount": 1, "currency": "usd"}})
    ):
        organization.event(number, "llm", metadata, START, external_customer_id="c")
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in organization.records))
    home = begun_home(tmp_path / "home")
    meterhouse("run", path, "--as-of", iso(AS_OF), home=home)
    rows = Published(home / "published.duckdb").rows("select * from metadata_columns where event_name = 'llm'")
    assert len(rows) == 2
