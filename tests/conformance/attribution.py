"""Attribution cases about who: which customer, which subscription, which meter, which reason."""

import re
from datetime import timedelta

from tests.conformance.scenario import BILLABLE, Scenario, Warehouse, indexes
from tests.conformance.world import EARLY, START, Json, Organization, iso, with_months

COUNT: Json = {"func": "count"}
FIRST_USE = START + timedelta(days=10)


def billed_customers(warehouse: Warehouse, organization: Organization) -> list[str]:
    """Return the customer that each billable event goes to: the one whose subscription takes it."""
    rows = warehouse.rows(
        "select c.customer_id from billing_outcomes as o join subscriptions as s using (subscription_key) "
        "join customers as c on s.customer_key = c.customer_key "
        "where o.organization_id = ? and list_contains(?, o.outcome)",
        organization.id,
        list(BILLABLE),
    )
    return [row["customer_id"] for row in rows]


class Statuses(Scenario):
    """One customer per status, and usage while the subscription has it. A trial is another rule: it takes usage up."""

    area = "attribution"
    required = frozenset(("statuses",))
    compares = frozenset(("billable",))

    def land(self) -> None:
        self.meter_id = self.organization.meter(COUNT)
        price = self.organization.metered_price(self.meter_id)
        changed_at = START + timedelta(days=5)
        changed: Json = {"modified_at": iso(changed_at)}
        ended = changed | {"ended_at": iso(changed_at), "canceled_at": iso(changed_at), "ends_at": iso(changed_at)}
        fields: dict[str, Json] = {
            "incomplete": {"started_at": None},
            "trialing": {"trial_start": iso(START), "trial_end": iso(START + timedelta(days=30))},
            "active": {},
            "past_due": changed | {"past_due_at": iso(changed_at)},
            "canceled": ended,
            "unpaid": changed,
            "paused": changed | {"paused_at": iso(changed_at)},
        }
        events = {"canceled": "revoked", "unpaid": "revoked", "paused": "paused", "past_due": "past_due"}
        self.event_ids = []
        for status in self.input["statuses"]:
            state = {"recurring_interval": "month", "status": status, **fields[status]}
            customer_id = self.organization.customer(status)
            product_id = self.organization.product(status, [price], interval="month")
            subscription_id = self.organization.subscription(status, customer_id, product_id, [price], **state)
            if status in events:
                metadata = {"subscription_id": subscription_id, "product_id": product_id}
                metadata |= {f"{status}_at": iso(changed_at)} if status in ("paused", "past_due") else {}
                name = f"subscription.{events[status]}"
                self.organization.system_event(name, changed_at, customer=status, metadata=metadata)
            holder = {"customer_id": customer_id}
            self.event_ids.append(self.organization.event(status, "usage", {}, FIRST_USE, **holder))

    def check_which_statuses_take_usage_up(self, warehouse: Warehouse) -> None:
        outcomes = warehouse.outcomes(self.organization, self.meter_id)
        taken = [outcomes[event_id] in (*BILLABLE, "trial") for event_id in self.event_ids]
        assert dict(zip(self.input["statuses"], taken, strict=True)) == dict(
            zip(self.input["statuses"], self.expected["billable"], strict=True)
        )


class SeatHolder(Scenario):
    """A customer who holds a seat of another customer's subscription, as the webhook of the claimed seat shows it."""

    area = "attribution"
    required = frozenset(("owner", "seat_holder", "events"))
    compares = frozenset(("billed_customer", "entries"))

    def land(self) -> None:
        meter_id = self.organization.meter({"func": "sum", "property": "units"})
        owner, holder = self.input["owner"], self.input["seat_holder"]
        sale = self.organization.sell([self.organization.metered_price(meter_id)], customer=owner, seats=2)
        holder_id = self.organization.customer(holder)
        seat = {
            "id": self.organization.uuid("seat"),
            "organization_id": self.organization.id,
            "subscription_id": sale.subscription_id,
            "customer_id": holder_id,
            "status": "claimed",
            "claimed_at": iso(START),
        }
        # A webhook carries its organization inside.
        claimed = {"type": "customer_seat.claimed", "timestamp": iso(START), "data": seat}
        self.organization.records.append(claimed)
        for number, event in enumerate(self.input["events"]):
            at = START + timedelta(hours=number + 1)
            user = {"customer_id": self.organization.uuid("customer", event["customer"])}
            self.organization.usage(number, event["units"], at, **user)

    def check_who_is_billed(self, warehouse: Warehouse) -> None:
        payer = self.organization.uuid("customer", self.expected["billed_customer"])
        assert billed_customers(warehouse, self.organization) == [payer] * self.expected["entries"]


class ExternalCustomer(Scenario):
    """An event that names its customer, and the customers that exist, each with a subscription."""

    area = "attribution"
    required = frozenset(("event", "customers"))
    compares = frozenset(("billed_customer",))

    def land(self) -> None:
        names = [customer.get("organization", "o1") for customer in self.input["customers"]]
        self.where = self.input["event"].get("organization", "o1")
        self.meter_ids = {name: self.labelled(name).meter(COUNT) for name in {*names, self.where}}
        for name, customer in zip(names, self.input["customers"], strict=True):
            organization = self.labelled(name)
            price = organization.metered_price(self.meter_ids[name], f"of {customer['id']}")
            organization.sell([price], customer=customer["id"], external_id=customer.get("external_id"))
        event, organization = self.input["event"], self.labelled(self.where)
        holder = {"external_customer_id": event.get("external_customer_id")}
        if "customer_id" in event:
            holder = {"customer_id": organization.uuid("customer", event["customer_id"])}
        organization.event("only", "usage", {}, FIRST_USE, **holder)

    def check_who_is_billed(self, warehouse: Warehouse) -> None:
        organization, payer = self.labelled(self.where), self.expected["billed_customer"]
        expected = [] if payer is None else [organization.uuid("customer", payer)]
        assert billed_customers(warehouse, organization) == expected


class NewMeter(Scenario):
    """Usage, then a meter: what was there before it is not billed."""

    area = "attribution"
    required = frozenset(("events", "then"))
    compares = frozenset(("last_billed", "billed"))

    def land(self) -> None:
        action = re.fullmatch(r"create meter on (\S+)=(\S+)", self.input["then"])
        assert action, f"unknown action: {self.input['then']}"
        clause = {"property": action[1], "operator": "eq", "value": action[2]}
        meter_filter = {"conjunction": "and", "clauses": [clause]}
        created_at = START + timedelta(days=1)
        self.meter_id = self.organization.meter(COUNT, meter_filter=meter_filter, created_at=created_at)
        self.organization.sell([self.organization.metered_price(self.meter_id)])
        self.event_ids = [
            self.organization.event(number, name, {}, START + timedelta(minutes=number + 1))
            for number, name in enumerate(self.input["events"])
        ]

    def check_what_is_billed(self, warehouse: Warehouse) -> None:
        outcomes = warehouse.outcomes(self.organization, self.meter_id)
        billed = [event_id for event_id, outcome in outcomes.items() if outcome in BILLABLE]
        before = [event_id for event_id, outcome in outcomes.items() if outcome == "before_meter"]
        assert indexes(self.event_ids, billed) == self.expected["billed"]
        # Polar's watermark is the last event that is left behind.
        assert max(indexes(self.event_ids, before), default=None) == self.expected["last_billed"]


class Watermark(Scenario):
    """Events after the last one that counts as billed: the only watermark that records show is a new meter's."""

    area = "attribution"
    required = frozenset(("events", "last_billed"))
    compares = frozenset(("billed",))

    def land(self) -> None:
        done = self.input["last_billed"]
        created_at = EARLY if done is None else START + timedelta(minutes=done, seconds=30)
        self.meter_id = self.organization.meter(COUNT, created_at=created_at)
        self.organization.sell([self.organization.metered_price(self.meter_id)])
        self.event_ids = {
            number: self.organization.event(number, "usage", {}, START + timedelta(minutes=number))
            for number in self.input["events"]
        }

    def check_what_is_billed(self, warehouse: Warehouse) -> None:
        outcomes = warehouse.outcomes(self.organization, self.meter_id)
        billed = [number for number, event_id in self.event_ids.items() if outcomes[event_id] in BILLABLE]
        assert billed == self.expected["billed"]


class FinalUsage(Scenario):
    """A subscription canceled at its period's end: an order is owed for pending usage only."""

    area = "attribution"
    required = frozenset(("pending", "event"))
    compares = frozenset(("order",))

    def land(self) -> None:
        assert self.input["event"] == "period end with cancel_at_period_end", f"unknown event: {self.input['event']}"
        meter_id = self.organization.meter({"func": "sum", "property": "units"})
        prices = [self.organization.metered_price(meter_id), self.organization.fixed_price(1000)]
        ends_at = iso(with_months(START, 1))
        end: Json = {"status": "canceled", "canceled_at": iso(FIRST_USE), "ends_at": ends_at, "ended_at": ends_at}
        sale = self.organization.sell(prices, interval="month", modified_at=ends_at, **end)
        links = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}
        item = {"amount": 1000, "product_price_id": sale.price_ids[1]}
        self.organization.order("first", START, [item], billing_reason="subscription_create", **links)
        # A unit costs a cent, so that an entry's amount is its units.
        pending = [entry.get("amount", entry.get("units", 1)) for entry in self.input["pending"]]
        for number, units in enumerate(pending):
            self.organization.usage(number, units)
        self.owed: list[Json] = []
        if order := self.expected["order"]:
            item = {"amount": order.get("subtotal_amount", sum(pending)), "product_price_id": sale.price_ids[0]}
            reason = {"billing_reason": order.get("billing_reason", "subscription_cycle")}
            self.organization.order("final", with_months(START, 1), [item], **links, **reason)
            amounts = {"expected_static_amount": 0, "expected_metered_amount": item["amount"]}
            self.owed = [{**amounts, "status": "matched"}]

    def check_the_order_that_is_owed(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select expected_static_amount, expected_metered_amount, status from order_reconciliation "
            "where organization_id = ? and period_end_at is not null",
            self.organization.id,
        )
        assert rows == self.owed


class BillingReasons(Scenario):
    """Polar's internal reasons are in no record: each order lands with the public one and keeps it."""

    area = "attribution"
    required = frozenset(("internal",))
    compares = frozenset(("public",))

    def land(self) -> None:
        self.organization.customer()
        self.order_ids = [
            self.organization.order(str(number), START, [{"amount": 100}], billing_reason=reason)
            for number, reason in enumerate(self.expected["public"])
        ]

    def check_the_public_reasons(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select order_id, billing_reason from orders where organization_id = ?", self.organization.id
        )
        reasons = {row["order_id"]: row["billing_reason"] for row in rows}
        assert [reasons[order_id] for order_id in self.order_ids] == self.expected["public"]


class FirstOrder(Scenario):
    """The order with which a subscription of this status starts."""

    area = "attribution"
    required = frozenset(("status",))
    compares = frozenset(("order",))

    def land(self) -> None:
        trial_end = iso(START + timedelta(days=14))
        trial: Json = {"trial_start": iso(START), "trial_end": trial_end} if self.input["status"] == "trialing" else {}
        prices = [self.organization.fixed_price(1000)]
        sale = self.organization.sell(prices, interval="month", status=self.input["status"], **trial)
        order = self.expected["order"]
        items = [{"amount": order["total_amount"] if number == 0 else 0} for number in range(order["items"])]
        links = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}
        fields = {"status": order["status"], "billing_reason": order["billing_reason"]}
        self.order_id = self.organization.order("first", START, items, **links, **fields)

    def check_the_order(self, warehouse: Warehouse) -> None:
        row = warehouse.row("select * from orders where order_id = ?", self.order_id)
        order = self.expected["order"]
        assert row["is_paid"] == (order["status"] == "paid")
        assert (row["billing_reason"], row["total_amount"]) == (order["billing_reason"], order["total_amount"])
        items = warehouse.work.rows(
            "select len(items) as n from intermediate.int_orders_merged where order_id = ?", [self.order_id]
        )
        assert items == [{"n": order["items"]}]

    def check_it_is_what_was_expected(self, warehouse: Warehouse) -> None:
        row = warehouse.row("select status, cause from order_reconciliation where order_id = ?", self.order_id)
        cause = "trial" if self.input["status"] == "trialing" else "none"
        assert (row["status"], row["cause"]) == ("matched", cause)
