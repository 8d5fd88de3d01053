"""Refund cases: what was given back of an order, by its refunds, by its events and by its own object."""

from datetime import timedelta
from typing import Any

from tests.conformance.scenario import Scenario, Warehouse
from tests.conformance.world import START, Json, iso

REFUNDED = START + timedelta(days=3)
# An order's status by its published amounts, as Polar derives it.
STATUS = """
    select refunded_amount, case
        when refunded_amount = 0 then 'paid'
        when refunded_amount >= net_amount + applied_balance_amount then 'refunded'
        else 'partially_refunded'
    end as status
    from orders where order_id = ?
"""


class RefundScenario(Scenario):
    """Shared: orders with net and tax, and what is published of their refunds."""

    def order(self, name: str, net: int, tax: int = 0, applied: int = 0, **fields: Any) -> str:
        """A paid order as the API shows it at its payment: nothing is refunded yet."""
        amounts = {"net_amount": net, "tax_amount": tax, "applied_balance_amount": applied}
        return self.organization.order(name, START, [{"amount": net}], **amounts, **fields)

    def event_order(self, name: str, net: int, tax: int = 0, applied: int = 0) -> str:
        amounts = {"net_amount": net, "tax_amount": tax, "applied_balance_amount": applied}
        return self.organization.paid_event(name, START, net + tax, **amounts)

    def refunded_event(self, order_id: str, refunded: int, number: int = 0, currency: str = "usd") -> None:
        metadata = {"order_id": order_id, "refunded_amount": refunded, "currency": currency}
        self.organization.system_event("order.refunded", REFUNDED + timedelta(days=number), metadata=metadata)

    def refunded(self, warehouse: Warehouse, order_id: str) -> dict[str, Any]:
        return warehouse.row(STATUS, order_id)

    def land(self) -> None:
        self.organization.customer()
        self.land_refunds()

    def land_refunds(self) -> None:
        raise NotImplementedError


class NetRefund(RefundScenario):
    """A refund through the API, on top of earlier ones: what is published is net, its tax is no part of it."""

    area = "refunds"
    required = frozenset(("order", "refund_amount"))
    compares = frozenset(("refund_tax_amount", "error"))

    def land_refunds(self) -> None:
        order = self.input["order"]
        terms = (order["net_amount"], order["tax_amount"], order["applied_balance_amount"])
        self.order_ids = [self.order("object", *terms), self.event_order("event", *terms)]
        self.total, tax_amount = order["refunded_amount"], self.expected.get("refund_tax_amount", 0)
        refunds = [(order["refunded_amount"], order["refunded_tax_amount"])]
        if "error" not in self.expected:
            refunds.append((self.input["refund_amount"], tax_amount))
            self.total += self.input["refund_amount"]
        so_far = 0
        for number, (amount, tax) in enumerate(refunds):
            if not amount:
                continue
            so_far += amount
            at = REFUNDED + timedelta(days=number)
            self.organization.refund(str(number), self.order_ids[0], amount, tax, at)
            self.refunded_event(self.order_ids[1], so_far, number)

    def check_what_was_refunded(self, warehouse: Warehouse) -> None:
        for order_id in self.order_ids:
            assert self.refunded(warehouse, order_id)["refunded_amount"] == self.total


class GrossRefund(RefundScenario):
    """A refund that came from the processor with its tax, as Polar split it."""

    area = "refunds"
    required = frozenset(("order", "gross_refund"))
    compares = frozenset(("amount", "tax_amount"))

    def land_refunds(self) -> None:
        order, amount, tax = self.input["order"], self.expected["amount"], self.expected["tax_amount"]
        terms = (order["net_amount"], order["tax_amount"], order["applied_balance_amount"])
        self.order_ids = [self.order("object", *terms), self.event_order("event", *terms)]
        self.organization.refund("only", self.order_ids[0], amount, tax, REFUNDED)
        self.refunded_event(self.order_ids[1], amount)

    def check_what_was_refunded(self, warehouse: Warehouse) -> None:
        for order_id in self.order_ids:
            refunded = self.refunded(warehouse, order_id)["refunded_amount"]
            assert refunded == self.expected["amount"] == self.input["gross_refund"] - self.expected["tax_amount"]


class Cumulated(RefundScenario):
    """Refunds one after another: events and the order carry sums, refund objects carry what each added."""

    area = "refunds"
    required = frozenset(("order", "gross_refunds"))
    compares = frozenset(("refunds", "order.refunded.refunded_amount", "order"))

    def land_refunds(self) -> None:
        order, self.sums = self.input["order"], self.expected["order.refunded.refunded_amount"]
        steps = [later - earlier for earlier, later in zip([0, *self.sums], self.sums, strict=False)]
        split = [
            {"amount": step, "tax_amount": gross - step}
            for step, gross in zip(steps, self.input["gross_refunds"], strict=True)
        ]
        assert self.expected.get("refunds", split) == split, "the case's sums and refunds differ"
        terms = (order["net_amount"], order["tax_amount"])
        # One order by its refunds, one by its events, one by its object as it is after them.
        self.order_ids = [self.order("refunds", *terms), self.event_order("events", *terms)]
        for number, refund in enumerate(split):
            at = REFUNDED + timedelta(days=number)
            self.organization.refund(str(number), self.order_ids[0], **refund, at=at)
            self.refunded_event(self.order_ids[1], self.sums[number], number)
        after = {"modified_at": iso(REFUNDED), **self.expected["order"]}
        self.order_ids.append(self.order("object", *terms, **after))

    def check_what_was_refunded(self, warehouse: Warehouse) -> None:
        expected = {name: self.expected["order"][name] for name in ("refunded_amount", "status")}
        assert expected["refunded_amount"] == self.sums[-1]
        for order_id in self.order_ids:
            assert self.refunded(warehouse, order_id) == expected


class Succeeding(RefundScenario):
    """A refund by its states, one order for each of them."""

    area = "refunds"
    required = frozenset(("order", "statuses", "gross_refund"))
    compares = frozenset(("refunded_amount_after", "order_refunded_events"))

    def land_refunds(self) -> None:
        order, after = self.input["order"], self.expected["refunded_amount_after"]
        net, tax, amount = order["net_amount"], order["tax_amount"], max(after)
        self.order_ids = []
        for last in range(len(after)):
            order_id = self.order(str(last), net, tax)
            self.order_ids.append(order_id)
            for number, status in enumerate(self.input["statuses"][: last + 1]):
                state = {"status": status, "modified_at": iso(REFUNDED + timedelta(hours=number))}
                gross = self.input["gross_refund"]
                self.organization.refund(str(last), order_id, amount, gross - amount, REFUNDED, **state)
        self.event_order_id = self.event_order("event", net, tax)
        for number in range(self.expected["order_refunded_events"]):
            self.refunded_event(self.event_order_id, amount, number)

    def check_what_was_refunded_in_each_state(self, warehouse: Warehouse) -> None:
        amounts = [self.refunded(warehouse, order_id)["refunded_amount"] for order_id in self.order_ids]
        assert amounts == self.expected["refunded_amount_after"]

    def check_what_the_events_say(self, warehouse: Warehouse) -> None:
        refunded = self.refunded(warehouse, self.event_order_id)["refunded_amount"]
        assert refunded == self.expected["refunded_amount_after"][-1]


class Reverted(RefundScenario):
    """A refund that succeeded and failed later: no order.refunded says so, only a reversal."""

    area = "refunds"
    required = frozenset(("order", "refund_becomes"))
    compares = frozenset(("order", "events"))

    def land_refunds(self) -> None:
        order = self.input["order"]
        net, tax, amount = order["net_amount"], order["tax_amount"], order["refunded_amount"]
        self.order_ids = [self.order("object", net, tax), self.event_order("event", net, tax)]
        for number, status in enumerate(("succeeded", self.input["refund_becomes"])):
            state = {"status": status, "modified_at": iso(REFUNDED + timedelta(days=number))}
            self.organization.refund("only", self.order_ids[0], amount, tax, REFUNDED, **state)
        self.refunded_event(self.order_ids[1], amount)
        back = {"amount": amount, "currency": "usd", "presentment_amount": amount, "presentment_currency": "usd"}
        back |= {
            "order_id": self.order_ids[1],
            "refund_id": self.organization.uuid("refund", "only"),
            "tax_amount": tax,
        }
        for name in self.expected["events"]:
            self.organization.system_event(name, REFUNDED + timedelta(days=1), metadata={**back, "fee": 0})

    def check_nothing_is_refunded(self, warehouse: Warehouse) -> None:
        expected = {name: self.expected["order"][name] for name in ("refunded_amount", "status")}
        for order_id in self.order_ids:
            assert self.refunded(warehouse, order_id) == expected


class BesideABalance(RefundScenario):
    """A refund of a customer with a balance or a debt: the order is refunded all the same."""

    area = "refunds"
    required = frozenset(("customer_balance", "refund_amount", "refund_tax_amount"))
    compares = frozenset()

    def land_refunds(self) -> None:
        self.order_id = self.order("O", self.input["refund_amount"], self.input["refund_tax_amount"])
        terms = (self.input["refund_amount"], self.input["refund_tax_amount"])
        self.organization.refund("only", self.order_id, *terms, REFUNDED)

    def check_what_was_refunded(self, warehouse: Warehouse) -> None:
        expected = {"refunded_amount": self.input["refund_amount"], "status": "refunded"}
        assert self.refunded(warehouse, self.order_id) == expected


class Movements(RefundScenario):
    """Shared: balance events, which are in the settlement's currency."""

    def move(self, name: str, order_id: str, metadata: Json) -> None:
        self.organization.system_event(name, REFUNDED, metadata={"order_id": order_id, **metadata})

    def moved(self, warehouse: Warehouse) -> list[dict[str, Any]]:
        return warehouse.work.rows(
            "select event_name as name, amount, tax_amount, presentment_amount, fee, exchange_rate "
            "from staging.stg_polar__system_events where organization_id = ? and event_name like 'balance.%' "
            "order by event_name",
            [self.organization.id],
        )


class SettledRefund(Movements):
    """A refund in one currency that was settled in another: the order's is the one it was paid in."""

    area = "refunds"
    required = frozenset(("refund", "settlement_movement"))
    compares = frozenset(("metadata",))

    def land_refunds(self) -> None:
        refund, metadata = self.input["refund"], self.expected["metadata"]
        paid = {"currency": refund["currency"], "tax_amount": refund["tax_amount"]}
        total = refund["amount"] + refund["tax_amount"]
        self.order_id = self.organization.paid_event("O", START, total, **paid)
        self.refunded_event(self.order_id, refund["amount"], currency=refund["currency"])
        settled = {"currency": "usd", "presentment_currency": refund["currency"]}
        self.move("balance.refund", self.order_id, {**metadata, **settled})

    def check_the_order_is_refunded_in_its_own_currency(self, warehouse: Warehouse) -> None:
        row = warehouse.row("select refunded_amount, currency from orders where order_id = ?", self.order_id)
        amount = -self.expected["metadata"]["presentment_amount"]
        assert row == {"refunded_amount": amount, "currency": self.input["refund"]["currency"]}

    def check_the_settlement(self, warehouse: Warehouse) -> None:
        (row,) = self.moved(warehouse)
        expected = self.expected["metadata"]
        assert {name: float(row[name]) for name in expected} == {name: float(expected[name]) for name in expected}
        assert row["amount"] + row["tax_amount"] == self.input["settlement_movement"]


class Dispute(Movements):
    """A dispute, won or lost: it moves money, and nothing of the order is refunded."""

    area = "refunds"
    required = frozenset(("dispute",))
    optional = frozenset(("exchange_rate",))
    compares = frozenset(("events", "order.refunded_amount"))

    def land_refunds(self) -> None:
        dispute = self.input["dispute"]
        self.order_id = self.event_order("O", dispute["amount"], dispute["tax_amount"])
        common = {"dispute_id": self.organization.uuid("dispute"), "currency": "usd", "presentment_currency": "usd"}
        for event in self.expected["events"]:
            tax = {"tax_amount": event.get("tax_amount", -dispute["tax_amount"]), "fee": 1500}
            amount = {"amount": event["amount"], "presentment_amount": event["amount"]}
            self.move(event["name"], self.order_id, {**common, **tax, **amount})

    def check_the_movements(self, warehouse: Warehouse) -> None:
        rows = {row["name"]: row for row in self.moved(warehouse)}
        assert set(rows) == {event["name"] for event in self.expected["events"]}
        for event in self.expected["events"]:
            assert {name: rows[event["name"]][name] for name in event} == event

    def check_nothing_is_refunded(self, warehouse: Warehouse) -> None:
        expected = self.expected.get("order.refunded_amount", 0)
        assert self.refunded(warehouse, self.order_id)["refunded_amount"] == expected
