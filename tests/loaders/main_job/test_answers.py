"""The job on the simulated world gives every known answer. The answers come from the world's own billing engine, which
shares nothing with the models but Polar's rules."""

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.loaders.main_job.conftest import Rows, World

Key = Callable[[dict[str, Any]], Any]


def as_answer(row: dict[str, Any]) -> dict[str, Any]:
    """Write instants as the answers do."""
    return {
        name: value.isoformat(timespec="microseconds" if value.microsecond else "seconds") + "Z"
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }


def differences(expected: Rows, found: Rows, key: Key) -> list[str]:
    """Every row that is missing or too much, and every value that differs. What a row lacks is not asserted."""
    wanted = {key(row): row for row in expected}
    given = {key(row): as_answer(row) for row in found}
    assert len(wanted) == len(expected)
    assert len(given) == len(found)
    off = [f"{name}: missing" for name in wanted.keys() - given.keys()]
    off += [f"{name}: too much" for name in given.keys() - wanted.keys()]
    for name in wanted.keys() & given.keys():
        for column, value in wanted[name].items():
            if column in given[name] and given[name][column] != value:
                off.append(f"{name}.{column}: {given[name][column]!r}, want {value!r}")
    return sorted(off)


def test_landing_counts_equal_the_answers_file_by_file(world: World) -> None:
    counts = ("records", "landed", "duplicate", "conflict", "quarantined", "blank")
    found = {
        row["file_name"].removeprefix(str(world.data.parent) + "/"): tuple(row[name] for name in counts)
        for row in world.published.rows("select * from loads")
    }
    expected = {row["path"]: tuple(row[name] for name in counts) for row in world.answers["landing"]["files"]}
    assert found == expected


def test_quarantined_records_have_the_right_reason_and_place(world: World) -> None:
    found = {
        (row["file_name"].removeprefix(str(world.data.parent) + "/"), row["record_number"], row["reason_code"])
        for row in world.published.rows("select * from quarantined_records")
    }
    expected = {
        (file["path"], record["record_number"], record["reason_code"])
        for file in world.answers["landing"]["files"]
        for record in file["quarantined_records"]
    }
    assert expected
    assert found == expected


def test_orders_equal_the_answers(world: World) -> None:
    found = world.published.rows("select * from orders")
    assert differences(world.answers["orders"], found, lambda row: row["order_id"]) == []


def test_meter_usage_equals_the_answers(world: World) -> None:
    found = world.published.rows(
        "select u.*, s.subscription_id, o.order_id from meter_usage as u "
        "join subscriptions as s using (subscription_key) left join orders as o on u.order_key = o.order_key"
    )
    key: Key = lambda row: (row["subscription_id"], row["price_id"], str(row["period_start_at"]))  # noqa: E731
    assert differences(world.answers["meter_usage"], [as_answer(row) for row in found], key) == []


def test_order_reconciliation_equals_the_answers(world: World) -> None:
    found = world.published.rows("select * from order_reconciliation")
    # A missing order has no id of its own: its subscription and when it was due name it.
    for row in found:
        row["key"] = row["order_id"] or f"{row['subscription_id']}@{as_answer(row)['due_at']}"
    key: Key = lambda row: row["key"]  # noqa: E731
    assert differences(world.answers["order_reconciliation"], found, key) == []


def test_every_status_occurs(world: World) -> None:
    statuses = {row["status"] for row in world.published.rows("select distinct status from order_reconciliation")}
    assert statuses == {
        "not_comparable", "pending", "unbilled", "unexpected",
        "matched", "within_tolerance", "underbilled", "overbilled",
    }  # fmt: skip


def test_every_cause_occurs(world: World) -> None:
    causes = {row["cause"] for row in world.published.rows("select distinct cause from order_reconciliation")}
    assert causes == {
        "none", "rounding", "cutoff_timing", "late_usage", "proration", "trial", "one_time",
        "missing_order", "unpaid_order", "revoked", "missing_price", "missing_subscription",
        "incomplete_history", "currency_mismatch", "unexplained",
    }  # fmt: skip


def test_order_lines_equal_the_answers(world: World) -> None:
    found = world.published.rows("select * from order_lines")
    assert differences(world.answers["order_lines"], found, lambda row: (row["order_id"], row["label"])) == []


def test_meter_reconciliation_equals_the_answers(world: World) -> None:
    found = world.published.rows(
        "select r.*, s.subscription_id, o.order_id from meter_reconciliation as r "
        "join subscriptions as s using (subscription_key) left join orders as o on r.order_key = o.order_key"
    )
    key: Key = lambda row: (row["subscription_id"], str(row["period_start_at"]), row["price_id"], row["currency"])  # noqa: E731
    assert differences(world.answers["meter_reconciliation"], [as_answer(row) for row in found], key) == []


def test_open_credit_windows_equal_the_answers(world: World) -> None:
    found = world.published.rows(
        "select l.*, c.customer_id from credit_ledger as l join customers as c using (customer_key) "
        "where l.window_end_at is null and c.is_known_to_polar"
    )
    expected = world.answers["credit_ledger"]
    assert differences(expected, found, lambda row: (row["customer_id"], row["meter_id"])) == []


def test_member_allocations_equal_the_answers(world: World) -> None:
    found = world.published.rows(
        "select a.member_key, a.units, a.expected_amount, u.price_id, u.period_start_at, s.subscription_id, "
        "m.external_member_id "
        "from member_allocations as a join meter_usage as u using (meter_usage_key) "
        "join subscriptions as s using (subscription_key) left join members as m on a.member_key = m.member_key"
    )
    assert all(row["external_member_id"] or row["member_key"] == "unattributed" for row in found)
    names = ("subscription_id", "price_id", "period_start_at", "external_member_id")
    key: Key = lambda row: tuple(str(row[name]) for name in names)  # noqa: E731
    assert differences(world.answers["member_allocations"], [as_answer(row) for row in found], key) == []


def test_billing_outcomes_equal_the_answers(world: World) -> None:
    found = world.published.rows(
        "select organization_id, outcome, count(*) as count from billing_outcomes group by all"
    )
    expected = world.answers["billing_outcomes"]
    assert differences(expected, found, lambda row: (row["organization_id"], row["outcome"])) == []


@pytest.mark.parametrize(
    ("part", "sql"),
    [
        (
            "identities",
            "select c.organization_id, count(*) filter (where is_known_to_polar) as known_customers, "
            "count(*) filter (where not is_known_to_polar) as unknown_customers, "
            "(select count(*) from members as m where m.organization_id = c.organization_id) as members "
            "from customers as c group by c.organization_id",
        ),
        (
            "usage",
            "select organization_id, count(*) as usage_events, "
            "count(*) filter (where depth = 0) as root_events, count(*) filter (where depth > 0) as child_events, "
            "count(*) filter (where is_orphan) as orphan_events, max(depth) as max_depth "
            "from usage_events group by organization_id",
        ),
    ],
)
def test_identities_and_usage_equal_the_answers(world: World, part: str, sql: str) -> None:
    found = world.published.rows(sql)
    assert differences(world.answers[part], found, lambda row: row["organization_id"]) == []


SUMS = (
    "cast(sum(event_count) as bigint) as event_count, coalesce(sum(cost_amount), 0) as cost_amount, "
    "cast(coalesce(sum(llm_input_tokens), 0) as bigint) as llm_input_tokens, "
    "cast(coalesce(sum(llm_output_tokens), 0) as bigint) as llm_output_tokens, "
    "cast(coalesce(sum(llm_total_tokens), 0) as bigint) as llm_total_tokens"
)


def with_decimal_cost(rows: Rows) -> Rows:
    return [{**row, "cost_amount": Decimal(row["cost_amount"])} for row in rows]


def test_usage_by_day_equals_the_answers_to_the_last_decimal(world: World) -> None:
    found = world.published.rows(
        f"select organization_id, event_name, cast(usage_date as varchar) as usage_date, {SUMS} "
        "from usage_daily group by all"
    )
    key: Key = lambda row: (row["organization_id"], row["event_name"], row["usage_date"])  # noqa: E731
    assert differences(with_decimal_cost(world.answers["usage_daily"]), found, key) == []


def test_usage_by_customer_and_month_equals_the_answers(world: World) -> None:
    found = world.published.rows(
        "select d.organization_id, c.customer_id, c.external_customer_id, "
        f"strftime(usage_date, '%Y-%m') as month, {SUMS} "
        "from usage_daily as d join customers as c using (customer_key) group by all"
    )
    key: Key = lambda row: (row["organization_id"], row["customer_id"], row["external_customer_id"], row["month"])  # noqa: E731
    assert differences(with_decimal_cost(world.answers["customer_months"]), found, key) == []


def test_totals_by_currency_equal_the_answers(world: World) -> None:
    amounts = ("subtotal", "discount", "net", "tax", "total", "paid", "refunded")
    sums = ", ".join(f"cast(sum({name}_amount) as bigint) as {name}_amount" for name in amounts)
    found = world.published.rows(
        f"select organization_id, currency, count(*) as order_count, {sums} from orders where is_paid group by all"
    )
    expected = world.answers["totals_by_currency"]
    assert differences(expected, found, lambda row: (row["organization_id"], row["currency"])) == []


def test_revenue_by_day_equals_the_answers(world: World) -> None:
    found = world.published.rows("select * replace (cast(revenue_date as varchar) as revenue_date) from revenue_daily")
    key: Key = lambda row: (row["organization_id"], row["currency"], row["revenue_date"])  # noqa: E731
    assert differences(world.answers["revenue_daily"], found, key) == []


def test_margins_equal_the_answers_to_the_last_decimal(world: World) -> None:
    found = world.published.rows(
        "select m.*, strftime(margin_month, '%Y-%m') as month, c.customer_id, c.external_customer_id "
        "from customer_margins as m join customers as c using (customer_key)"
    )
    names = ("organization_id", "customer_id", "external_customer_id", "currency", "month")
    key: Key = lambda row: tuple(row[name] for name in names)  # noqa: E731
    expected = [
        {**row, **{name: Decimal(row[name]) for name in ("cost_amount", "margin_amount")}}
        for row in world.answers["customer_margins"]
    ]
    assert differences(expected, found, key) == []


def test_customers_at_a_loss_are_found(world: World) -> None:
    found = world.published.rows(
        "select l.organization_id, coalesce(c.customer_id, c.external_customer_id) as customer "
        "from revenue_leakage as l join customers as c using (customer_key) where l.kind = 'cost_above_revenue'"
    )
    assert world.answers["customers_at_a_loss"]
    key: Key = lambda row: (row["organization_id"], row["customer"])  # noqa: E731
    assert differences(world.answers["customers_at_a_loss"], found, key) == []


def test_cash_and_settlement_of_orders_equal_the_answers(world: World) -> None:
    found = world.published.rows("select * from orders_settled")
    assert differences(world.answers["orders_settled"], found, lambda row: row["order_id"]) == []


def test_the_one_submission_that_was_lost_is_found(world: World) -> None:
    missing = world.published.rows(
        "select usage_date, submitted_count - recorded_count as n from delivery_reconciliation where missing_count > 0"
    )
    sent = next(
        event
        for path in world.data.rglob("submitted-*.jsonl")
        for event in map(json.loads, path.read_text().splitlines())
        if event.get("external_id") == "a-event-lost"
    )
    assert missing == [{"usage_date": date.fromisoformat(sent["timestamp"][:10]), "n": 1}]
