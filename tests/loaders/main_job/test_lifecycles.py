"""What happens to subscriptions, told in part or moments late: each a small organization, all in one build."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.world import EVERYTHING, START, Json, Organization, instant, iso
from tests.loaders.main_job.conftest import Published, begun_home, meterhouse

AS_OF = instant("2025-12-15")
SOLD_ON, RENEWED_ON = "2025-06-01", "2025-07-01"
WITH_METER_CYCLE: Json = {"meter_interval": "month", "meter_interval_count": 1}
MATCHED = ("matched", "none", 0)


@dataclass
class Expected:
    """What the published tables must say: outcomes by event, (status, cause, variance) by order, starts of periods."""

    outcomes: dict[str, str] = field(default_factory=dict)
    orders: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    periods: list[str] | None = None
    subscription: Json = field(default_factory=dict)
    refunds: dict[str, int] = field(default_factory=dict)
    # Orders that do not exist are told of only where it is said so.
    missing: list[tuple[Any, ...]] | None = None


class Business(Organization):
    """An organization that sells one plan: a unit at one cent, and 10.00 an interval."""

    def __init__(self, name: str, *, interval: str = "month", has_meter_cycle: bool = False) -> None:
        super().__init__(name)
        self.interval, self.price = interval, 1000 if interval == "month" else 12000
        self.has_meter_cycle = has_meter_cycle
        self.meter_id = self.meter({"func": "sum", "property": "units"})
        self.prices = [self.metered_price(self.meter_id), self.fixed_price(self.price)]
        self.customer()
        self.product_id = self.product(
            "A", self.prices, interval=interval, **(WITH_METER_CYCLE if has_meter_cycle else {})
        )
        self.subscription_id = self.uuid("subscription", "S")
        # Up to here all is known, so that what is missing is missing.
        self.system_event(
            "customer.updated", instant("2025-12-10"), metadata={"customer_id": self.uuid("customer", "C")}
        )

    def other_plan(self, interval: str, count: int, price: int) -> tuple[str, list[Json]]:
        prices = [self.metered_price(self.meter_id, "other", unit_amount="2"), self.fixed_price(price, "other fixed")]
        fields = WITH_METER_CYCLE if self.has_meter_cycle else {}
        return self.product("B", prices, interval=interval, recurring_interval_count=count, **fields), prices

    def version(self, modified_at: str, *, plan: tuple[str, list[Json]] | None = None, **fields: Any) -> None:
        """What the API shows of the subscription since an instant."""
        product_id, prices = plan or (self.product_id, self.prices)
        told = {"recurring_interval": self.interval, "modified_at": iso(instant(modified_at)), **fields}
        self.subscription("S", self.uuid("customer", "C"), product_id, prices, **told)

    def tell(self, name: str, at: str, **metadata: Any) -> None:
        """An event of the subscription's life, with what Polar writes into each."""
        told: Json = {"subscription_id": self.subscription_id}
        if name not in ("updated", "product_updated"):
            told |= {"product_id": self.product_id, "amount": self.price, "currency": "usd"}
            told |= {"recurring_interval": self.interval, "recurring_interval_count": 1}
        self.system_event(f"subscription.{name}", instant(at), metadata=told | metadata)

    def begin(self) -> None:
        self.tell("created", SOLD_ON, started_at=iso(START))

    def use(self, at: str, units: int = 1) -> str:
        return self.usage(at, units, instant(at))

    def bill(self, at: str, *lines: tuple[int, str] | int, reason: str = "subscription_cycle") -> str:
        """An order of the API; a line is an amount, on the first price of that kind where one is named."""
        ids = {"metered": self.prices[0]["id"], "fixed": self.prices[1]["id"]}
        items = [
            {"amount": line} if isinstance(line, int) else {"amount": line[0], "product_price_id": ids[line[1]]}
            for line in lines
        ]
        return self.order(at, instant(at), items, billing_reason=reason, subscription_id=self.subscription_id)

    def paid(self, at: str, amount: int) -> str:
        """An order that only its order.paid tells of."""
        return self.paid_event(
            at, instant(at), amount, subscription_id=self.subscription_id, billing_type="recurring", net_amount=amount
        )


def a_pause_that_only_versions_tell() -> tuple[Business, Expected]:
    it = Business("a pause that only versions tell")
    it.version(SOLD_ON)
    it.version("2025-06-10", status="paused", paused_at=iso(instant("2025-06-10")))
    it.version(
        "2025-06-20", current_period_start=iso(instant("2025-06-20")), current_period_end=iso(instant("2025-07-20"))
    )
    outcomes = {it.use("2025-06-05"): "billed", it.use("2025-06-12"): "no_subscription", it.use("2025-06-22"): "billed"}
    resumed = it.bill("2025-06-20T00:00:01", (1000, "fixed"), (1, "metered"))
    renewed = it.bill("2025-07-20", (1000, "fixed"), (1, "metered"))
    return it, Expected(outcomes, {resumed: MATCHED, renewed: MATCHED})


def a_resumption_told_moments_after_the_period_it_starts() -> tuple[Business, Expected]:
    it = Business("a resumption told late")
    period = {"current_period_start": iso(instant("2025-10-20")), "current_period_end": iso(instant("2025-11-20"))}
    it.version("2025-10-20T00:00:00.5", started_at=iso(instant("2025-10-01")), **period)
    it.tell("paused", "2025-10-10", paused_at=iso(instant("2025-10-10")))
    it.tell("resumed", "2025-10-20T00:00:00.4")
    it.tell("cycled", "2025-10-20T00:00:00.6")
    resumed = it.bill("2025-10-20T00:00:01", (1000, "fixed"))
    return it, Expected(orders={resumed: MATCHED}, periods=["2025-10-01", "2025-10-20", "2025-11-20"])


def a_reset_told_moments_after_the_period_it_starts() -> tuple[Business, Expected]:
    it = Business("a reset told late")
    period = {"current_period_start": iso(instant("2025-10-15")), "current_period_end": iso(instant("2025-11-15"))}
    it.version("2025-10-15T00:00:00.5", started_at=iso(instant("2025-10-01")), **period)
    it.tell("updated", "2025-10-15T00:00:00.3", seats=5, proration_behavior="reset")
    reset = it.bill("2025-10-15T00:00:01", (1000, "fixed"), reason="subscription_update")
    renewed = it.bill("2025-11-15", (1000, "fixed"))
    return it, Expected(
        orders={reset: MATCHED, renewed: MATCHED}, periods=["2025-10-01", "2025-10-15", "2025-11-15", "2025-12-15"]
    )


def revoked_while_paused() -> tuple[Business, Expected]:
    """What was used before the pause is not invoiced any more (semantics, 6.4)."""
    it = Business("revoked while paused")
    it.begin()
    used = it.use("2025-06-10", 5)
    first = it.paid(SOLD_ON, 1000)
    it.tell("paused", "2025-06-20", paused_at=iso(instant("2025-06-20")))
    it.tell("canceled", "2025-08-10", canceled_at=iso(instant("2025-08-10")))
    it.tell("revoked", "2025-08-10")
    return it, Expected({used: "stranded"}, {first: MATCHED}, periods=[SOLD_ON], missing=[])


def canceled_at_the_end_without_naming_it() -> tuple[Business, Expected]:
    """The job that ends it is late by seconds: they are no period, and no price is due for them."""
    it = Business("an end that no event names")
    it.begin()
    outcomes = {it.use("2025-06-10", 7): "billed", it.use("2025-07-01T00:00:02"): "no_subscription"}
    asked = {"canceled_at": iso(instant("2025-06-10")), "cancel_at_period_end": True}
    it.tell("canceled", "2025-06-10", **asked)
    it.tell("canceled", "2025-07-01T00:00:04", **asked)
    it.tell("revoked", "2025-07-01T00:00:04")
    first, final = it.paid(SOLD_ON, 1000), it.paid("2025-07-01T00:00:05", 7)
    return it, Expected(outcomes, {first: MATCHED, final: MATCHED}, periods=[SOLD_ON], missing=[])


def revoked_at_once_on_the_day_after_a_renewal() -> tuple[Business, Expected]:
    """It was not asked for before the renewal: the period that began then is cut short, not undone."""
    it = Business("revoked on the day after a renewal")
    it.begin()
    used = it.use("2025-07-01T10:00", 7)
    it.tell("cycled", RENEWED_ON)
    it.tell("canceled", "2025-07-01T12:00", canceled_at=iso(instant("2025-07-01T12:00")))
    it.tell("revoked", "2025-07-01T12:00")
    first, renewed = it.paid(SOLD_ON, 1000), it.paid("2025-07-01T00:00:05", 1000)
    return it, Expected(
        {used: "stranded"}, {first: MATCHED, renewed: MATCHED}, periods=[SOLD_ON, RENEWED_ON], missing=[]
    )


def a_meter_cycle_stands_still_while_past_due() -> tuple[Business, Expected]:
    it = Business("a meter cycle while past due", interval="year", has_meter_cycle=True)
    it.version(SOLD_ON)
    for past_due_on, recovered_on in (("2025-06-10", "2025-06-12"), ("2025-07-20", "2025-09-10")):
        it.tell("past_due", past_due_on, past_due_at=iso(instant(past_due_on)))
        it.tell("reactivated", recovered_on)
    used = [
        it.use(at, units) for at, units in (("2025-06-05", 1), ("2025-07-10", 2), ("2025-08-10", 4), ("2025-09-20", 8))
    ]
    orders = [it.bill(SOLD_ON, (12000, "fixed"), reason="subscription_create")]
    for at, amount in ((RENEWED_ON, 1), ("2025-09-10T00:00:01", 6), ("2025-10-01", 8)):
        orders.append(it.bill(at, (amount, "metered"), reason="subscription_meter_cycle"))
    starts = [SOLD_ON, SOLD_ON, RENEWED_ON, "2025-09-10", "2025-10-01", "2025-11-01", "2025-12-01"]
    return it, Expected(dict.fromkeys(used, "billed"), dict.fromkeys(orders, MATCHED), starts, missing=[])


def a_meter_cycle_still_past_due() -> tuple[Business, Expected]:
    it = Business("a meter cycle still past due", interval="year", has_meter_cycle=True)
    it.version(SOLD_ON)
    it.tell("past_due", "2025-06-20", past_due_at=iso(instant("2025-06-20")))
    used = [it.use("2025-06-10"), it.use("2025-10-10")]
    first = it.bill(SOLD_ON, (12000, "fixed"), reason="subscription_create")
    return it, Expected(dict.fromkeys(used, "open"), {first: MATCHED}, [SOLD_ON, SOLD_ON], missing=[])


def the_last_usage_of_a_meter_cycle_billed_as_a_renewal() -> tuple[Business, Expected]:
    it = Business("a final order of a meter cycle", interval="year", has_meter_cycle=True)
    ends_at = iso(instant(RENEWED_ON))
    end = {"canceled_at": iso(instant("2025-03-01")), "ends_at": ends_at, "ended_at": ends_at, "status": "canceled"}
    it.version(RENEWED_ON, started_at=iso(instant("2024-07-01")), **end)
    used = [it.use("2025-05-10", 3), it.use("2025-06-10", 5)]
    cycle = it.bill(SOLD_ON, (3, "metered"), reason="subscription_meter_cycle")
    final = it.bill("2025-07-01T00:00:03", (5, "metered"))
    return it, Expected(dict.fromkeys(used, "billed"), {cycle: MATCHED, final: MATCHED})


def another_interval_that_only_versions_tell() -> tuple[Business, Expected]:
    """Its order charges the new price at once and no usage: that of before is on a price that left."""
    it = Business("another interval in versions")
    plan = it.other_plan("year", 1, 12000)
    it.version(SOLD_ON, current_period_start=iso(START), current_period_end=iso(instant(RENEWED_ON)))
    period = {"current_period_start": iso(instant("2025-06-15")), "current_period_end": iso(instant("2026-06-15"))}
    it.version("2025-06-15", plan=plan, recurring_interval="year", **period)
    used = it.use("2025-06-10", 5)
    first = it.bill(SOLD_ON, (1000, "fixed"), reason="subscription_create")
    changed = it.bill("2025-06-15T00:00:01", 12000, reason="subscription_update")
    return it, Expected({used: "stranded"}, {first: MATCHED, changed: MATCHED}, [SOLD_ON, "2025-06-15"], missing=[])


def another_interval_from_the_next_period_on() -> tuple[Business, Expected]:
    """The change of plan is written when it is asked for; the period runs to its end."""
    it = Business("another interval next period")
    plan_id, _ = it.other_plan("year", 1, 12000)
    it.begin()
    it.tell("updated", "2025-06-15", product_id=plan_id, proration_behavior="next_period")
    it.tell("product_updated", "2025-06-15", old_product_id=it.product_id, new_product_id=plan_id)
    it.tell("cycled", "2025-07-01T00:00:03", product_id=plan_id, amount=12000, recurring_interval="year")
    outcomes = {it.use("2025-06-10", 5): "billed", it.use("2025-06-20", 10): "billed", it.use("2025-07-20"): "open"}
    first, renewed = it.paid(SOLD_ON, 1000), it.paid("2025-07-01T00:00:04", 12015)
    return it, Expected(outcomes, {first: MATCHED, renewed: MATCHED}, [SOLD_ON, RENEWED_ON])


def from_a_month_to_a_quarter() -> tuple[Business, Expected]:
    it = Business("from a month to a quarter")
    plan_id, _ = it.other_plan("month", 3, 3000)
    it.begin()
    it.tell("cycled", "2025-07-01T00:00:03")
    it.tell("cycled", "2025-08-01T00:00:03", product_id=plan_id, amount=3000, recurring_interval_count=3)
    return it, Expected(periods=[SOLD_ON, RENEWED_ON, "2025-08-01", "2025-11-01"])


def another_plan_at_once() -> tuple[Business, Expected]:
    it = Business("another plan at once")
    plan_id, _ = it.other_plan("month", 1, 3000)
    it.begin()
    it.tell("updated", "2025-06-15", product_id=plan_id, proration_behavior="prorate")
    it.tell("product_updated", "2025-06-15", old_product_id=it.product_id, new_product_id=plan_id)
    return it, Expected(subscription={"product_id": plan_id, "static_amount": 3000})


def another_plan_with_a_meter_cycle() -> tuple[Business, Expected]:
    """The change settles what is pending; its anchor stays that of the purchase (semantics, 6.1)."""
    it = Business("another plan with a meter cycle", interval="year", has_meter_cycle=True)
    plan = it.other_plan("year", 1, 24000)
    it.version(SOLD_ON)
    it.version("2025-06-15", plan=plan)
    it.tell("product_updated", "2025-06-15", old_product_id=it.product_id, new_product_id=plan[0])
    used = [it.use("2025-06-10", 5), it.use("2025-06-20", 10)]
    changed = it.bill("2025-06-15T00:00:01", (5, "metered"), reason="subscription_meter_cycle")
    cycle = it.bill(RENEWED_ON, 20, reason="subscription_meter_cycle")
    starts = [SOLD_ON, SOLD_ON, "2025-06-15", *(f"2025-{month:02}-01" for month in range(7, 13))]
    return it, Expected(dict.fromkeys(used, "billed"), {changed: MATCHED, cycle: MATCHED}, starts)


def a_meter_that_was_archived_for_a_while() -> tuple[Business, Expected]:
    """What came meanwhile was not recorded for billing (semantics, 4.4)."""
    it = Business("a meter archived for a while")
    it.version(SOLD_ON)
    meter = {"id": it.meter_id, "created_at": iso(instant("2020-01-01")), "name": "meter m1", "unit": "scalar"}
    meter |= {"filter": EVERYTHING, "aggregation": {"func": "sum", "property": "units"}}
    it.land({**meter, "modified_at": iso(instant("2025-06-10")), "archived_at": iso(instant("2025-06-10"))})
    it.land({**meter, "modified_at": iso(instant("2025-06-20")), "archived_at": None})
    at = {
        "2025-06-05": "awaiting_order",
        "2025-06-10": "no_meter",
        "2025-06-19": "no_meter",
        "2025-06-20": "awaiting_order",
    }
    return it, Expected({it.use(on): outcome for on, outcome in at.items()})


def seats_of_before_they_had_types() -> tuple[Business, Expected]:
    """All are at the rate of the tier that their number falls in."""
    it = Business("seats without a type")
    rows = [(1, 10, 1000), (11, None, 800)]
    tiers = [{"min_seats": least, "max_seats": most, "price_per_seat": price} for least, most, price in rows]
    seats = {**it.fixed_price(0, "seats"), "amount_type": "seat_based", "seat_tiers": {"tiers": tiers}}
    it.version(SOLD_ON, plan=(it.product_id, [seats]), seats=11)
    return it, Expected(subscription={"static_amount": 8800})


def refunds_of_which_one_landed() -> tuple[Business, Expected]:
    """The order's own figure is cumulative; only a refund that failed since takes of it."""
    it = Business("refunds in part")
    known = it.order("known", START, [{"amount": 1000}], refunded_amount=500, modified_at=iso(instant("2025-06-08")))
    it.refund("1", known, 200, 0, instant("2025-06-08"), modified_at=iso(instant("2025-06-08T00:00:01")))
    told = it.paid_event("told", START, 1000, net_amount=1000)
    refunded = {"order_id": told, "refunded_amount": 500, "currency": "usd"}
    it.system_event("order.refunded", instant("2025-06-08"), metadata=refunded)
    it.refund("2", told, 200, 0, instant("2025-06-08"), modified_at=iso(instant("2025-06-08T00:00:01")))
    failed = it.order("failed", START, [{"amount": 1000}], refunded_amount=500, modified_at=iso(instant("2025-06-08")))
    it.refund("3", failed, 300, 0, instant("2025-06-05"))
    it.refund("4", failed, 200, 0, instant("2025-06-08"), status="failed", modified_at=iso(instant("2025-06-11")))
    return it, Expected(refunds={known: 500, told: 500, failed: 300})


SCENARIOS: list[Callable[[], tuple[Business, Expected]]] = [
    a_pause_that_only_versions_tell,
    a_resumption_told_moments_after_the_period_it_starts,
    a_reset_told_moments_after_the_period_it_starts,
    revoked_while_paused,
    canceled_at_the_end_without_naming_it,
    revoked_at_once_on_the_day_after_a_renewal,
    a_meter_cycle_stands_still_while_past_due,
    a_meter_cycle_still_past_due,
    the_last_usage_of_a_meter_cycle_billed_as_a_renewal,
    another_interval_that_only_versions_tell,
    another_interval_from_the_next_period_on,
    from_a_month_to_a_quarter,
    another_plan_at_once,
    another_plan_with_a_meter_cycle,
    a_meter_that_was_archived_for_a_while,
    seats_of_before_they_had_types,
    refunds_of_which_one_landed,
]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = begun_home(tmp_path_factory.mktemp("lifecycles") / "home")
    path: Path = home.parent / "records.jsonl"
    records = [record for scenario in SCENARIOS for record in scenario()[0].records]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    meterhouse("run", path, "--as-of", iso(AS_OF), home=home)
    return Published(home / "published.duckdb")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_life_is_read_as_it_went(published: Published, scenario: Callable[[], tuple[Business, Expected]]) -> None:
    business, expected = scenario()

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in published.rows(sql, [business.id])]

    of_events = "select e.event_id, o.outcome from billing_outcomes as o join usage_events as e using (usage_event_key)"
    assert dict(rows(f"{of_events} where o.organization_id = ?")) == expected.outcomes
    judged = rows("select order_id, status, cause, variance_amount from order_reconciliation where organization_id = ?")
    for order_id, judgement in expected.orders.items():
        assert [row[1:] for row in judged if row[0] == order_id] == [judgement]
    if expected.missing is not None:
        assert [row[1:] for row in judged if row[0] is None] == expected.missing
    if expected.periods is not None:
        starts = rows("select period_start_at from billing_periods where organization_id = ? order by 1")
        until = datetime.fromisoformat(expected.periods[-1])
        assert [start for (start,) in starts if start <= until] == [
            datetime.fromisoformat(at) for at in expected.periods
        ]
    if expected.subscription:
        names = ", ".join(expected.subscription)
        assert rows(f"select {names} from subscriptions where organization_id = ?") == [
            tuple(expected.subscription.values())
        ]
    if expected.refunds:
        assert dict(rows("select order_id, refunded_amount from orders where organization_id = ?")) == expected.refunds
