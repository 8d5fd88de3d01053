"""An organization as its records: what a user could land of it, in the shapes of Polar's API."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

Json = dict[str, Any]

NAMESPACE = UUID("6d0a4a5e-52a1-4a5c-9f5c-3e2f4a1b7c10")
EARLY = datetime(2020, 1, 1, tzinfo=UTC)  # the catalog and the history of every organization
START = datetime(2025, 6, 1, tzinfo=UTC)  # what a case leaves undated happens from here on
EVERYTHING: Json = {"conjunction": "and", "clauses": []}


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def instant(text: str) -> datetime:
    """Return the instant that a case names, in UTC; a date is its midnight."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def stored(moment: datetime) -> datetime:
    """Return the instant as published columns hold it: UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def with_months(moment: datetime, months: int) -> datetime:
    """Return the instant so many months later; the day of the month must exist there."""
    years, month = divmod(moment.month - 1 + months, 12)
    return moment.replace(year=moment.year + years, month=month + 1)


@dataclass(frozen=True)
class Sale:
    """A subscription and what it was sold under."""

    customer_id: str
    product_id: str
    subscription_id: str
    price_ids: list[str]


class Organization:
    """Collects the records of one organization. Ids follow from names, so that a check finds what was landed."""

    def __init__(self, case_id: str, label: str = "") -> None:
        self.id = str(uuid5(NAMESPACE, f"{case_id}/{label}" if label else case_id))
        self.records: list[Json] = []

    def uuid(self, kind: str, name: object = "") -> str:
        return str(uuid5(UUID(self.id), f"{kind}/{name}"))

    def land(self, record: Json) -> None:
        self.records.append({"organization_id": self.id, **record})

    def customer(self, name: str = "C", external_id: str | None = None) -> str:
        """A customer that was there before everything else, and the event that says so."""
        customer_id = self.uuid("customer", name)
        self.land(
            {
                "id": customer_id,
                "created_at": iso(EARLY),
                "modified_at": None,
                "external_id": external_id,
                "email": f"{name.lower()}@example.com",
                "email_verified": True,
                "type": "individual",
                "name": None,
                "deleted_at": None,
            }
        )
        about = {"customer_id": customer_id, "customer_email": None, "customer_name": None}
        self.system_event(
            "customer.created", EARLY, customer=name, metadata=about | {"customer_external_id": external_id}
        )
        return customer_id

    def meter(
        self, aggregation: Json, *, name: str = "m1", meter_filter: Json = EVERYTHING, created_at: datetime = EARLY
    ) -> str:
        meter_id = self.uuid("meter", name)
        self.land(
            {
                "id": meter_id,
                "created_at": iso(created_at),
                "modified_at": None,
                "name": f"meter {name}",
                "unit": "scalar",
                "filter": meter_filter,
                "aggregation": aggregation,
                "archived_at": None,
            }
        )
        return meter_id

    def metered_price(self, meter_id: str, name: str = "metered", **terms: Any) -> Json:
        """A price on a meter: by default one cent a unit."""
        price = {"amount_type": "metered_unit", "unit_amount": "1", "cap_amount": None, "price_currency": "usd"}
        return {**price, "id": self.uuid("price", name), "created_at": iso(EARLY), "meter_id": meter_id, **terms}

    def fixed_price(self, amount: int, name: str = "fixed") -> Json:
        price = {"amount_type": "fixed", "price_amount": amount, "price_currency": "usd"}
        return {**price, "id": self.uuid("price", name), "created_at": iso(EARLY)}

    def product(self, name: str, prices: list[Json], *, interval: str | None = "year", **fields: Any) -> str:
        product_id = self.uuid("product", name)
        self.land(
            {
                "id": product_id,
                "created_at": iso(EARLY),
                "modified_at": None,
                "name": f"product {name}",
                "recurring_interval": interval,
                "recurring_interval_count": 1 if interval else None,
                "is_recurring": interval is not None,
                "is_archived": False,
                "prices": [{**price, "product_id": product_id} for price in prices],
                **fields,
            }
        )
        return product_id

    def subscription(self, name: str, customer_id: str, product_id: str, prices: list[Json], **fields: Any) -> str:
        """One version of a subscription; what is not said is that of an active one since START."""
        subscription_id = self.uuid("subscription", name)
        amount = sum(price.get("price_amount", 0) for price in prices)
        self.land(
            {
                "id": subscription_id,
                "created_at": iso(EARLY),
                "modified_at": None,
                "amount": amount,
                "currency": "usd",
                "recurring_interval": "year",
                "recurring_interval_count": 1,
                "status": "active",
                "trial_start": None,
                "trial_end": None,
                "cancel_at_period_end": False,
                "canceled_at": None,
                "started_at": iso(START),
                "ends_at": None,
                "ended_at": None,
                "customer_id": customer_id,
                "product_id": product_id,
                "prices": [{**price, "product_id": product_id} for price in prices],
                **fields,
            }
        )
        return subscription_id

    def sell(
        self,
        prices: list[Json],
        *,
        customer: str = "C",
        external_id: str | None = None,
        started_at: datetime = START,
        interval: str = "year",
        product: Json | None = None,
        **fields: Any,
    ) -> Sale:
        """A customer, a product with these prices, and the customer's subscription to it."""
        customer_id = self.customer(customer, external_id)
        product_id = self.product(customer, prices, interval=interval, **(product or {}))
        fields = {"started_at": iso(started_at), "recurring_interval": interval, **fields}
        subscription_id = self.subscription(customer, customer_id, product_id, prices, **fields)
        return Sale(customer_id, product_id, subscription_id, [price["id"] for price in prices])

    def event(self, name: object, event_name: str, metadata: Json, at: datetime, **fields: Any) -> str:
        """A usage event as Polar reads it back; by default of the customer C by id."""
        event_id = self.uuid("event", name)
        if not {"customer_id", "external_customer_id"} & set(fields):
            fields["customer_id"] = self.uuid("customer", "C")
        record = {"id": event_id, "source": "user", "name": event_name, "timestamp": iso(at), "metadata": metadata}
        self.land({**record, **fields})
        return event_id

    def usage(self, name: object, units: float, at: datetime = START + timedelta(hours=1), **fields: Any) -> str:
        return self.event(name, "usage", {"units": units}, at, **fields)

    def system_event(
        self, event_name: str, at: datetime, *, customer: str = "C", metadata: Json | None = None, **fields: Any
    ) -> str:
        event_id = self.uuid("system event", len(self.records))
        record = {"id": event_id, "source": "system", "name": event_name, "timestamp": iso(at)}
        self.land({**record, "customer_id": self.uuid("customer", customer), "metadata": metadata or {}, **fields})
        return event_id

    def order(self, name: str, created_at: datetime, items: list[Json] | None = None, **fields: Any) -> str:
        """A paid order of the customer C as the API shows it; amounts that are not said follow from its items."""
        order_id = self.uuid("order", name)
        lines = [
            {"id": self.uuid("item", f"{name}/{number}"), "label": f"line {number}", "proration": False, **item}
            for number, item in enumerate(items or [])
        ]
        subtotal = sum(line["amount"] for line in lines)
        net = fields.get("net_amount", subtotal)
        total = fields.get("total_amount", net + fields.get("tax_amount", 0))
        self.land(
            {
                "id": order_id,
                "created_at": iso(created_at),
                "modified_at": None,
                "status": "paid",
                "paid": True,
                "subtotal_amount": subtotal,
                "discount_amount": 0,
                "net_amount": net,
                "tax_amount": 0,
                "total_amount": total,
                "applied_balance_amount": 0,
                "refunded_amount": 0,
                "platform_fee_amount": 0,
                "currency": "usd",
                "billing_reason": "purchase",
                "customer_id": self.uuid("customer", "C"),
                "product_id": None,
                "discount_id": None,
                "subscription_id": None,
                "items": lines,
                **fields,
            }
        )
        return order_id

    def paid_event(self, name: str, at: datetime, amount: int, **metadata: Any) -> str:
        """The order.paid event of an order that is known by nothing else."""
        order_id = self.uuid("order", name)
        paid = {"order_id": order_id, "amount": amount, "currency": "usd", "billing_type": "one_time", **metadata}
        self.system_event("order.paid", at, metadata=paid)
        return order_id

    def refund(self, name: str, order_id: str, amount: int, tax_amount: int, at: datetime, **fields: Any) -> None:
        refund = {"id": self.uuid("refund", name), "order_id": order_id, "amount": amount, "tax_amount": tax_amount}
        state = {"status": "succeeded", "reason": "customer_request", "currency": "usd", "created_at": iso(at)}
        self.land({**refund, **state, "modified_at": None, "customer_id": self.uuid("customer", "C"), **fields})
