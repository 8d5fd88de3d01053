"""Small words to build an organization with: customers, products, subscriptions, and streams of usage."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from loaders.simulate.instants import LAST_USAGE_AT, at
from loaders.simulate.model import (
    API,
    EXPORT,
    Chance,
    Credit,
    Customer,
    Discount,
    Json,
    Member,
    Meter,
    Organization,
    Phase,
    Price,
    Product,
    Subscription,
    Usage,
)
from loaders.simulate.rating import Tiers

REQUEST, COMPLETION, JOB = "api.request", "llm.completion", "job.run"
SAMPLE, SESSION, AGENT, TOOL, VIEW = "connection.sample", "session.start", "agent.run", "tool.call", "page.view"


class Builder:
    """Adds to one organization; every random draw has its own label."""

    def __init__(self, organization: Organization, chance: Chance, scale: int) -> None:
        self.organization = organization
        self._chance, self._scale, self._sent = chance, scale, 0

    def uuid(self, *label: object) -> str:
        return self._chance.uuid(self.organization.key, *label)

    # --- catalog ---

    def meter(self, name: str, event_name: str, function: str, property: str | None = None, **more: Any) -> Meter:
        created_at = more.pop("created_at", self.organization.catalog_created_at)
        meter = Meter(self.uuid("meter", name), name, function, property, event_name, created_at, **more)
        self.organization.meters.append(meter)
        return meter

    def fixed(self, label: str, amount: int, currency: str = "usd") -> Price:
        return Price(
            self.uuid("price", label), currency, static_amount=amount, created_at=self.organization.catalog_created_at
        )

    def metered(self, label: str, meter: Meter, unit_amount: str, **more: Any) -> Price:
        currency, created_at = more.pop("currency", "usd"), more.pop("created_at", self.organization.catalog_created_at)
        price_id = self.uuid("price", label, meter.name)
        return Price(price_id, currency, 0, meter, unit_amount, more.pop("cap_amount", None), created_at)

    def tiered(self, label: str, meter: Meter, tiers: Tiers, cap_amount: int | None = None) -> Price:
        price = self.metered(label, meter, "0", cap_amount=cap_amount)
        price.tiers = tiers
        return price

    def seated(self, label: str, tiers: Tiers) -> Price:
        price = self.fixed(label, 0)
        price.tiers, price.seats = tiers, 1
        return price

    def custom(self, label: str) -> Price:
        price = self.fixed(label, 0)
        price.is_custom = True
        return price

    def product(self, name: str, *prices: Price, **more: Any) -> Product:
        product = Product(self.uuid("product", name), name, prices, **more)
        self.organization.products.append(product)
        return product

    def discount(self, name: str, basis_points: int | None = None, amount: int = 0) -> Discount:
        discount = Discount(self.uuid("discount", name), name, basis_points, amount)
        self.organization.discounts.append(discount)
        return discount

    # --- customers and what they buy ---

    def customer(self, number: int, created: str = "2026-01-02T08:00", **more: Any) -> Customer:
        external_id = more.pop("external_id", f"customer-{number:02}")
        customer = Customer(number, self.uuid("customer", number), external_id, at(created), **more)
        self.organization.customers.append(customer)
        return customer

    def member(self, customer: Customer, external_id: str, is_known: bool = True) -> Member:
        member_id = self.uuid("member", customer.number, external_id) if is_known else None
        member = Member(external_id, member_id)
        customer.members.append(member)
        return member

    def subscribe(self, customer: Customer, product: Product, started: str, **more: Any) -> Subscription:
        started_at = at(started)
        phase = Phase(started_at, product, more.pop("prices", product.prices))
        subscription_id = self.uuid("subscription", customer.number, product.name)
        currency = product.prices[0].currency
        subscription = Subscription(subscription_id, customer, [phase], currency, started_at, **more)
        self.organization.subscriptions.append(subscription)
        return subscription

    def change_plan(self, subscription: Subscription, product: Product, moment: str, proration: str) -> None:
        subscription.phases.append(Phase(at(moment), product, product.prices, proration))

    def change_later(self, subscription: Subscription, product: Product, requested: str, moment: datetime) -> None:
        """Asked for now, in force from the next period on."""
        subscription.phases.append(Phase(moment, product, product.prices, "next_period", at(requested)))

    def change_seats(self, subscription: Subscription, seats: int, moment: str) -> None:
        old = subscription.phases[-1]
        prices = tuple(price.for_seats(seats) if price.seats else price for price in old.prices)
        subscription.phases.append(Phase(at(moment), old.product, prices, "prorate"))

    def credit(self, customer: Customer, meter: Meter, units: int, moment: datetime, is_rollover: bool = False) -> None:
        event_id = self.uuid("credit", customer.number, meter.name, moment, units)
        received_at = moment + timedelta(seconds=1)
        self.organization.credits.append(Credit(event_id, customer, meter, units, moment, received_at, is_rollover))

    # --- usage ---

    def usage(self, customer: Customer | None, name: str, moment: datetime, metadata: Json, **more: Any) -> Usage:
        """One event. `received` is known to the warehouse only where the channel is an export."""
        self._sent += 1
        channel = customer.channel if customer else more.pop("channel", EXPORT)
        received_at = more.pop("received", None) or moment + timedelta(seconds=2 if channel == EXPORT else 0)
        external = more.pop("external_customer_id", customer.external_id if customer else None)
        external_id = f"{self.organization.key}-event-{self._sent:06}" if channel != API else None
        usage = Usage(
            event_id=self.uuid("usage", self._sent),
            customer=customer,
            external_customer_id=external,
            name=name,
            occurred_at=moment,
            received_at=received_at,
            metadata=metadata,
            channel=channel,
            **{"external_id": external_id, **more},
        )
        self.organization.usages.append(usage)
        return usage

    def stream(self, customer: Customer, name: str, start: str, monthly: int, end: str | None = None) -> list[Usage]:
        """Usage at random moments, about `monthly` a month times the scale."""
        first, last = at(start), at(end) if end else LAST_USAGE_AT
        chance = self._chance.generator(self.organization.key, "stream", customer.number, name, start)
        seconds = int((last - first).total_seconds())
        count = max(1, monthly * self._scale * seconds // (30 * 86400))
        moments = sorted(first + timedelta(milliseconds=chance.randrange(seconds * 1000)) for _ in range(count))
        made = []
        for moment in moments:
            metadata = self.metadata(name, chance.randrange(1_000_000))
            made.append(self.usage(customer, name, moment, metadata, member=self._someone(customer, moment)))
        return made

    def _someone(self, customer: Customer, moment: datetime) -> Member | None:
        if not customer.members:
            return None
        return customer.members[moment.microsecond // 1000 % len(customer.members)]

    def metadata(self, name: str, draw: int) -> Json:
        """Believable properties for an event name, all from one drawn number."""
        if name == COMPLETION:
            return self._completion(draw)
        if name == JOB:
            return {"hours": (draw % 3900 + 100) / 1000, "region": ("eu-1", "us-1", "test")[draw % 10 % 3]}
        if name == SAMPLE:
            return {"connections": draw % 90 + 5}
        if name == SESSION:
            return {"user_ref": f"user-{draw % 17:02}"}
        if name == TOOL:
            return {"tool": "search", "_cost": self._cost(Decimal(draw % 9973) / 10**7)}
        if name == AGENT:
            return {"agent": f"agent-{draw % 3}", "is_retry": draw % 7 == 0}
        return {"route": f"/v1/items/{draw % 5}", "status": 200 if draw % 11 else 503}

    def _completion(self, draw: int) -> Json:
        fresh, out = draw % 4000 + 200, draw % 900 + 20
        llm: Json = {
            "vendor": "vendor-a",
            "model": f"model-{draw % 3}",
            "input_tokens": fresh,
            "output_tokens": out,
            "total_tokens": fresh + out,
            "prompt": f"canary-prompt {draw}" if draw % 20 == 0 else None,
            "response": f"canary-response {draw}" if draw % 20 == 0 else None,
        }
        if draw % 2:
            llm["cached_input_tokens"] = fresh // 4
        cost = Decimal(fresh) * Decimal("0.00025") + Decimal(out) * Decimal("0.00125")
        return {"_llm": llm, "_cost": self._cost(cost)}

    def _cost(self, cents: Decimal) -> Json:
        return {"amount": f"{cents:.10f}", "currency": "usd"}
