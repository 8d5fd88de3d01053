"""Rating cases: what a quantity costs, and which order it stands on."""

from datetime import timedelta
from typing import Any

from tests.conformance.scenario import Scenario, Warehouse
from tests.conformance.world import START, Json, iso, with_months

PERIOD_END = with_months(START, 1)


class Priced(Scenario):
    """A quantity, its credits, a price, and the paid order that ends the month."""

    area = "rating"
    required = frozenset(("price",))
    optional = frozenset(("quantity", "consumed", "credited"))
    compares = frozenset(("amount", "error"))

    def land(self) -> None:
        terms = {name: value for name, value in self.input["price"].items() if name != "amount_type"}
        if "tiers" in terms:
            # Seats and units are rated by the engine that metered tiers use; of those three only usage is metered.
            terms |= {"amount_type": "metered_tiers", "unit_amount": None}
        self.meter_id = self.organization.meter({"func": "sum", "property": "units"})
        price = self.organization.metered_price(self.meter_id, **terms)
        sale = self.organization.sell([price], interval="month", currency=price["price_currency"])
        self.consumed: float = self.input["quantity" if "quantity" in self.input else "consumed"]
        self.credited = self.input.get("credited", 0)
        self.organization.usage("all", self.consumed)
        if self.credited:
            credit = {"meter_id": self.meter_id, "units": self.credited, "rollover": False}
            self.organization.system_event("meter.credited", START + timedelta(hours=2), metadata=credit)
        billed = {"amount": self.expected.get("amount", 0), "product_price_id": price["id"]}
        links = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}
        reason = {"billing_reason": "subscription_cycle", "currency": price["price_currency"]}
        self.order_id = self.organization.order("renewal", PERIOD_END, [billed], **links, **reason)

    def awaited(self, check: str, warehouse: Warehouse) -> str | None:
        rated = "select 1 from meter_usage join metered_prices using (organization_id, price_id) "
        rated += "where price_type in ('volume', 'graduated') and expected_amount is not null limit 1"
        return "tiers are not rated yet" if "tiers" in self.input["price"] and not warehouse.rows(rated) else None

    def usage(self, warehouse: Warehouse) -> dict[str, Any]:
        return warehouse.row(
            "select u.* from meter_usage as u join orders as o using (order_key) where o.order_id = ?", self.order_id
        )

    def check_the_amount(self, warehouse: Warehouse) -> None:
        usage = self.usage(warehouse)
        assert usage["consumed_units"] == self.consumed
        assert usage["credited_units"] == self.credited
        assert usage["billable_units"] == max(0, self.consumed - self.credited)
        # What Polar cannot rate has no amount.
        assert usage["expected_amount"] == self.expected.get("amount")

    def check_the_order(self, warehouse: Warehouse) -> None:
        row = warehouse.row("select * from order_reconciliation where order_id = ?", self.order_id)
        assert row["status"] == ("not_comparable" if "error" in self.expected else "matched")


class TwoPrices(Scenario):
    """Pending usage of several prices on one meter: the plan took them one by one, and kept the active."""

    area = "rating"
    required = frozenset(("aggregation", "active_prices", "pending"))
    compares = frozenset(("lines",))

    def land(self) -> None:
        active = self.input["active_prices"]
        left = [entry["price"] for entry in self.input["pending"] if entry["price"] not in active]
        names = [*dict.fromkeys(left), *active]
        # Where a plan carries several prices on a meter, its usage goes to the lowest id.
        identifiers = sorted((self.organization.uuid("price", name) for name in names), reverse=True)
        self.price_ids = dict(zip(names, identifiers, strict=True))
        self.meter_id = self.organization.meter(self.input["aggregation"])
        customer_id = self.organization.customer()
        carried: dict[str, Json] = {}
        for number, name in enumerate(names):
            terms = {"unit_amount": active.get(name, "1"), "id": self.price_ids[name]}
            carried[name] = self.organization.metered_price(self.meter_id, **terms)
            prices = [price for other, price in carried.items() if other in active or other == name]
            product_id = self.organization.product(name, prices)
            version = {"modified_at": iso(START + timedelta(days=number))}
            self.organization.subscription("S", customer_id, product_id, prices, **version)
        for number, entry in enumerate(self.input["pending"]):
            at = START + timedelta(days=names.index(entry["price"]), minutes=number + 1)
            self.organization.usage(number, entry["units"], at)

    def check_the_amount_of_each_price(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select price_id, expected_amount from meter_usage where organization_id = ? and event_count > 0",
            self.organization.id,
        )
        found = {row["price_id"]: row["expected_amount"] for row in rows}
        assert found == {self.price_ids[line["price"]]: line["amount"] for line in self.expected["lines"]}


class PendingEntries(Scenario):
    """Usage and system events that all pass the meter's filter: only usage is consumed, credits are subtracted."""

    area = "rating"
    required = frozenset(("aggregation", "pending", "unit_amount"))
    compares = frozenset(("consumed", "credited", "amount"))

    def land(self) -> None:
        self.meter_id = self.organization.meter(self.input["aggregation"])
        price = self.organization.metered_price(self.meter_id, unit_amount=self.input["unit_amount"])
        sale = self.organization.sell([price], interval="month")
        # A reset ends what is pending: the period up to it is looked at.
        pending = sorted(self.input["pending"], key=lambda entry: entry.get("name") == "meter.reset")
        for number, entry in enumerate(pending):
            at = START + timedelta(minutes=number + 1)
            if entry["source"] == "user":
                self.organization.usage(number, entry.get("units", 1), at)
                continue
            metadata = {"meter_id": self.meter_id} if entry["name"].startswith("meter.") else {}
            if entry["name"].startswith("subscription."):
                metadata, at = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}, START
            metadata |= {"units": entry["units"]} if "units" in entry else {}
            self.organization.system_event(entry["name"], at, metadata=metadata)

    def check_what_is_consumed_and_charged(self, warehouse: Warehouse) -> None:
        usage = warehouse.row(
            "select * from meter_usage where organization_id = ? and event_count > 0", self.organization.id
        )
        assert usage["consumed_units"] == self.expected["consumed"]
        assert usage["credited_units"] == self.expected["credited"]
        assert usage["expected_amount"] == self.expected["amount"]


class BelowMinimum(Scenario):
    """Usage settled on the meter's own cycle, worth less than what a card can be charged."""

    area = "rating"
    required = frozenset(("unit_amount", "consumed", "currency", "currency_minimum"))
    compares = frozenset(("order",))

    def land(self) -> None:
        currency = {"price_currency": self.input["currency"]}
        meter_id = self.organization.meter({"func": "sum", "property": "units"})
        price = self.organization.metered_price(meter_id, unit_amount=self.input["unit_amount"], **currency)
        cycle = {"product": {"meter_interval": "month", "meter_interval_count": 1}, "currency": self.input["currency"]}
        sale = self.organization.sell([price], **cycle)
        self.organization.usage("all", self.input["consumed"])
        expected = self.expected["order"]
        links = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}
        fields = {"billing_reason": expected["billing_reason"], "currency": self.input["currency"]}
        item = {"amount": expected["subtotal_amount"], "product_price_id": price["id"]}
        self.order_id = self.organization.order("meter cycle", PERIOD_END, [item], **links, **fields)

    def check_the_order(self, warehouse: Warehouse) -> None:
        row = warehouse.row(
            "select r.status, r.expected_subtotal_amount, o.billing_reason, o.is_paid, o.paid_amount "
            "from order_reconciliation as r join orders as o using (order_key) where o.order_id = ?",
            self.order_id,
        )
        assert row["expected_subtotal_amount"] == self.expected["order"]["subtotal_amount"]
        assert row["billing_reason"] == self.expected["order"]["billing_reason"]
        assert row["status"] == "matched"
        is_charged = self.expected["order"]["subtotal_amount"] >= self.input["currency_minimum"]
        assert row["paid_amount"] == (self.expected["order"]["subtotal_amount"] if is_charged else 0)
