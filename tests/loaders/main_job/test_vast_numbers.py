"""A number that nothing holds, or that Polar could not have written, in one record stops nobody: all is built, tested
and published; what is sound counts."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.world import START, Json, Organization, Sale, iso, with_months
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
# What an amount, a count or a rate in an object or event of Polar's may wrongly be.
ODD = [2**63 - 1, 4 * 10**15, 9 * 10**14, -5]
ORDER_AMOUNTS = [
    "subtotal_amount",
    "discount_amount",
    "net_amount",
    "tax_amount",
    "total_amount",
    "applied_balance_amount",
    "refunded_amount",
    "platform_fee_amount",
]
EVENTS = [
    "order.paid",
    "order.refunded",
    "order.voided",
    "balance.order",
    "balance.credit_order",
    "balance.refund",
    "balance.dispute",
    "subscription.created",
    "subscription.cycled",
    "subscription.seats_updated",
]
EVENT_NUMBERS = [
    "amount",
    "net_amount",
    "tax_amount",
    "fee",
    "discount_amount",
    "presentment_amount",
    "exchange_rate",
    "refunded_amount",
    "platform_fee",
    "applied_balance_amount",
    "recurring_interval_count",
    "old_seats",
    "new_seats",
    "refundable_amount",
]


def sold(name: str, units: list[float], *, func: str = "sum", has_price: bool = True) -> Organization:
    organization = Organization(name)
    meter_id = organization.meter({"func": func, "property": "units"})
    prices = [organization.metered_price(meter_id)] if has_price else []
    organization.sell([*prices, organization.fixed_price(1000)], interval="month")
    for number, amount in enumerate(units):
        member = {"external_member_id": f"member-{number}"}
        organization.usage(number, amount, START + timedelta(hours=1 + number), **member)
    return organization


def odd_objects(value: int) -> list[Organization]:
    """An organization for each number of an object, with that number odd and all others sound."""
    made = []

    def begun(what: str) -> tuple[Organization, Json]:
        organization = Organization(f"{what} is {value}")
        made.append(organization)
        return organization, organization.metered_price(organization.meter({"func": "sum", "property": "units"}))

    for name in ORDER_AMOUNTS:
        organization, price = begun(name)
        sale = organization.sell([price, organization.fixed_price(1000)], interval="month")
        renew(organization, sale, [{"amount": 1000}], **{name: value})
    organization, price = begun("line")
    sale = organization.sell([price, organization.fixed_price(1000)], interval="month")
    lines = [
        {"amount": value},
        {"amount": value, "proration": True},
        {"amount": value, "product_price_id": price["id"]},
    ]
    renew(organization, sale, lines, subtotal_amount=5, net_amount=5, total_amount=5)
    organization, price = begun("refund")
    sale = organization.sell([organization.fixed_price(1000)], interval="month")
    for order_id in renew(organization, sale, [{"amount": 1000}]):
        organization.refund(order_id, order_id, value, value, START + timedelta(days=80))
    per_seat = {"min_seats": 1, "max_seats": None, "price_per_seat": 1000}
    for name in ("amount", "seats", "units", "recurring_interval_count"):
        organization, price = begun(f"subscription's {name}")
        seats = organization.fixed_price(0, "seats") | {"amount_type": "seat_based"}
        seats["seat_tiers"] = {"seat_tier_type": "graduated", "tiers": [per_seat]}
        organization.sell([price, seats, organization.fixed_price(1000)], interval="month", **{name: value})
    for name in ("recurring_interval_count", "meter_interval_count"):
        organization, price = begun(f"product's {name}")
        product = {"meter_interval": "month", name: value}
        organization.sell([price], interval="month", product=product)
    organization, price = begun("static price")
    statics = [organization.fixed_price(1000, name) | {"price_amount": value} for name in ("a", "b")]
    organization.sell([price, *statics], interval="month", amount=1000)
    for name in ("unit_amount", "cap_amount"):
        organization, price = begun(name)
        organization.sell([{**price, name: value}], interval="month")
        organization.usage(0, 5)
    organization, price = begun("tier")
    price |= {
        "amount_type": "metered_tiers",
        "tiers": {"type": "volume", "tiers": [{"bound": None, "unit_amount": value}]},
    }
    organization.sell([price], interval="month")
    organization.usage(0, 5)
    for event_name in EVENTS:
        organization, price = begun(event_name)
        sale = organization.sell([price, organization.fixed_price(1000)], interval="month")
        for number in range(3):
            told = dict.fromkeys(EVENT_NUMBERS, value)
            told |= {
                f"{name}_id": organization.uuid(name, number) for name in ("order", "transaction", "refund", "dispute")
            }
            told |= {"subscription_id": sale.subscription_id, "product_id": sale.product_id, "currency": "usd"}
            told |= {"presentment_currency": "eur", "recurring_interval": "month", "billing_type": "recurring"}
            organization.system_event(event_name, START + timedelta(days=31, minutes=number), metadata=told)
    return made


def renew(organization: Organization, sale: Sale, items: list[Json], **fields: Any) -> list[str]:
    """Two orders in a row."""
    reason = {"billing_reason": "subscription_cycle", "subscription_id": sale.subscription_id}
    return [
        organization.order(str(month), with_months(START, month) + timedelta(minutes=5), items, **reason, **fields)
        for month in (1, 2)
    ]


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
    return [*made, tokens, *(organization for value in ODD for organization in odd_objects(value))]


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


@pytest.mark.parametrize("value", ODD)
def test_amounts_that_polar_could_not_have_written_are_unknown(published: Published, value: int) -> None:
    is_an_amount = 0 <= value < 10**15
    (order,) = published.rows(
        "select distinct discount_amount from orders where organization_id = ?",
        [Organization(f"discount_amount is {value}").id],
    )
    assert order["discount_amount"] == (value if is_an_amount else None)
    (line,) = published.rows(
        "select distinct amount from order_lines where organization_id = ? and line_type = 'static'",
        [Organization(f"line is {value}").id],
    )
    assert line["amount"] == (value if abs(value) < 10**15 else None)
    (rated,) = published.rows(
        "select expected_amount from meter_usage where organization_id = ? and event_count > 0",
        [Organization(f"tier is {value}").id],
    )
    assert rated["expected_amount"] is None
    (subscription,) = published.rows(
        "select amount, recurring_interval_count from subscriptions where organization_id = ?",
        [Organization(f"subscription's amount is {value}").id],
    )
    assert subscription == {"amount": value if is_an_amount else None, "recurring_interval_count": 1}


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
