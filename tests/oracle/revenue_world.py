"""Random businesses: a few customers each, in several currencies, with what makes revenue go wrong."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.conformance.world import Json, Organization, iso

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2024, 7, 3, tzinfo=UTC)
# Edges of days, weeks, months and years.
EDGES = [
    datetime(2024, 1, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2024, 2, 1, tzinfo=UTC),
    datetime(2024, 2, 29, 12, tzinfo=UTC),
    datetime(2024, 3, 1, tzinfo=UTC),
    datetime(2024, 3, 31, 1, 30, tzinfo=UTC),
    datetime(2024, 5, 6, tzinfo=UTC),
    datetime(2023, 12, 31, 23, 59, 59, tzinfo=UTC),
]
RATES = {"eur": (1.1, 1.0834567, 0.9), "jpy": (0.0067, 0.7), "gbp": (1.25, 2.0), "usd": (1.0,)}
INTERVALS = [("month", 1), ("month", 1), ("month", 3), ("year", 1), ("year", 2), ("week", 1), ("week", 2), ("day", 10)]


class Business(Organization):
    """One organization, drawn from a seed. Instants never tie, so that `the latest` has one meaning."""

    def __init__(self, name: str, chance: random.Random) -> None:
        super().__init__(name)
        self.chance = chance
        self.names = [f"C{number}" for number in range(chance.randrange(1, 5))]
        for customer in self.names:
            self.customer(customer, f"ext-{customer}" if chance.random() < 0.6 else None)
        self.product_id = self.product("P", [], interval="month")
        self.home_currencies = chance.choice((["usd"], ["usd"], ["eur"], ["usd", "eur"], ["jpy", "gbp", "eur"]))
        self.sold: list[tuple[str, str, str]] = []
        for number in range(chance.randrange(0, 6)):
            self.sell_one(f"S{number}")
        for number in range(chance.randrange(2, 14)):
            self.order_one(f"O{number}")
        for number in range(chance.randrange(0, 30)):
            self.use(number)
        # Nothing is known of what comes after the last record.
        self.system_event("customer.updated", self.some_time(END, END + timedelta(days=2)), customer=self.names[0])

    def some_time(self, first: datetime = BEGIN, last: datetime = END) -> datetime:
        edges = [edge for edge in EDGES if first <= edge < last]
        if edges and self.chance.random() < 0.25:
            return self.chance.choice(edges) + timedelta(microseconds=self.chance.randrange(0, 3))
        return first + (last - first) * self.chance.random()

    def sell_one(self, name: str) -> None:
        """A subscription by its versions, perhaps with events, trials, ends and changes of price."""
        customer, currency = self.chance.choice(self.names), self.chance.choice(self.home_currencies)
        interval, count = self.chance.choice(INTERVALS)
        started_at = self.some_time(BEGIN - timedelta(days=40), END - timedelta(days=20))
        terms: Json = {"recurring_interval": interval, "recurring_interval_count": count, "currency": currency}
        terms |= {"created_at": iso(started_at), "started_at": iso(started_at)}
        if self.chance.random() < 0.3:
            terms["trial_end"] = iso(started_at + timedelta(days=self.chance.choice((1, 14, 30, 61))))
        amount = self.chance.choice((0, 999, 1000, 2500, 12000))
        ending: Json = {}
        if self.chance.random() < 0.4:
            end_at = self.some_time(started_at, END + timedelta(days=40))
            canceled_at = min(self.some_time(started_at, end_at), END)
            is_over = end_at < END
            ending = {"canceled_at": iso(canceled_at), "ends_at": iso(end_at), "cancel_at_period_end": True}
            ending |= {"ended_at": iso(end_at), "status": "canceled"} if is_over else {}
        customer_id = self.uuid("customer", customer)
        if self.chance.random() < 0.5:
            told = {"subscription_id": self.uuid("subscription", name), "product_id": self.product_id, "amount": amount}
            told |= {
                key: terms[key] for key in ("currency", "recurring_interval", "recurring_interval_count", "started_at")
            }
            self.system_event("subscription.created", started_at, customer=customer, metadata=told)
        versions = self.chance.randrange(1, 4)
        changed_at = started_at
        for version in range(versions):
            modified_at = changed_at + timedelta(seconds=1)
            is_last = version == versions - 1
            fields = {**terms, "modified_at": iso(modified_at), **(ending if is_last else {})}
            self.subscription(name, customer_id, self.product_id, [], amount=amount, **fields)
            amount = self.chance.choice((amount, amount + 500, max(0, amount - 700), 0))
            changed_at = self.some_time(modified_at, END)
        self.sold.append((name, customer, currency))

    def order_one(self, name: str) -> None:
        """An order by its events or its object, and what came back of it."""
        links: Json = {}
        customer, currency = self.chance.choice(self.names), self.chance.choice([*self.home_currencies, "usd"])
        if self.sold and self.chance.random() < 0.6:
            subscription, customer, currency = self.chance.choice(self.sold)
            links = {"subscription_id": self.uuid("subscription", subscription)}
        created_at = self.some_time()
        net, tax = self.chance.choice((0, 1, 333, 1000, 2501, -400)), self.chance.choice((0, 0, 57))
        told = {"order_id": self.uuid("order", name), **links}
        shape = self.chance.choice(("charge", "charge", "charge", "credit", "paid only", "object"))
        if shape == "object":
            self.object_only(name, customer, currency, created_at, max(0, net), links)
            return
        if self.chance.random() < 0.8 or shape == "paid only":
            paid = {"amount": net + tax, "net_amount": net, "tax_amount": tax, "currency": currency}
            paid |= {"applied_balance_amount": self.chance.choice((0, 0, -100, 250)), "billing_type": "recurring"}
            at = created_at + timedelta(minutes=2) + timedelta(days=self.chance.choice((0, 0, 9)))
            self.system_event("order.paid", at, customer=customer, metadata={**told, **paid})
        if shape == "paid only":
            return
        rate = self.chance.choice(RATES[currency])
        booked = self.credit(currency, net, rate) if shape == "credit" else self.charge(currency, net, rate)
        event = {"charge": "balance.order", "credit": "balance.credit_order"}[shape]
        self.system_event(event, created_at, customer=customer, metadata={**told, "tax_amount": tax, **booked})
        for what in ("refund", "dispute"):
            if shape == "charge" and self.chance.random() < 0.25:
                self.take_back(what, customer, currency, created_at, net, rate, told)

    def charge(self, currency: str, net: int, rate: float) -> Json:
        presented = net + self.chance.choice((0, 0, -30))
        told: Json = {"amount": round(presented * rate), "currency": "usd", "fee": self.chance.choice((0, 55, 105))}
        told |= {"presentment_amount": presented, "presentment_currency": currency}
        if self.chance.random() < 0.8:
            told["net_amount"] = net
        if self.chance.random() < 0.7:
            told["exchange_rate"] = self.chance.choice((rate, rate, rate, 0))
        return told

    def credit(self, currency: str, net: int, rate: float) -> Json:
        told: Json = {"amount": net, "currency": currency, "fee": 0}
        if self.chance.random() < 0.4:
            told["exchange_rate"] = rate
        return told

    def take_back(
        self, what: str, customer: str, currency: str, created_at: datetime, net: int, rate: float, told: Json
    ) -> None:
        part = -max(1, abs(net) // self.chance.choice((1, 2)))
        at = created_at + timedelta(days=self.chance.choice((1, 20, 45)), seconds=self.chance.randrange(60))
        money = {"amount": round(part * rate), "currency": "usd", "presentment_amount": part}
        money |= {"presentment_currency": currency, "tax_amount": 0, f"{what}_id": self.uuid(what, created_at)}
        fee = 1500 if what == "dispute" else 0
        money |= {"fee": fee} | ({"exchange_rate": rate} if self.chance.random() < 0.7 else {})
        dated = {"order_created_at": iso(created_at)} if what == "refund" and self.chance.random() < 0.7 else {}
        self.system_event(f"balance.{what}", at, customer=customer, metadata={**told, **money, **dated})
        if self.chance.random() < 0.4:
            back = {"amount": -money["amount"], "presentment_amount": -part}
            later = at + timedelta(hours=30)
            metadata = {**told, **money, **back, **dated}
            self.system_event(f"balance.{what}_reversal", later, customer=customer, metadata=metadata)

    def object_only(self, name: str, customer: str, currency: str, created_at: datetime, net: int, links: Json) -> None:
        about = {"customer_id": self.uuid("customer", customer), "currency": currency, **links}
        fee = {"platform_fee_amount": self.chance.choice((0, 60)), "platform_fee_currency": "usd"}
        refunded = {"refunded_amount": self.chance.choice((0, net // 2)), "modified_at": iso(created_at)}
        self.order(name, created_at, [{"amount": net}], **about, **fee, **refunded)

    def use(self, number: int) -> None:
        customer = self.chance.choice(self.names)
        cost = self.chance.choice((None, "0.000001", "1.25", "900", "-3.5"))
        metadata: Json = {"units": 1} if cost is None else {"_cost": {"amount": cost, "currency": "usd"}}
        whose: Json = {"customer_id": self.uuid("customer", customer), "external_customer_id": None}
        if self.chance.random() < 0.5:
            whose = {"customer_id": None, "external_customer_id": self.chance.choice((f"ext-{customer}", "stranger"))}
        self.event(number, self.chance.choice(("call", "chat")), metadata, self.some_time(), **whose)

    def earn_in_one_currency_and_cost_in_another(self) -> None:
        """What a draw may leave out: a month of one customer with revenue in euros at no rate and costs in dollars."""
        customer_id, at = self.customer("both"), BEGIN + timedelta(days=10, seconds=17)
        order = {"order_id": self.uuid("order", "both"), "amount": 700, "currency": "eur", "tax_amount": 0, "fee": 0}
        self.system_event("balance.credit_order", at, customer="both", metadata=order)
        cost = {"_cost": {"amount": "12.5", "currency": "usd"}}
        self.event("both", "call", cost, at + timedelta(seconds=1), customer_id=customer_id)


class Businesses:
    """Many of them in one landing."""

    as_of = END + timedelta(days=3)

    def __init__(self, seed: int, count: int = 40) -> None:
        chance = random.Random(seed)
        self.businesses = [Business(f"{seed}/{number}", chance) for number in range(count)]
        self.businesses[0].earn_in_one_currency_and_cost_in_another()

    def write(self, path: Path) -> None:
        lines = (json.dumps(record) for business in self.businesses for record in business.records)
        path.write_text("".join(f"{line}\n" for line in lines))
