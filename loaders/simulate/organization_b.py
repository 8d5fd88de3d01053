"""Organization B: submitted usage and Polar's system events, no order or subscription objects: compared by total."""

from datetime import timedelta
from typing import Any

from loaders.simulate.catalog import AGENT, COMPLETION, REQUEST, TOOL, VIEW, Builder
from loaders.simulate.instants import at
from loaders.simulate.model import SUBMITTED, Chance, Change, Customer, LooseOrder, Organization, RefundPlan
from loaders.simulate.periods import subscription_periods


def organization_b(chance: Chance, scale: int) -> Organization:
    """Build the whole organization."""
    organization = Organization("b", chance.uuid("organization", "b"), has_api_objects=False)
    _StoriesB(Builder(organization, chance, scale)).tell()
    return organization


class _StoriesB:
    def __init__(self, builder: Builder) -> None:
        self.build = builder
        self.organization = builder.organization
        requests = builder.meter("Requests", REQUEST, "count")
        self.tokens = builder.meter("Tokens", COMPLETION, "sum", "_llm.total_tokens")
        self.basic = builder.product(
            "Starter", builder.fixed("Starter", 1900), builder.metered("Starter", requests, "3")
        )
        self.large = builder.product(
            "Business", builder.fixed("Business", 7900), builder.metered("Business", requests, "1.5")
        )
        self.free = builder.product("Hobby", builder.fixed("Hobby", 0), builder.metered("Hobby", requests, "0.0001"))
        self.tokened = builder.product(
            "Tokens",
            builder.fixed("Tokens", 500),
            builder.metered("Tokens", self.tokens, "0.00375", cap_amount=300),
        )

    def tell(self) -> None:
        self._plain_customers()
        self._plan_change()
        self._billed_wrongly()
        self._paid_by_balance()
        self._unexplained_orders()
        self._trial_and_ending()
        self._hierarchy()
        self._strangers()

    def _customer(self, number: int, **more: Any) -> Customer:
        return self.build.customer(number, channel=SUBMITTED, external_id=f"client-{number}", **more)

    def _plain_customers(self) -> None:
        build = self.build
        first = self._customer(1, is_team=True)
        for name in ("member-1", "member-2"):
            build.member(first, name, is_known=False)
        build.subscribe(first, self.basic, "2026-01-05T09:00")
        build.stream(first, REQUEST, "2026-01-05T10:00", 50)
        refunds = [RefundPlan(at("2026-03-08T10:00"), 300), RefundPlan(at("2026-03-19T10:00"), 250)]
        self.organization.refunds["1@2026-03-05"] = refunds
        second = self._customer(2, tax_percent=20, country="DE")
        subscription = build.subscribe(second, self.tokened, "2026-01-06T09:00")
        subscription.discount = build.discount("Launch 10%", basis_points=1000)
        build.stream(second, COMPLETION, "2026-01-06T10:00", 30)
        for period in subscription_periods(subscription):
            build.credit(second, self.tokens, 10000, period.start_at + timedelta(minutes=4))

    def _plan_change(self) -> None:
        customer = self._customer(3)
        subscription = self.build.subscribe(customer, self.basic, "2026-01-10T09:00")
        self.build.change_plan(subscription, self.large, "2026-02-24T10:00", "prorate")
        self.build.stream(customer, REQUEST, "2026-01-10T10:00", 40)

    def _billed_wrongly(self) -> None:
        """An order nobody can explain, one that never came, one too low and one too high."""
        customer = self._customer(4)
        subscription = self.build.subscribe(customer, self.basic, "2026-01-08T09:00")
        loose = LooseOrder(customer, at("2026-03-20T09:00"), 1234, self.basic, subscription)
        self.organization.loose_orders.append(loose)
        self.build.stream(customer, REQUEST, "2026-01-08T10:00", 30)
        other = self._customer(5)
        subscription = self.build.subscribe(other, self.basic, "2026-01-04T09:00")
        subscription.changes["2026-02-04"] = Change("units", -5)
        subscription.changes["2026-03-04"] = Change("missing")
        subscription.changes["2026-04-04"] = Change("units", 9)
        self.build.stream(other, REQUEST, "2026-01-04T10:00", 30)

    def _paid_by_balance(self) -> None:
        covered = self._customer(6, opening_balance=4000)
        self.build.subscribe(covered, self.basic, "2026-01-12T09:00")
        self.build.stream(covered, REQUEST, "2026-01-12T10:00", 20)
        free = self._customer(7)
        self.build.subscribe(free, self.free, "2026-01-13T09:00")

    def _unexplained_orders(self) -> None:
        """A one-time purchase, and a renewal of a subscription whose beginning no export holds."""
        customer = self._customer(10)
        setup = self.build.product("Onboarding", self.build.fixed("Onboarding", 2500), interval=None)
        self.organization.loose_orders.append(LooseOrder(customer, at("2026-02-17T15:00"), 2500, setup))
        unseen = self.build.subscribe(customer, self.basic, "2026-01-19T09:00")
        self.organization.subscriptions.remove(unseen)
        renewal = LooseOrder(customer, at("2026-03-19T09:00"), 1900, self.basic, unseen)
        self.organization.loose_orders.append(renewal)

    def _trial_and_ending(self) -> None:
        trying = self._customer(8)
        self.build.subscribe(trying, self.large, "2026-01-14T09:00", trial_ends_at=at("2026-01-28T09:00"))
        self.build.stream(trying, REQUEST, "2026-01-14T10:00", 40)
        leaving = self._customer(9)
        subscription = self.build.subscribe(leaving, self.basic, "2026-01-15T09:00")
        subscription.canceled_at, subscription.ended_at = at("2026-02-20T09:00"), at("2026-03-15T09:00")
        self.build.stream(leaving, REQUEST, "2026-01-15T10:00", 30, end="2026-02-14T00:00")

    def _hierarchy(self) -> None:
        """Children are sent before their parents; one parent never comes."""
        customer = self.organization.customers[0]
        for index in range(12):
            begun = at("2026-02-02T09:00") + timedelta(days=7 * index)
            more = {"member": customer.members[index % 2]}
            run = self.build.usage(customer, AGENT, begun, self.build.metadata(AGENT, index), **more)
            properties = self.build.metadata(COMPLETION, 6007 * index)
            step = self.build.usage(customer, COMPLETION, begun + timedelta(seconds=4), properties, parent=run)
            tool = self.build.metadata(TOOL, 3001 * index)
            self.build.usage(customer, TOOL, begun + timedelta(seconds=8), tool, parent=step)
        lost = self.build.metadata(TOOL, 77)
        self.build.usage(customer, TOOL, at("2026-03-03T03:00"), lost, lost_parent="b-event-that-never-came")

    def _strangers(self) -> None:
        for index in range(4):
            moment = at(f"2026-02-{index + 10}T20:00")
            more = {"channel": SUBMITTED, "external_customer_id": "stranger-1"}
            self.build.usage(None, REQUEST, moment, self.build.metadata(REQUEST, index), **more)
        # Sent in one file with lines that must be refused: the good ones count all the same.
        for index in range(2):
            moment = at(f"2026-04-02T12:0{index}")
            usage = self.build.usage(self.organization.customers[0], VIEW, moment, {"path": "/beside-broken"})
            self.organization.beside_broken.append(usage)
        # Two identical sends without an external id are two events: nothing says that one repeats the other.
        customer = self.organization.customers[0]
        for _ in range(2):
            self.build.usage(customer, VIEW, at("2026-04-01T12:00"), {"path": "/twice"}, external_id=None)
