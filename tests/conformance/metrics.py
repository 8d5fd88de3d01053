"""Metrics cases: what Polar's dashboard shows, asked of revenue_metrics.

Its days begin at midnight UTC here: the instants of the one case that names a zone lie on the same days in both; unit
tests move them over midnight.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from tests.conformance.scenario import Scenario, Warehouse, answers
from tests.conformance.world import START, Json, instant, iso

# Where Polar's figure is plainly wrong, the column holds the right one and Polar's has this suffix.
AS_POLAR = "_as_polar"
COLUMNS = {
    "revenue": "revenue_amount",
    "net_revenue": "net_revenue_amount",
    "cumulative_revenue": "cumulative_revenue_amount",
    "orders": "order_count",
    "average_order_value": "average_order_amount",
    "one_time_products": "one_time_order_count",
    "one_time_products_revenue": "one_time_revenue_amount",
    "new_subscriptions": "new_subscription_count",
    "new_subscriptions_revenue": "new_subscription_revenue_amount",
    "renewed_subscriptions": "renewed_subscription_count",
    "renewed_subscriptions_revenue": "renewed_subscription_revenue_amount",
    "active_subscriptions": "active_subscription_count",
    "monthly_recurring_revenue": "monthly_recurring_revenue_amount",
    "committed_monthly_recurring_revenue": "committed_monthly_recurring_revenue_amount",
    "trial_monthly_recurring_revenue": "trial_monthly_recurring_revenue_amount",
    "trial_committed_monthly_recurring_revenue": "committed_trial_monthly_recurring_revenue_amount",
    "annual_recurring_revenue": "annual_recurring_revenue_amount",
    "committed_annual_recurring_revenue": "committed_annual_recurring_revenue_amount",
    "average_revenue_per_user": "average_revenue_per_user_amount",
    "churn_rate": "churn_ratio",
    "canceled_subscriptions": "canceled_subscription_count",
    "churned_subscriptions": "churned_subscription_count",
    "costs": "cost_amount",
    "cumulative_costs": "cumulative_cost_amount",
    "cost_per_user": "cost_per_user_amount",
    "gross_margin": "gross_margin_amount",
    "gross_margin_percentage": "gross_margin_ratio",
    "monthly_amount": "monthly_recurring_revenue_amount",
    "active_user_by_event": "active_user_count" + AS_POLAR,
    "seats_total": "seat_count",
    "seats_claimed": "claimed_seat_count",
    "seats_pending": "pending_seat_count",
    "average_seats_per_customer": "average_seats_per_customer",
    "seat_utilization_rate": "seat_utilization_ratio",
}


class Metrics(Scenario):
    """Shared: records of a founder's business, and a bucket of its metrics."""

    def bucket(self, warehouse: Warehouse, interval: str, day: date, currency: str = "usd") -> dict[str, Any]:
        return warehouse.row(
            "select * from revenue_metrics "
            "where organization_id = ? and currency = ? and bucket_type = ? and bucket_start_date = ?",
            self.organization.id,
            currency,
            interval,
            day,
        )

    def buckets(self, warehouse: Warehouse, interval: str, days: Iterable[date], key: str) -> list[Any]:
        return [self.bucket(warehouse, interval, day)[COLUMNS[key]] for day in days]

    def known_until(self, at: datetime) -> None:
        """Land something that happens later: what is after the last record is not known."""
        metadata = {"customer_id": self.organization.uuid("customer", "C"), "updated_fields": {}}
        self.organization.system_event("customer.updated", at, metadata=metadata)

    def charge(self, name: str, at: datetime, amount: int, subscription: str | None = None, **metadata: Any) -> None:
        """A paid order by its balance event."""
        about = {"order_id": self.organization.uuid("order", name), "amount": amount, "net_amount": amount}
        if subscription:
            about["subscription_id"] = self.organization.uuid("subscription", subscription)
        defaults = {"currency": "usd", "presentment_amount": amount, "presentment_currency": "usd", "fee": 0}
        self.organization.system_event("balance.order", at, metadata={**about, **defaults, **metadata})

    def subscribe(self, name: str, started_at: str, amount: int, customer: str | None = None, **fields: Any) -> None:
        """A subscription, of a customer of its own, as it is now."""
        customer_id = self.organization.customer(customer or name)
        terms = {"recurring_interval": "month", "recurring_interval_count": 1, "amount": amount}
        self.organization.subscription(
            name, customer_id, self.product_id, [], **{**terms, "started_at": iso(instant(started_at)), **fields}
        )

    def land(self) -> None:
        self.organization.customer()
        self.product_id = self.organization.product("P", [], interval="month")
        self.land_business()

    def land_business(self) -> None:
        raise NotImplementedError


def day_of(text: str) -> date:
    return instant(text).date()


def month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


class SystemEvents(Metrics):
    """System events as Polar writes them, with what they leave out; earlier ones lie before what is asked for."""

    area = "metrics"
    required = frozenset(("events",))
    optional = frozenset(("interval", "earlier_events", "timezone", "note"))
    compares = frozenset(
        (
            *("revenue", "net_revenue", "orders", "one_time_products", "costs", "cumulative_costs"),
            *("active_user_by_event", "canceled_subscriptions"),
        )
    )
    # The case shows what Polar does; its note has the right figure.
    net_revenues: ClassVar[dict[str, int]] = {"metrics-010-refund-fx-quirk": -1100}

    def land_business(self) -> None:
        for event in [*self.input.get("earlier_events", []), *self.input["events"]]:
            self.land_event(event)
        times = [instant(event["timestamp"]) for event in self.input["events"] if "timestamp" in event]
        self.first_at, self.last_at = min(times, default=START), max(times, default=START)
        self.known_until(self.last_at + timedelta(days=1))

    def land_event(self, event: Json) -> None:
        if event.get("source") == "system":
            metadata = {
                name: self.organization.uuid(name.removesuffix("_id"), value if name != "customer_id" else "C")
                if name in ("order_id", "subscription_id", "customer_id")
                else value
                for name, value in event["metadata"].items()
            }
            self.organization.system_event(event["name"], instant(event["timestamp"]), metadata=metadata)
            return
        number = len(self.organization.records)
        at = instant(event["timestamp"]) if "timestamp" in event else START + timedelta(minutes=number)
        whose: Json = {"customer_id": None}
        if "external_customer_id" in event:
            self.organization.customer("C", event["external_customer_id"])
            whose |= {"external_customer_id": event["external_customer_id"]}
        elif "customer_id" in event:
            whose["customer_id"] = self.organization.customer(event["customer_id"])
        else:
            whose["customer_id"] = self.organization.uuid("customer", "C")
        self.organization.event(number, "call", event.get("metadata", {"units": 1}), at, **whose)

    def total(self, warehouse: Warehouse, column: str) -> int:
        """Add up the days of the window, which begins with the first event that is asked about."""
        row = warehouse.row(
            f"select coalesce(sum({column}), 0)::bigint as total from revenue_metrics "
            "where organization_id = ? and bucket_type = 'day' and bucket_start_date >= ?",
            self.organization.id,
            self.first_at.date(),
        )
        total: int = row["total"]
        return total

    @answers("revenue")
    def check_revenue(self, warehouse: Warehouse) -> None:
        assert self.total(warehouse, "revenue_amount") == self.expected["revenue"]
        assert self.total(warehouse, "revenue_amount" + AS_POLAR) == self.expected["revenue"]

    @answers("net_revenue")
    def check_net_revenue(self, warehouse: Warehouse) -> None:
        expected = self.expected["net_revenue"]
        assert self.total(warehouse, "net_revenue_amount" + AS_POLAR) == expected
        assert self.total(warehouse, "net_revenue_amount") == self.net_revenues.get(self.case.id, expected)

    @answers("net_revenue")
    def check_the_days_say_the_same(self, warehouse: Warehouse) -> None:
        row = warehouse.row(
            "select sum(revenue_amount)::bigint as revenue, sum(net_revenue_amount_as_polar)::bigint as net_revenue "
            "from revenue_daily where organization_id = ? and revenue_date >= ?",
            self.organization.id,
            self.first_at.date(),
        )
        assert row == {name: self.expected[name] for name in ("revenue", "net_revenue")}

    @answers("orders")
    def check_orders(self, warehouse: Warehouse) -> None:
        self.compare_counts(warehouse, "orders")

    @answers("one_time_products")
    def check_one_time_products(self, warehouse: Warehouse) -> None:
        self.compare_counts(warehouse, "one_time_products")

    @answers("canceled_subscriptions")
    def check_cancellations(self, warehouse: Warehouse) -> None:
        self.compare_counts(warehouse, "canceled_subscriptions")

    def compare_counts(self, warehouse: Warehouse, key: str) -> None:
        expected = self.expected[key]
        if isinstance(expected, int):
            assert self.total(warehouse, COLUMNS[key]) == expected
            return
        found = {day: self.bucket(warehouse, "day", day_of(day))[COLUMNS[key]] for day in expected}
        assert found == expected
        assert self.total(warehouse, COLUMNS[key]) == sum(expected.values())

    @answers("costs")
    def check_costs(self, warehouse: Warehouse) -> None:
        row = self.bucket(warehouse, "day", self.first_at.date())
        for key in ("costs", "cumulative_costs"):
            assert row[COLUMNS[key]] == Decimal(str(self.expected[key]))

    @answers("active_user_by_event")
    def check_users(self, warehouse: Warehouse) -> None:
        row = self.bucket(warehouse, "day", self.first_at.date())
        assert row["active_user_count_as_polar"] == self.expected["active_user_by_event"]
        people = {event.get("customer_id", "C") for event in self.input["events"]}
        assert row["active_user_count"] == len(people)


class DayOfOrders(Metrics):
    """A day with orders, of subscriptions that start on it or were there before."""

    area = "metrics"
    required = frozenset(("day", "orders"))
    optional = frozenset(("prior_revenue", "subscriptions"))
    compares = frozenset(
        (
            *("orders", "revenue", "cumulative_revenue", "average_order_value", "one_time_products"),
            *("one_time_products_revenue", "new_subscriptions", "new_subscriptions_revenue", "renewed_subscriptions"),
            *("renewed_subscriptions_revenue", "active_subscriptions", "monthly_recurring_revenue"),
        )
    )

    def land_business(self) -> None:
        self.day = instant(self.input["day"])
        if "prior_revenue" in self.input:
            self.charge("before", self.day - timedelta(days=200), self.input["prior_revenue"])
        for sold in self.input.get("subscriptions", []):
            terms = {"recurring_interval": sold["interval"]}
            self.subscribe(sold["id"], sold["started_at"], sold["net_amount"], **terms)
        for number, order in enumerate(self.input["orders"]):
            if "sub_started" in order:
                self.subscribe(order["subscription"], order["sub_started"], order["amount"])
            at = self.day + timedelta(hours=1, minutes=number)
            self.charge(str(number), at, order["amount"], order["subscription"])
        self.known_until(self.day + timedelta(days=1))

    def check_the_day(self, warehouse: Warehouse) -> None:
        row = self.bucket(warehouse, "day", self.day.date())
        assert {key: row[COLUMNS[key]] for key in self.expected} == self.expected


class MonthlyAmount(Metrics):
    """One subscription of some interval: what it is a month."""

    area = "metrics"
    required = frozenset(("net_amount", "recurring_interval", "recurring_interval_count"))
    compares = frozenset(("monthly_amount",))

    def land_business(self) -> None:
        terms = {name: self.input[name] for name in ("recurring_interval", "recurring_interval_count")}
        self.subscribe("S", iso(START), self.input["net_amount"], **terms)
        self.known_until(START + timedelta(days=40))

    def check_the_amount(self, warehouse: Warehouse) -> None:
        row = self.bucket(warehouse, "month", START.date())
        assert row[COLUMNS["monthly_amount"]] == self.expected["monthly_amount"]
        assert row[COLUMNS["monthly_amount"] + AS_POLAR] == self.expected["monthly_amount"]


class Converted(Metrics):
    """Subscriptions in other currencies, at the rates of the month's payments."""

    area = "metrics"
    required = frozenset(("subscriptions", "payments"))
    compares = frozenset(("monthly_recurring_revenue", "average_revenue_per_user"))

    def land_business(self) -> None:
        for number, sold in enumerate(self.input["subscriptions"]):
            self.subscribe(f"S{number}", iso(START), sold["net_amount"], currency=sold["currency"])
        for number, paid in enumerate(self.input["payments"]):
            rate = {"presentment_currency": paid["currency"], "exchange_rate": paid["exchange_rate"]}
            self.charge(str(number), START + timedelta(days=number), 100, **rate)
        self.known_until(START + timedelta(days=40))

    def check_recurring_revenue(self, warehouse: Warehouse) -> None:
        row = self.bucket(warehouse, "month", START.date())
        assert {key: row[COLUMNS[key]] for key in self.expected} == self.expected
        assert row["monthly_recurring_revenue_amount_as_polar"] == self.expected["monthly_recurring_revenue"]


class Recurring(Metrics):
    """Subscriptions that start, are on trial and end, month by month."""

    area = "metrics"
    required = frozenset(("interval", "net_amount_each", "subscriptions", "months"))
    optional = frozenset(("started_at",))
    compares = frozenset(
        (
            *("active_subscriptions", "monthly_recurring_revenue", "committed_monthly_recurring_revenue"),
            *("trial_monthly_recurring_revenue", "trial_committed_monthly_recurring_revenue"),
        )
    )

    def land_business(self) -> None:
        for sold in self.input["subscriptions"]:
            times = {name: sold[name] and iso(instant(sold[name])) for name in ("ends_at", "trial_end") if name in sold}
            started_at = sold.get("started_at") or self.input["started_at"]
            self.subscribe(sold["id"], started_at, self.input["net_amount_each"], **times)
        self.known_until(instant(f"{self.input['months'][-1]}-28"))

    def check_the_months(self, warehouse: Warehouse) -> None:
        months = [month(text) for text in self.input["months"]]
        found = {key: self.buckets(warehouse, self.input["interval"], months, key) for key in self.expected}
        assert found == self.expected


class EndOfOne(Metrics):
    """One subscription around the day it ends on."""

    area = "metrics"
    required = frozenset(("interval", "subscription", "days"))
    compares = frozenset(("active_subscriptions",))

    def land_business(self) -> None:
        sold = self.input["subscription"]
        ended_at = {"ended_at": iso(instant(sold["ended_at"])), "status": "canceled"}
        self.subscribe("S", sold["started_at"], 1000, **ended_at)
        self.known_until(instant(self.input["days"][-1]) + timedelta(days=1))

    def check_the_days(self, warehouse: Warehouse) -> None:
        days = map(day_of, self.input["days"])
        found = self.buckets(warehouse, self.input["interval"], days, "active_subscriptions")
        assert found == self.expected["active_subscriptions"]


class PerUser(Metrics):
    """Recurring revenue of some customers: one pays it all, the others' plans are free."""

    area = "metrics"
    required = frozenset(("monthly_recurring_revenue", "customers"))
    compares = frozenset(("average_revenue_per_user",))

    def land_business(self) -> None:
        for number in range(self.input["customers"]):
            self.subscribe(f"S{number}", iso(START), 0 if number else self.input["monthly_recurring_revenue"])
        self.known_until(START + timedelta(days=20))

    def check_the_average(self, warehouse: Warehouse) -> None:
        row = self.bucket(warehouse, "month", START.date())
        assert row["monthly_recurring_revenue_amount"] == self.input["monthly_recurring_revenue"]
        assert row["active_customer_count"] == self.input["customers"]
        assert row[COLUMNS["average_revenue_per_user"]] == self.expected["average_revenue_per_user"]


class Annual(Metrics):
    """A year of recurring revenue, part of which is to end."""

    area = "metrics"
    required = frozenset(("monthly_recurring_revenue", "committed_monthly_recurring_revenue"))
    compares = frozenset(("annual_recurring_revenue", "committed_annual_recurring_revenue"))

    def land_business(self) -> None:
        committed = self.input["committed_monthly_recurring_revenue"]
        self.subscribe("committed", iso(START), committed)
        ending = {"ends_at": iso(START + timedelta(days=90)), "cancel_at_period_end": True}
        self.subscribe("ending", iso(START), self.input["monthly_recurring_revenue"] - committed, **ending)
        self.known_until(START + timedelta(days=20))

    def check_the_year(self, warehouse: Warehouse) -> None:
        row = self.bucket(warehouse, "month", START.date())
        assert {key: row[COLUMNS[key]] for key in self.expected} == self.expected


class Churn(Metrics):
    """Cancellations and ends against what was active 30 days before."""

    area = "metrics"
    required = frozenset(("interval", "subscriptions", "buckets"))
    compares = frozenset(("churn_rate", "canceled_subscriptions", "churned_subscriptions"))

    def land_business(self) -> None:
        for number, sold in enumerate(self.input["subscriptions"]):
            names = {"canceled_at": "canceled_at", "end": "ends_at"}
            times = {field: iso(instant(sold[name])) for name, field in names.items() if name in sold}
            self.subscribe(f"S{number}", sold["started_at"], 1000, **times)
        self.known_until(instant(self.input["buckets"][-1]) + timedelta(days=1))

    def check_the_buckets(self, warehouse: Warehouse) -> None:
        days = [day_of(text) for text in self.input["buckets"]]
        found = {key: self.buckets(warehouse, self.input["interval"], days, key) for key in self.expected}
        assert found == self.expected


class Periods(Metrics):
    """Days one after the other, with what came in and what usage cost."""

    area = "metrics"
    required = frozenset(("periods",))
    compares = frozenset(("cost_per_user", "total", "gross_margin", "gross_margin_percentage"))

    def land_business(self) -> None:
        self.days = [START + timedelta(days=number) for number in range(len(self.input["periods"]))]
        before: Json = {}
        for number in range(self.input["periods"][0].get("active_subscriptions", 0)):
            self.subscribe(f"S{number}", iso(START - timedelta(days=10)), 0)
        for day, period in zip(self.days, self.input["periods"], strict=True):
            revenue = self.step(period, before, "revenue")
            if revenue:
                self.charge(iso(day), day + timedelta(hours=1), int(revenue))
            users = period.get("active_user_by_event", 1)
            for number in range(users):
                cost = self.step(period, before, "costs") if number == 0 else 0
                metadata = {"_cost": {"amount": str(cost), "currency": "usd"}} if cost else {"units": 1}
                whose = {"customer_id": self.organization.uuid("customer", f"S{number}" if users > 1 else "C")}
                at = day + timedelta(hours=2)
                self.organization.event(f"{iso(day)}/{number}", "call", metadata, at, **whose)
            before = period
        self.known_until(self.days[-1] + timedelta(days=1))

    @staticmethod
    def step(period: Json, before: Json, name: str) -> Decimal:
        """What a period adds, also where the case says only what there is so far."""
        if name in period:
            return Decimal(str(period[name]))
        running = f"cumulative_{name}"
        return Decimal(str(period.get(running, 0))) - Decimal(str(before.get(running, 0)))

    def column(self, warehouse: Warehouse, name: str) -> list[Any]:
        return [self.bucket(warehouse, "day", day.date())[name] for day in self.days]

    @answers("cost_per_user")
    def check_cost_per_user(self, warehouse: Warehouse) -> None:
        expected = [Decimal(str(value)) for value in self.expected["cost_per_user"]]
        assert self.column(warehouse, "cost_per_user_amount") == expected
        assert self.column(warehouse, "cost_per_user_amount" + AS_POLAR) == expected
        # Its total is Polar's own: all costs over the last number of active subscriptions.
        total = sum(self.column(warehouse, "cost_amount")) / self.column(warehouse, "active_subscription_count")[-1]
        assert total == Decimal(str(self.expected["total"]))

    @answers("gross_margin")
    def check_gross_margin(self, warehouse: Warehouse) -> None:
        found = self.column(warehouse, "gross_margin_amount")
        assert found == self.expected["gross_margin"]
        assert found[-1] == self.expected["total"]

    @answers("gross_margin_percentage")
    def check_gross_margin_ratio(self, warehouse: Warehouse) -> None:
        assert self.column(warehouse, "gross_margin_ratio") == self.expected["gross_margin_percentage"]


class Window(Metrics):
    """A window that begins in mid-month: its first month holds its own days, running sums hold all that was before."""

    area = "metrics"
    required = frozenset(("interval", "window", "orders"))
    compares = frozenset(("revenue", "cumulative_revenue"))

    def land_business(self) -> None:
        for number, order in enumerate(self.input["orders"]):
            self.charge(str(number), instant(order["t"]) + timedelta(hours=1), order["amount"])
        self.known_until(instant(self.input["window"][1]))

    def check_revenue_in_the_window(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select strftime(bucket_start_date, '%Y-%m') as month, sum(revenue_amount)::bigint as revenue, "
            "arg_max(cumulative_revenue_amount, bucket_start_date) as cumulative_revenue from revenue_metrics "
            "where organization_id = ? and bucket_type = 'day' and bucket_start_date between ? and ? group by month",
            self.organization.id,
            *self.input["window"],
        )
        for key, expected in self.expected.items():
            found = {row["month"]: row[key] for row in rows if row["month"] in expected}
            assert found == expected


class Seats(Metrics):
    """Seats of a subscription by Polar's seat webhooks, at the end of a month."""

    area = "metrics"
    required = frozenset(("month", "seats", "customers"))
    compares = frozenset(
        ("seats_total", "seats_claimed", "seats_pending", "average_seats_per_customer", "seat_utilization_rate")
    )

    def land_business(self) -> None:
        self.subscribe("S", f"{self.input['month']}-01", 1000)
        for number, seat in enumerate(self.input["seats"]):
            for state, name in (("created", "pending"), ("claimed", "claimed"), ("revoked", "revoked")):
                if seat.get(state):
                    self.land_seat(str(number), seat, name, instant(seat[state]))
        self.known_until(datetime(2024, 3, 1, tzinfo=UTC))

    def land_seat(self, number: str, seat: Json, status: str, at: datetime) -> None:
        times = {
            f"{name}_at": iso(instant(seat[name])) if seat.get(name) and instant(seat[name]) <= at else None
            for name in ("created", "claimed", "revoked")
        }
        data = {
            "id": self.organization.uuid("seat", number),
            "subscription_id": self.organization.uuid("subscription", "S"),
            "customer_id": self.organization.uuid("customer", "S"),
            "organization_id": self.organization.id,
            "status": status,
            "modified_at": iso(at),
            **times,
        }
        names = {"pending": "assigned", "claimed": "claimed", "revoked": "revoked"}
        self.organization.land({"type": f"customer_seat.{names[status]}", "timestamp": iso(at), "data": data})

    def check_the_month(self, warehouse: Warehouse) -> None:
        row = self.bucket(warehouse, "month", month(self.input["month"]))
        assert {key: row[COLUMNS[key]] for key in self.expected} == self.expected
