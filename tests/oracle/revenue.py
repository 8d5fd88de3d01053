"""A second reading of revenue, recurring revenue, churn, costs and margins (semantics, 5.4 and 7), from raw records.

It shares with the models nothing but the rules. Days begin at midnight UTC.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from tests.oracle.records import Json, instant, instant_or_none

SETTLEMENT = "usd"
INTERVALS = {"month": Fraction(1), "year": Fraction(1, 12), "week": Fraction(52, 12), "day": Fraction(365, 12)}
BUCKETS = ("day", "week", "month", "year")
FOREVER = date(9999, 12, 31)


def half_even(value: Fraction) -> int:
    return round(value)


def half_away(value: Fraction) -> int:
    whole = (abs(value) + Fraction(1, 2)).__floor__()
    return whole if value >= 0 else -whole


def bucket(kind: str, day: date) -> date:
    starts = {
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "year": day.replace(month=1, day=1),
    }
    return starts[kind]


def bucket_end(kind: str, start: date) -> date:
    if kind in ("day", "week"):
        return start + timedelta(days=1 if kind == "day" else 7)
    return bucket(kind, start + timedelta(days=32 if kind == "month" else 370))


@dataclass
class Movement:
    """What one event, or an order without events, does to an organization's money; returned money is positive."""

    booked_at: datetime
    currency: str
    customer_id: str | None
    order_id: str | None
    kind: str
    revenue: int = 0
    order_revenue: int = 0
    fee: int = 0
    refund: int = 0
    dispute: int = 0
    revenue_as_polar: int = 0
    net_as_polar: int = 0

    @property
    def net(self) -> int:
        return self.revenue - self.fee - self.refund - self.dispute


@dataclass
class Counted:
    """An order as it is counted: once, when it was paid or made."""

    order_id: str
    subscription_id: str | None
    at: datetime
    currency: str


@dataclass
class Subscription:
    subscription_id: str
    customer_id: str
    currency: str
    started_at: datetime
    trial_ends_at: datetime | None
    canceled_at: datetime | None
    end_at: datetime | None
    amounts: list[tuple[datetime, int]]

    def is_active(self, kind: str, start: date) -> bool:
        begins = bucket(kind, self.started_at.date()) <= start
        return begins and (self.end_at is None or bucket(kind, self.end_at.date()) > start)

    def is_on_trial(self, kind: str, start: date) -> bool:
        return self.trial_ends_at is not None and self.trial_ends_at.date() >= bucket_end(kind, start)

    def monthly(self, before: date) -> int:
        """The amount that held at the end of a bucket: the last one told before, else the first one told."""
        told = [amount for at, amount in self.amounts if at.date() < before]
        return told[-1] if told else self.amounts[0][1]


class Books:
    """One organization's records, and what follows from them."""

    def __init__(self, records: list[Json]) -> None:
        events = [record for record in records if "source" in record]
        self.system = [event for event in events if event["source"] == "system"]
        self.usage = [event for event in events if event["source"] == "user"]
        self.order_objects = [record for record in records if "subtotal_amount" in record]
        self.customers = {record["id"]: record for record in records if "email_verified" in record}
        self._external = {record["external_id"]: key for key, record in self.customers.items() if record["external_id"]}
        self.paid = [event for event in self.system if event["name"] == "order.paid"]
        self.charges = [event for event in self.system if event["name"] in ("balance.order", "balance.credit_order")]
        versions: dict[str, list[Json]] = defaultdict(list)
        for record in records:
            if "trial_end" in record:
                versions[record["id"]].append(record)
        self.subscriptions = [self._subscription(of_one) for of_one in versions.values()]
        self._rates = list(self._charge_rates())
        self.movements = [*self._charge_movements(), *self._returns(), *self._object_movements()]
        self.orders = list(self._orders())
        self.known_until = max(self._instants()).date()

    def _instants(self) -> Iterator[datetime]:
        yield from (instant(event["timestamp"]) for event in [*self.system, *self.usage])
        yield from (instant(order["created_at"]) for order in self.order_objects)
        for one in self.subscriptions:
            yield one.started_at
            if one.canceled_at:
                yield one.canceled_at

    # --- money ---

    @staticmethod
    def _own_rate(told: Json) -> Fraction | None:
        if told.get("exchange_rate"):
            return Fraction(told["exchange_rate"])
        if told.get("presentment_amount"):
            return Fraction(told["amount"], told["presentment_amount"])
        return None

    def _rate(self, event: Json) -> tuple[Fraction, str]:
        """The rate of a charge, and the currency it settles in."""
        told = event["metadata"]
        own = self._own_rate(told)
        if event["name"] == "balance.order":
            return Fraction(1) if own is None else own, told.get("currency", SETTLEMENT)
        if own:
            return own, SETTLEMENT
        return self._borrowed(event, told["currency"], told.get("net_amount", told["amount"]))

    def _borrowed(self, event: Json, currency: str, amount: int) -> tuple[Fraction, str]:
        known = [
            other
            for other in self.charges
            if other["name"] == "balance.order" and (self._own_rate(other["metadata"]) or 0) > 0
            if other["customer_id"] == event["customer_id"]
            and other["metadata"].get("presentment_currency", other["metadata"].get("currency")) == currency
            and instant(other["timestamp"]) < instant(event["timestamp"])
        ]
        subscription = event["metadata"].get("subscription_id")
        same = [other for other in known if subscription and other["metadata"].get("subscription_id") == subscription]
        if not known:
            return Fraction(1), SETTLEMENT if amount == 0 else currency
        latest = max(same or known, key=lambda other: instant(other["timestamp"]))
        rate = self._own_rate(latest["metadata"])
        assert rate is not None
        return rate, latest["metadata"].get("currency", SETTLEMENT)

    def _applied(self, order_id: str) -> int:
        applied = [event["metadata"].get("applied_balance_amount", 0) for event in self.paid]
        ids = [event["metadata"]["order_id"] for event in self.paid]
        found: int = dict(zip(ids, applied, strict=True)).get(order_id, 0)
        return found

    def _charge_movements(self) -> Iterator[Movement]:
        for event in self.charges:
            told = event["metadata"]
            rate, currency = self._rate(event)
            revenue = half_even(rate * told.get("net_amount", told["amount"]))
            debt = 0 if "net_amount" in told else max(0, self._applied(told["order_id"]))
            of_order = half_even(rate * (told.get("net_amount", told["amount"]) - debt))
            at, who, fee = instant(event["timestamp"]), event["customer_id"], told.get("fee", 0)
            moved = Movement(at, currency, who, told["order_id"], "charge", revenue, of_order, fee)
            if currency == SETTLEMENT:
                moved.revenue_as_polar, moved.net_as_polar = revenue, revenue - fee
            else:
                # Polar knows one currency: a rate that nobody knows is 1.
                polars = Movement(at, SETTLEMENT, None, None, "as_polar")
                polars.revenue_as_polar, polars.net_as_polar = revenue, revenue - fee
                yield polars
            yield moved

    def _returns(self) -> Iterator[Movement]:
        for event in self.system:
            what = event["name"].removeprefix("balance.").removesuffix("_reversal")
            if what not in ("refund", "dispute") or not event["name"].startswith("balance."):
                continue
            told = event["metadata"]
            booked_at = instant(told.get("order_created_at", event["timestamp"]))
            fee = told.get("fee", 0)
            moved = Movement(booked_at, SETTLEMENT, event["customer_id"], told.get("order_id"), what, fee=fee)
            setattr(moved, what, -told["amount"])
            own = self._own_rate(told)
            moved.net_as_polar = half_even((Fraction(1) if own is None else own) * told["amount"]) - fee
            yield moved

    def _object_movements(self) -> Iterator[Movement]:
        """Orders of which only the object is landed: their net amount, at a rate that an earlier charge tells."""
        known = {event["metadata"]["order_id"] for event in [*self.charges, *self.paid]}
        for order in self.order_objects:
            if order["id"] in known or not order["paid"]:
                continue
            links = {"subscription_id": order["subscription_id"]}
            like = {"customer_id": order["customer_id"], "timestamp": order["created_at"], "metadata": links}
            rate, currency = self._borrowed(like, order["currency"], order["net_amount"])
            at, who, revenue = instant(order["created_at"]), order["customer_id"], half_even(rate * order["net_amount"])
            refund = half_even(rate * order["refunded_amount"])
            if order["currency"] == SETTLEMENT:
                currency = SETTLEMENT
            moved = Movement(at, currency, who, order["id"], "object", revenue, revenue, 0, refund)
            moved.revenue_as_polar, moved.net_as_polar = revenue, revenue - refund
            fee = order["platform_fee_amount"]
            yield moved
            yield Movement(at, SETTLEMENT, who, order["id"], "fee", fee=fee, net_as_polar=-fee)

    def _orders(self) -> Iterator[Counted]:
        told: dict[str, list[Json]] = defaultdict(list)
        for event in [*self.charges, *self.paid]:
            told[event["metadata"]["order_id"]].append(event)
        for order_id, events in told.items():
            charge = next((event for event in events if event["name"] != "order.paid"), None)
            subscription = next(
                (e["metadata"]["subscription_id"] for e in events if "subscription_id" in e["metadata"]), None
            )
            at = min(instant(event["timestamp"]) for event in events)
            yield Counted(order_id, subscription, at, self._rate(charge)[1] if charge else SETTLEMENT)
        for moved in self.movements:
            if moved.kind == "object" and moved.order_id:
                order = next(order for order in self.order_objects if order["id"] == moved.order_id)
                yield Counted(moved.order_id, order["subscription_id"], moved.booked_at, moved.currency)

    def days(self) -> dict[tuple[str, date], tuple[int, ...]]:
        """By currency and day: orders, revenue, fees, refunds, disputes, net, and Polar's two figures."""
        sums: dict[tuple[str, date], list[int]] = defaultdict(lambda: [0] * 8)
        for order in self.orders:
            sums[order.currency, order.at.date()][0] += 1
        for one in self.movements:
            parts = (one.revenue, one.fee, one.refund, one.dispute, one.net, one.revenue_as_polar, one.net_as_polar)
            row = sums[one.currency, one.booked_at.date()]
            row[1:] = [total + part for total, part in zip(row[1:], parts, strict=True)]
        return {key: tuple(row) for key, row in sums.items()}

    # --- orders in buckets ---

    def order_figures(self, kind: str) -> dict[tuple[str, date], Counter[str]]:
        starts = {one.subscription_id: one.started_at.date() for one in self.subscriptions}
        figures: dict[tuple[str, date], Counter[str]] = defaultdict(Counter)
        renewed: dict[tuple[str, date], set[str]] = defaultdict(set)
        for order in self.orders:
            key = order.currency, bucket(kind, order.at.date())
            of_order = [one for one in self.movements if one.order_id == order.order_id]
            revenue = sum(one.order_revenue for one in of_order)
            net = revenue - sum(one.fee + one.refund for one in of_order if one.kind != "dispute")
            if order.subscription_id is None:
                figures[key].update(one_time_order=1, one_time_revenue=revenue, one_time_net=net)
            elif bucket(kind, starts[order.subscription_id]) == key[1]:
                figures[key].update(new_revenue=revenue, new_net=net)
            else:
                renewed[key].add(order.subscription_id)
                figures[key].update(renewed_revenue=revenue, renewed_net=net)
        for key, ids in renewed.items():
            figures[key]["renewed"] = len(ids)
        return figures

    # --- recurring revenue ---

    def _subscription(self, versions: list[Json]) -> Subscription:
        versions = sorted(versions, key=lambda version: instant(version["modified_at"] or version["created_at"]))
        last = versions[-1]
        told = [(instant(version["modified_at"] or version["created_at"]), version) for version in versions]
        told += [
            (instant(event["timestamp"]), event["metadata"])
            for event in self.system
            if event["name"].startswith("subscription.") and event["metadata"]["subscription_id"] == last["id"]
            if "amount" in event["metadata"]
        ]
        amounts = [
            (
                at,
                half_away(
                    Fraction(one["amount"], one["recurring_interval_count"]) * INTERVALS[one["recurring_interval"]]
                ),
            )
            for at, one in sorted(told, key=lambda pair: pair[0])
        ]
        return Subscription(
            subscription_id=last["id"],
            customer_id=last["customer_id"],
            currency=last["currency"],
            started_at=instant(last["started_at"]),
            trial_ends_at=instant_or_none(last["trial_end"]),
            canceled_at=instant_or_none(last["canceled_at"]),
            end_at=instant_or_none(last["ended_at"] or last["ends_at"]),
            amounts=amounts,
        )

    def _charge_rates(self) -> Iterator[tuple[str, date, Decimal]]:
        for event in self.charges:
            told, rate = event["metadata"], self._own_rate(event["metadata"])
            presented = told.get("presentment_currency", told.get("currency", SETTLEMENT))
            if event["name"] == "balance.order" and rate and presented != told.get("currency", SETTLEMENT):
                exact = Decimal(float(rate.numerator) / float(rate.denominator))
                if told.get("exchange_rate"):
                    exact = Decimal(told["exchange_rate"])
                rounded = exact.quantize(Decimal("1e-12"), ROUND_HALF_UP)
                yield presented, instant(event["timestamp"]).date(), rounded

    def settles_in(self, currency: str) -> str:
        return SETTLEMENT if any(currency == presented for presented, *_ in self._rates) else currency

    def _bucket_rate(self, currency: str, kind: str, start: date) -> Fraction:
        """The mean rate of the bucket's charges, else of the last bucket before with some, else of the first after."""
        rates: dict[date, list[Fraction]] = defaultdict(list)
        for presented, day, rate in self._rates:
            if presented == currency:
                rates[bucket(kind, day)].append(Fraction(rate))
        if not rates:
            return Fraction(1)
        before = [day for day in rates if day <= start]
        chosen = rates[max(before) if before else min(rates)]
        return sum(chosen, Fraction(0)) / len(chosen)

    def levels(self, kind: str, start: date, row_currency: str) -> dict[str, int]:
        """What is there at the end of a bucket, of subscriptions that settle in a currency."""
        mine = [one for one in self.subscriptions if self.settles_in(one.currency) == row_currency]
        active = [one for one in mine if one.is_active(kind, start)]
        ends = bucket_end(kind, start)
        money: Counter[str] = Counter()
        for currency in {one.currency for one in active}:
            rate = self._bucket_rate(currency, kind, start)
            own: Counter[str] = Counter()
            for one in active:
                if one.currency == currency:
                    name = "trial_mrr" if one.is_on_trial(kind, start) else "mrr"
                    own[name] += one.monthly(ends)
                    own[f"committed_{name}"] += one.monthly(ends) if one.end_at is None else 0
            money.update({name: half_away(amount * rate) for name, amount in own.items()})
        customers = len({one.customer_id for one in active})
        return {
            "active": len(active),
            "committed": sum(one.end_at is None for one in active),
            "trial": sum(one.is_on_trial(kind, start) for one in active),
            "customers": customers,
            **{name: money[name] for name in ("mrr", "committed_mrr", "trial_mrr", "committed_trial_mrr")},
            "arpu": half_away(Fraction(money["mrr"], customers)) if customers else 0,
            "churned": sum(one.end_at is not None and bucket(kind, one.end_at.date()) == start for one in mine),
            "canceled": sum(
                one.canceled_at is not None and bucket(kind, one.canceled_at.date()) == start for one in mine
            ),
            "new": sum(
                bucket(kind, one.started_at.date()) == start
                and (one.end_at is None or bucket(kind, one.end_at.date()) != start)
                for one in mine
            ),
        }

    def restated(self, kind: str, start: date) -> int:
        """Polar's recurring revenue: today's amounts, whatever the currency, at 1 where no rate is known."""
        total = 0
        for currency in {one.currency for one in self.subscriptions}:
            own = sum(
                one.amounts[-1][1]
                for one in self.subscriptions
                if one.currency == currency and one.is_active(kind, start) and not one.is_on_trial(kind, start)
            )
            total += half_away(own * self._bucket_rate(currency, kind, start))
        return total

    def churn(self, kind: str, start: date, row_currency: str) -> float:
        mine = [one for one in self.subscriptions if self.settles_in(one.currency) == row_currency]
        begin, end = (start, bucket_end(kind, start)) if kind == "year" else (start - timedelta(days=30), start)
        at = datetime(begin.year, begin.month, begin.day)
        base = sum(one.started_at <= at and (one.end_at is None or one.end_at > at) for one in mine)
        lost = sum(one.canceled_at is not None and begin <= one.canceled_at.date() < end for one in mine)
        return lost / base if base else 0.0

    def mrr_movements(self) -> dict[tuple[str, str, date], tuple[int, ...]]:
        """By customer, currency and month: opening, new, reactivated, expansion, contraction, churned, closing."""
        found: dict[tuple[str, str, date], tuple[int, ...]] = {}
        for customer, currency in {(one.customer_id, one.currency) for one in self.subscriptions}:
            mine = [one for one in self.subscriptions if (one.customer_id, one.currency) == (customer, currency)]
            month, before, ever = bucket("month", min(one.started_at for one in mine).date()), 0, False
            while month <= self.known_until:
                ends = bucket_end("month", month)
                counted = [one for one in mine if one.is_active("month", month) and not one.is_on_trial("month", month)]
                now = sum(one.monthly(ends) for one in counted)
                if now != before:
                    change = now - before
                    names = (
                        before == 0 and not ever,
                        before == 0 and ever,
                        before != 0 and change > 0,
                        before != 0 and now != 0 and change < 0,
                        before != 0 and now == 0,
                    )
                    found[customer, currency, month] = (before, *(change if is_it else 0 for is_it in names), now)
                before, ever, month = now, ever or now > 0, ends
        return found

    # --- costs, users, margins ---

    def customer_of(self, event: Json) -> str:
        """The customer, by either id; a stranger's own id stands for them."""
        found: str = event["customer_id"] or self._external.get(
            event["external_customer_id"], event["external_customer_id"]
        )
        return found

    @staticmethod
    def cost(event: Json) -> Decimal | None:
        told = event["metadata"].get("_cost")
        return None if told is None else Decimal(told["amount"])

    def users(self, kind: str) -> dict[date, tuple[int, int, Decimal]]:
        """By bucket: people, Polar's number of them, and what usage cost."""
        people: dict[date, set[str]] = defaultdict(set)
        polars: dict[date, set[tuple[str, str]]] = defaultdict(set)
        costs: dict[date, Decimal] = defaultdict(Decimal)
        for event in [*self.usage, *self.system]:
            start = bucket(kind, instant(event["timestamp"]).date())
            people[start].add(self.customer_of(event))
            by = "customer_id" if event["customer_id"] else "external_customer_id"
            polars[start].add((by, event[by]))
            costs[start] += self.cost(event) or Decimal(0)
        return {start: (len(people[start]), len(polars[start]), costs[start]) for start in people}

    def margins(self) -> dict[tuple[str, str, date], tuple[int, int, Decimal]]:
        """By customer, currency and month: revenue, net revenue, cost (in usd), for customers with one currency."""
        revenues: dict[tuple[str, date], dict[str, list[int]]] = defaultdict(dict)
        for one in self.movements:
            is_money = one.revenue or one.fee or one.refund or one.dispute
            if one.customer_id and one.kind != "as_polar" and is_money:
                of_month = revenues[one.customer_id, bucket("month", one.booked_at.date())]
                row = of_month.setdefault(one.currency, [0, 0])
                row[:] = [row[0] + one.revenue, row[1] + one.net]
        costs: dict[tuple[str, date], Decimal] = defaultdict(Decimal)
        for event in self.usage:
            cost = self.cost(event)
            if cost is not None:
                costs[self.customer_of(event), bucket("month", instant(event["timestamp"]).date())] += cost
        found: dict[tuple[str, str, date], tuple[int, int, Decimal]] = {}
        for key in {*revenues, *costs}:
            customer, month = key
            of_month = revenues.get(key, {})
            beside = None
            if key in costs:
                beside = SETTLEMENT if SETTLEMENT in of_month or not of_month else min(of_month)
            for currency in {*of_month, *([beside] if beside else [])}:
                revenue, net = of_month.get(currency, [0, 0])
                cost = costs[key] if currency == beside else Decimal(0)
                found[customer, currency, month] = (revenue, net, cost)
        return found


def average_up(total: int, count: int) -> int:
    return ceil(Fraction(total, count)) if count else 0


class Table:
    """The rows of metrics of one kind of bucket."""

    def __init__(self, books: Books, kind: str) -> None:
        self._books, self._kind = books, kind
        self._days, self._figures, self._users = books.days(), books.order_figures(kind), books.users(kind)

    def _sums(self, currency: str, first: date, end: date) -> list[int]:
        mine = [row for (of, day), row in self._days.items() if of == currency and first <= day < end]
        return [sum(column) for column in zip(*mine, strict=True)] if mine else [0] * 8

    def row(self, start: date, currency: str) -> dict[str, Any]:
        """What one row must say."""
        ends = bucket_end(self._kind, start)
        sums, so_far = self._sums(currency, start, ends), self._sums(currency, date.min, ends)
        figures = self._figures.get((currency, start), Counter())
        levels = self._books.levels(self._kind, start, currency)
        people, polars, cost = self._users.get(start, (0, 0, Decimal(0)))
        cost = cost if currency == SETTLEMENT else Decimal(0)
        restated = self._books.restated(self._kind, start) if currency == SETTLEMENT else 0
        return {
            "order_count": sums[0],
            "revenue_amount": sums[1],
            "fee_amount": sums[2],
            "refund_amount": sums[3],
            "dispute_amount": sums[4],
            "net_revenue_amount": sums[5],
            "revenue_amount_as_polar": sums[6],
            "net_revenue_amount_as_polar": sums[7],
            "cumulative_revenue_amount": so_far[1],
            "cumulative_net_revenue_amount": so_far[5],
            "average_order_amount": average_up(sums[1], sums[0]),
            "one_time_order_count": figures["one_time_order"],
            "one_time_revenue_amount": figures["one_time_revenue"],
            "one_time_net_revenue_amount": figures["one_time_net"],
            "new_subscription_revenue_amount": figures["new_revenue"],
            "new_subscription_net_revenue_amount": figures["new_net"],
            "renewed_subscription_count": figures["renewed"],
            "renewed_subscription_revenue_amount": figures["renewed_revenue"],
            "renewed_subscription_net_revenue_amount": figures["renewed_net"],
            "new_subscription_count": levels["new"],
            "active_subscription_count": levels["active"],
            "committed_subscription_count": levels["committed"],
            "trial_subscription_count": levels["trial"],
            "active_customer_count": levels["customers"],
            "churned_subscription_count": levels["churned"],
            "canceled_subscription_count": levels["canceled"],
            "churn_ratio": self._books.churn(self._kind, start, currency),
            "monthly_recurring_revenue_amount": levels["mrr"],
            "committed_monthly_recurring_revenue_amount": levels["committed_mrr"],
            "trial_monthly_recurring_revenue_amount": levels["trial_mrr"],
            "committed_trial_monthly_recurring_revenue_amount": levels["committed_trial_mrr"],
            "average_revenue_per_user_amount": levels["arpu"],
            "monthly_recurring_revenue_amount_as_polar": restated,
            "active_user_count": people,
            "active_user_count_as_polar": polars,
            "cost_amount": cost,
            "cash_flow_amount": sums[1] - cost,
        }
