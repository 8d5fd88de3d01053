"""Order amount cases: what an order says lands, and what is published of it fits together."""

import re
from datetime import timedelta
from typing import Any

from tests.conformance.scenario import Scenario, Warehouse, answers
from tests.conformance.world import START, Json, instant, iso, with_months

RENEWAL = with_months(START, 1)
AMOUNTS = ("subtotal_amount", "discount_amount", "net_amount", "tax_amount", "total_amount")


class OrderScenario(Scenario):
    """Shared: reading orders."""

    def published_order(self, warehouse: Warehouse, order_id: str) -> dict[str, Any]:
        return warehouse.row("select * from orders where order_id = ?", order_id)

    def reconciled(self, warehouse: Warehouse, order_id: str) -> dict[str, Any]:
        return warehouse.row("select * from order_reconciliation where order_id = ?", order_id)


class Amounts(OrderScenario):
    """A renewal as its API object, and the same order known only by its order.paid event, which names no subtotal."""

    area = "order_amounts"
    required = frozenset(("items", "discount", "tax_behavior", "tax_amount"))
    compares = frozenset(AMOUNTS)

    def land(self) -> None:
        items, discount = self.input["items"], self.input["discount"]
        self.static = [item["amount"] for item in items if not item["proration"]]
        self.prorated = [item["amount"] for item in items if item["proration"]]
        prices = [self.organization.fixed_price(amount, str(place)) for place, amount in enumerate(self.static)]
        sale = self.organization.sell(prices or [self.organization.fixed_price(1000)], interval="month")
        links = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}
        price_ids = iter(sale.price_ids)
        lines = [item if item["proration"] else {**item, "product_price_id": next(price_ids)} for item in items]
        amounts = {name: self.expected[name] for name in AMOUNTS}
        reason = {
            # Prorations alone are invoiced at once.
            "billing_reason": "subscription_cycle" if prices else "subscription_update",
            "discount_id": self.organization.uuid("discount") if discount else None,
        }
        self.order_id = self.organization.order("object", RENEWAL, lines, **amounts, **links, **reason)
        paid = {name: amounts[name] for name in ("discount_amount", "tax_amount")}
        self.event_order_id = self.organization.paid_event("event", RENEWAL, amounts["total_amount"], **paid)

    def check_the_amounts_of_the_object(self, warehouse: Warehouse) -> None:
        order = self.published_order(warehouse, self.order_id)
        assert {name: order[name] for name in AMOUNTS} == {name: self.expected[name] for name in AMOUNTS}
        assert order["subtotal_amount"] == sum(self.static) + sum(self.prorated)

    def check_the_amounts_of_the_event(self, warehouse: Warehouse) -> None:
        # With inclusive tax the event's subtotal depends on a setting of the whole warehouse.
        names = AMOUNTS if self.input["tax_behavior"] == "exclusive" else AMOUNTS[1:]
        order = self.published_order(warehouse, self.event_order_id)
        assert {name: order[name] for name in names} == {name: self.expected[name] for name in names}

    def check_discount_tax_and_prorations_are_no_variance(self, warehouse: Warehouse) -> None:
        row = self.reconciled(warehouse, self.order_id)
        assert row["expected_static_amount"] == sum(self.static)
        assert row["proration_amount"] == sum(self.prorated)
        assert (row["status"], row["variance_amount"]) == ("matched", 0)


class DiscountedUsage(OrderScenario):
    """An order of usage, on the meter's own cycle or with a renewal, less a discount Polar applied or skipped."""

    area = "order_amounts"
    required = frozenset(("billing_reason", "items", "discount"))
    compares = frozenset(("subtotal_amount", "discount_amount", "discount_id"))

    def land(self) -> None:
        meter_id = self.organization.meter({"func": "sum", "property": "units"})
        price = self.organization.metered_price(meter_id)
        is_meter_cycle = self.input["billing_reason"] == "subscription_meter_cycle"
        product = {"meter_interval": "month", "meter_interval_count": 1} if is_meter_cycle else {}
        sale = self.organization.sell([price], product=product, interval="year" if is_meter_cycle else "month")
        lines = [{**item, "product_price_id": price["id"]} for item in self.input["items"]]
        self.organization.usage("all", sum(item["amount"] for item in lines if not item["proration"]))
        links = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}
        discount_id = self.expected.get("discount_id", self.organization.uuid("discount"))
        discount = {"discount_amount": self.expected["discount_amount"], "discount_id": discount_id}
        net = {"net_amount": self.expected["subtotal_amount"] - self.expected["discount_amount"]}
        reason = {"billing_reason": self.input["billing_reason"]}
        self.order_id = self.organization.order("cycle", RENEWAL, lines, **links, **discount, **net, **reason)

    def check_the_amounts(self, warehouse: Warehouse) -> None:
        order = self.published_order(warehouse, self.order_id)
        names = ("subtotal_amount", "discount_amount")
        assert {name: order[name] for name in names} == {name: self.expected[name] for name in names}

    @answers("discount_id")
    def check_the_discount(self, warehouse: Warehouse) -> None:
        sql = "select discount_id from intermediate.int_orders_merged where order_id = ?"
        assert warehouse.work.rows(sql, [self.order_id]) == [{"discount_id": self.expected["discount_id"]}]

    def check_the_discount_is_no_variance(self, warehouse: Warehouse) -> None:
        row = self.reconciled(warehouse, self.order_id)
        assert row["expected_metered_amount"] + row["proration_amount"] == self.expected["subtotal_amount"]
        assert (row["status"], row["variance_amount"]) == ("matched", 0)


class AppliedBalance(OrderScenario):
    """An order that a customer's balance paid in part, or that collected a debt: as an object and as an event."""

    area = "order_amounts"
    required = frozenset(("total_amount", "customer_balance"))
    compares = frozenset(("applied_balance_amount", "due_amount"))

    def land(self) -> None:
        self.organization.customer()
        total = self.input["total_amount"]
        applied = {"applied_balance_amount": self.expected["applied_balance_amount"]}
        due = {"due_amount": self.expected["due_amount"]}
        object_id = self.organization.order("object", START, [{"amount": total}], **applied, **due)
        self.order_ids = [object_id, self.organization.paid_event("event", START, total, **applied)]

    def check_what_was_applied_and_paid(self, warehouse: Warehouse) -> None:
        minimum = warehouse.row("select minimum_amount from currencies where currency = 'usd'")["minimum_amount"]
        due = self.expected["due_amount"]
        for order_id in self.order_ids:
            order = self.published_order(warehouse, order_id)
            assert order["is_paid"]
            assert order["total_amount"] == self.input["total_amount"]
            assert order["applied_balance_amount"] == self.expected["applied_balance_amount"]
            # Below the minimum nothing is charged: it becomes a debt.
            assert order["paid_amount"] == (due if due >= minimum else 0)


class Void(OrderScenario):
    """A pending order that is voided, or voided and taken back: by its object and event, and by the events alone."""

    area = "order_amounts"
    required = frozenset(("order", "customer_balance", "action"))
    compares = frozenset(("status", "event"))

    def land(self) -> None:
        self.organization.customer()
        order, action = self.input["order"], self.input["action"]
        pending = {"status": "pending", "paid": False, "applied_balance_amount": order["applied_balance_amount"]}
        object_id = self.organization.order("object", START, [{"amount": order["total_amount"]}], **pending)
        self.order_ids = [object_id, self.organization.uuid("order", "events")]
        for order_id in self.order_ids:
            for number, name in enumerate(["voided", "unvoided"] if action == "unvoid" else ["voided"]):
                metadata = {"order_id": order_id, "amount": order["total_amount"], "currency": "usd"}
                at = START + timedelta(days=number + 1)
                self.organization.system_event(f"order.{name}", at, metadata=metadata)

    def check_whether_it_is_void(self, warehouse: Warehouse) -> None:
        for order_id in self.order_ids:
            order = self.published_order(warehouse, order_id)
            assert order["is_voided"] == (self.expected.get("status", self.input["action"]) == "void")
            assert not order["is_paid"]
            assert order["paid_amount"] == 0

    @answers("event")
    def check_the_event_carries_the_total(self, warehouse: Warehouse) -> None:
        event = self.expected["event"]
        assert event["name"] == f"order.{self.input['action']}ed"
        totals = [self.published_order(warehouse, order_id)["total_amount"] for order_id in self.order_ids]
        assert totals == [event["amount"]] * 2


class FeeLater(OrderScenario):
    """An order.paid without a fee, and the balance.order that a later job wrote with it."""

    area = "order_amounts"
    required = frozenset(("sequence",))
    compares = frozenset(("order.paid.platform_fee", "balance.order.fee"))

    def land(self) -> None:
        self.organization.customer()
        booked = [
            int(found[1]) for step in self.input["sequence"] if (found := re.search(r"fee job runs: (\d+)", step))
        ]
        assert booked == [self.expected["balance.order.fee"]], "the sequence names no fee job"
        amount, fee = 10_000, {"platform_fee": self.expected["order.paid.platform_fee"]}
        self.order_id = self.organization.paid_event("O", START, amount, **fee)
        settled = {"transaction_id": self.organization.uuid("transaction"), "order_id": self.order_id, "amount": amount}
        settled |= {"currency": "usd", "presentment_amount": amount, "presentment_currency": "usd", "tax_amount": 0}
        self.organization.system_event("balance.order", START, metadata={**settled, "fee": booked[0]})

    def check_the_fee_is_the_booked_one(self, warehouse: Warehouse) -> None:
        order = self.published_order(warehouse, self.order_id)
        assert order["platform_fee_amount"] == self.expected["balance.order.fee"]


class PlanChange(OrderScenario):
    """A change of plan in mid-period: the prorations on the next renewal stand apart."""

    area = "order_amounts"
    required = frozenset(("old_amount", "new_amount", "period", "changed_at"))
    compares = frozenset(("credit", "debit"))

    def land(self) -> None:
        start, end = map(instant, self.input["period"])
        interval = "month" if end - start < timedelta(days=40) else "year"
        plans = {"old": self.input["old_amount"], "new": self.input["new_amount"]}
        prices = {name: self.organization.fixed_price(amount, name) for name, amount in plans.items()}
        products = {name: self.organization.product(name, [price], interval=interval) for name, price in prices.items()}
        customer_id, changed_at = self.organization.customer(), instant(self.input["changed_at"])
        cycle = {"started_at": iso(start), "recurring_interval": interval}
        change = {"subscription_id": self.organization.uuid("subscription", "S")}
        change |= {"old_product_id": products["old"], "new_product_id": products["new"]}
        self.organization.subscription(
            "S", customer_id, products["new"], [prices["new"]], modified_at=iso(changed_at), **cycle
        )
        self.organization.system_event("subscription.product_updated", changed_at, metadata=change)
        lines = [
            {"amount": -self.expected["credit"], "proration": True, "product_price_id": prices["old"]["id"]},
            {"amount": self.expected["debit"], "proration": True, "product_price_id": prices["new"]["id"]},
            {"amount": self.input["new_amount"], "product_price_id": prices["new"]["id"]},
        ]
        links = {"subscription_id": change["subscription_id"], "product_id": products["new"]}
        self.order_id = self.organization.order("renewal", end, lines, billing_reason="subscription_cycle", **links)

    def check_the_prorations_stand_apart(self, warehouse: Warehouse) -> None:
        row = self.reconciled(warehouse, self.order_id)
        assert row["proration_amount"] == self.expected["debit"] - self.expected["credit"]
        assert row["expected_static_amount"] == self.input["new_amount"]
        assert (row["status"], row["variance_amount"]) == ("matched", 0)


class PlanReset(OrderScenario):
    """A change of plan that starts a new period at once, at the full price."""

    area = "order_amounts"
    required = frozenset(("old_amount", "new_amount", "proration_behavior", "changed_at"))
    compares = frozenset(("credit", "debit", "new_period"))

    def land(self) -> None:
        self.new_period = [instant(boundary) for boundary in self.expected["new_period"]]
        changed_at = instant(self.input["changed_at"])
        amounts = {"old": self.input["old_amount"], "new": self.input["new_amount"]}
        prices = {name: self.organization.fixed_price(amount, name) for name, amount in amounts.items()}
        products = {name: self.organization.product(name, [price], interval="month") for name, price in prices.items()}
        customer_id = self.organization.customer()
        current = dict(zip(("current_period_start", "current_period_end"), map(iso, self.new_period), strict=True))
        cycle = {"started_at": iso(changed_at - timedelta(days=15)), "recurring_interval": "month", **current}
        self.subscription_id = self.organization.subscription(
            "S", customer_id, products["new"], [prices["new"]], modified_at=iso(changed_at), **cycle
        )
        change: Json = {"subscription_id": self.subscription_id, "product_id": products["new"]}
        behavior = {"proration_behavior": self.input["proration_behavior"]}
        self.organization.system_event("subscription.updated", changed_at, metadata=change | behavior)
        updated = {"old_product_id": products["old"], "new_product_id": products["new"]}
        metadata = {"subscription_id": self.subscription_id, **updated}
        self.organization.system_event("subscription.product_updated", changed_at, metadata=metadata)
        line = {"amount": self.expected["debit"] - self.expected["credit"], "product_price_id": prices["new"]["id"]}
        links = {"subscription_id": self.subscription_id, "product_id": products["new"]}
        reason = {"billing_reason": "subscription_update"}
        self.order_id = self.organization.order("update", changed_at, [line], **links, **reason)

    def check_a_period_starts_with_the_change(self, warehouse: Warehouse) -> None:
        row = warehouse.row(
            "select period_end_at from billing_periods where organization_id = ? and period_start_at = ?",
            self.organization.id,
            self.new_period[0].replace(tzinfo=None),
        )
        assert row["period_end_at"] == self.new_period[1].replace(tzinfo=None)

    def check_the_order_is_its_full_price(self, warehouse: Warehouse) -> None:
        order = self.published_order(warehouse, self.order_id)
        assert order["subtotal_amount"] == self.expected["debit"] - self.expected["credit"] == self.input["new_amount"]

    def check_the_order_settles_no_usage(self, warehouse: Warehouse) -> None:
        row = self.reconciled(warehouse, self.order_id)
        assert row["billing_period_key"] is None
        assert row["status"] == "matched"
