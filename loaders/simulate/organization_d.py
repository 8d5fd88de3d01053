"""Organization D: the rarer rules. Tiers, seats, late usage, and orders that nothing known can be compared with."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from loaders.simulate.catalog import JOB, REQUEST, SAMPLE, TOOL, VIEW, Builder
from loaders.simulate.instants import at
from loaders.simulate.model import Chance, Change, Customer, LooseOrder, Organization, Price, Product, Subscription
from loaders.simulate.periods import subscription_periods, usage_periods
from loaders.simulate.rating import Tiers

# A year earlier than the others, so that a yearly renewal is in sight.
BEGINS_AT = "2025-02-03T08:00"


def organization_d(chance: Chance, scale: int) -> Organization:
    """Build the whole organization."""
    organization = Organization(
        "d",
        chance.uuid("organization", "d"),
        has_api_objects=True,
        settlement_rates={"usd": Decimal(1), "eur": Decimal("1.1")},
        catalog_created_at=at(BEGINS_AT),
        exports_start_at=at(BEGINS_AT),
        coverage_starts_at=at(BEGINS_AT),
    )
    _StoriesD(Builder(organization, chance, scale)).tell()
    return organization


class _StoriesD:
    def __init__(self, builder: Builder) -> None:
        self.build = builder
        self.organization = builder.organization
        self.calls = builder.meter("Calls", REQUEST, "count")
        self.hours = builder.meter("Hours", JOB, "sum", "hours")
        self.tools = builder.meter("Tool calls", TOOL, "count")
        self.mean = builder.meter("Mean connections", SAMPLE, "avg", "connections")
        self.least = builder.meter("Least connections", SAMPLE, "min", "connections")
        self.flat = self._product("Flat", 2000, "5")
        self.large = self._product("Large", 5000, "2")
        self.annual = self._product("Annual", 60000, "2.5", interval="year", meter_interval="month")

    def _product(self, name: str, amount: int, unit_amount: str, **more: Any) -> Product:
        prices = (self.build.fixed(name, amount), self.build.metered(name, self.calls, unit_amount))
        return self.build.product(name, *prices, **more)

    def tell(self) -> None:
        self._yearly()
        self._tiers()
        self._beyond_the_last_tier()
        self._levels()
        self._late_usage()
        self._revocations()
        self._unknown_price()
        self._other_currency()
        self._seats()
        self._change_for_the_next_period()
        self._fully_discounted()
        self._paused_for_good()
        self._charged_twice()
        self._rollover()
        self._orders_that_never_came()
        self._trial_not_kept()
        self._known_by_events_only()
        self._own_amount()
        self._archived_meter()

    def _customer(self, number: int, **more: Any) -> Customer:
        return self.build.customer(number, external_id=f"account-{number:02}", **more)

    def _subscriber(self, number: int, product: Product, started: str, monthly: int, **more: Any) -> Subscription:
        """A customer with calls from the start to the end of the world, or `until`."""
        until = more.pop("until", None)
        subscription = self.build.subscribe(self._customer(number), product, started, **more)
        self.build.stream(subscription.customer, REQUEST, started, monthly, end=until)
        return subscription

    def _hide_orders(self, customer: Customer) -> None:
        """Only events tell of them, as in organization B."""
        self.organization.without_order_objects.append(customer)

    def _burst(self, customer: Customer, name: str, first: str, count: int, received: str | None = None) -> None:
        for index in range(count):
            moment = at(first) + timedelta(minutes=index)
            more = {"received": at(received) + timedelta(seconds=index)} if received else {}
            self.build.usage(customer, name, moment, self.build.metadata(name, index), **more)

    def _yearly(self) -> None:
        """Usage is settled monthly; the renewal of February 2026, with or without lines, has no usage in it."""
        for number, started in ((1, "2025-02-10T09:00"), (19, "2025-02-12T09:00")):
            customer = self._customer(number, created=BEGINS_AT)
            subscription = self.build.subscribe(customer, self.annual, started)
            for period in usage_periods(subscription):
                self._burst(customer, REQUEST, f"{period.start_at:%Y-%m}-20T12:00", 3)
        self._hide_orders(customer)

    def _tiers(self) -> None:
        """Fractional units over graduated rates, split over members; and a volume whose burst meets the cap."""
        build = self.build
        graduated = Tiers("graduated", ((10, "50"), (20, "33.3333"), (None, "12.5")))
        prices: list[Price] = [build.fixed("Graduated", 1500), build.tiered("Graduated", self.hours, graduated)]
        team = self._customer(2, is_team=True)
        for name in ("member-1", "member-2"):
            build.member(team, name)
        build.subscribe(team, build.product("Graduated", *prices), "2026-01-06T08:00")
        build.stream(team, JOB, "2026-01-06T09:00", 12)
        volume = Tiers("volume", ((20, "40"), (60, "30"), (None, "25.5")))
        prices = [build.fixed("Volume", 1000), build.tiered("Volume", self.calls, volume, cap_amount=1000)]
        product = build.product("Volume", *prices)
        heavy = self._subscriber(3, product, "2026-01-07T08:00", 25)
        self._burst(heavy.customer, REQUEST, "2026-03-15T12:00", 45)

    def _beyond_the_last_tier(self) -> None:
        """30 calls are the last tier's bound and 31 have no rate; of 25 tool calls the graduated tiers cover 20."""
        build = self.build
        volume = Tiers("volume", ((10, "20"), (30, "14.95")))
        graduated = Tiers("graduated", ((10, "3"), (20, "2.25")))
        prices = (build.tiered("Bounded", self.calls, volume), build.tiered("Bounded", self.tools, graduated))
        customer = self._customer(4)
        build.subscribe(customer, build.product("Bounded", build.fixed("Bounded", 700), *prices), "2026-02-05T08:00")
        self._burst(customer, REQUEST, "2026-02-10T12:00", 30)
        self._burst(customer, TOOL, "2026-02-11T12:00", 25)
        self._burst(customer, REQUEST, "2026-03-10T12:00", 31)
        self._burst(customer, TOOL, "2026-03-11T12:00", 9)

    def _levels(self) -> None:
        """Two meters that cannot be added up: an average and a minimum."""
        build = self.build
        prices = (build.metered("Levels", self.mean, "12.5"), build.metered("Levels", self.least, "40"))
        customer = self._customer(5)
        build.subscribe(customer, build.product("Levels", build.fixed("Levels", 500), *prices), "2026-01-09T08:00")
        build.stream(customer, SAMPLE, "2026-01-09T09:00", 10)

    def _late_usage(self) -> None:
        """Twelve calls of February came in March, and both orders went by when calls occurred."""
        subscription = self._subscriber(6, self.flat, "2026-01-08T09:00", 6)
        self._burst(subscription.customer, REQUEST, "2026-02-20T12:00", 12, received="2026-03-12T12:00")
        for date in ("2026-03-08", "2026-04-08"):
            subscription.changes[date] = Change("by_occurrence")

    def _revocations(self) -> None:
        """With a meter cycle a revocation settles what is pending; once that order never came."""
        for number in (7, 8):
            subscription = self._subscriber(number, self.annual, "2026-01-15T12:00", 8, until="2026-03-14T00:00")
            subscription.canceled_at = subscription.ended_at = at("2026-03-20T15:00")
            subscription.ending = "revoked"
            self._burst(subscription.customer, REQUEST, "2026-03-17T12:00", 4)
            if number == 7:
                subscription.changes["2026-03-20"] = Change("missing")

    def _unknown_price(self) -> None:
        """Neither the product nor the subscription is landed: only events and orders speak of them."""
        legacy = self._product("Legacy", 1200, "3", is_landed=False)
        self._subscriber(9, legacy, "2026-01-20T09:00", 6)

    def _other_currency(self) -> None:
        subscription = self._subscriber(10, self.flat, "2026-02-03T10:00", 6)
        subscription.changes["2026-03-03"] = Change("euro")

    def _seats(self) -> None:
        """More seats in mid-period, with the order's lines and without; and seats at a discount."""
        build = self.build
        seat = build.seated("Seats", Tiers("volume", ((4, "900"), (None, "800"))))
        product = build.product("Seats", seat, build.metered("Seats", self.calls, "1"))
        stories = ((11, 3, "2026-01-12T08:00"), (12, 2, "2026-01-13T08:00"), (13, 4, "2026-01-14T08:00"))
        made = [
            self._subscriber(number, product, started, 5, prices=(seat.for_seats(seats), product.prices[1]))
            for number, seats, started in stories
        ]
        build.change_seats(made[0], 5, "2026-02-20T20:00")
        build.change_seats(made[1], 6, "2026-03-02T08:00")
        self._hide_orders(made[1].customer)
        made[2].discount = build.discount("Seats 10%", basis_points=1000)

    def _change_for_the_next_period(self) -> None:
        """Asked for in February, in force from 16 March: nothing is prorated, so the total alone can be compared."""
        subscription = self._subscriber(14, self.flat, "2026-01-16T09:00", 8)
        self.build.change_later(subscription, self.large, "2026-02-25T12:00", at("2026-03-16T09:00"))
        self._hide_orders(subscription.customer)

    def _fully_discounted(self) -> None:
        subscription = self._subscriber(15, self.flat, "2026-01-17T09:00", 5)
        subscription.discount = self.build.discount("Sponsored", basis_points=10000)

    def _paused_for_good(self) -> None:
        """The period that ended with the pause waits for an order until the subscription resumes."""
        subscription = self._subscriber(16, self.flat, "2026-01-18T09:00", 8)
        subscription.pauses.append((at("2026-04-05T09:00"), at("2026-09-01T09:00")))

    def _charged_twice(self) -> None:
        subscription = self._subscriber(17, self.flat, "2026-01-22T09:00", 5)
        again = LooseOrder(subscription.customer, at("2026-03-27T09:00"), 2000, self.flat, subscription)
        self.organization.loose_orders.append(again)

    def _rollover(self) -> None:
        """10 units a month that lapse and 6 that stay: 9 of 16 are used in February, so 6 roll over; in March none."""
        customer = self._customer(18)
        subscription = self.build.subscribe(customer, self._product("Rolling", 1000, "4"), "2026-02-11T10:00")
        for number, period in enumerate(subscription_periods(subscription)):
            if number == 1:
                self.build.credit(customer, self.calls, 6, period.start_at, is_rollover=True)
            self.build.credit(customer, self.calls, 10, period.start_at + timedelta(minutes=4))
            self.build.credit(customer, self.calls, 6, period.start_at + timedelta(minutes=5), is_rollover=True)
        for first, count in (("2026-02-20T12:00", 9), ("2026-03-20T12:00", 30), ("2026-04-20T12:00", 5)):
            self._burst(customer, REQUEST, first, count)

    def _orders_that_never_came(self) -> None:
        """The checkout's order, and the final one of a subscription that was canceled at its period's end."""
        first = self._subscriber(20, self.flat, "2026-02-12T09:00", 4)
        first.changes["first"] = Change("missing")
        leaving = self._subscriber(21, self.flat, "2026-01-13T09:00", 6, until="2026-03-13T09:00")
        leaving.canceled_at, leaving.ended_at = at("2026-02-27T09:00"), at("2026-03-13T09:00")
        leaving.changes["2026-03-13"] = Change("missing")
        self._burst(leaving.customer, REQUEST, "2026-03-01T12:00", 3)

    def _trial_not_kept(self) -> None:
        """Canceled before it cost anything: the zero order stays the only one."""
        ends_at = at("2026-02-27T09:00")
        trying = self._subscriber(22, self.flat, "2026-02-13T09:00", 8, trial_ends_at=ends_at, until="2026-03-05T09:00")
        trying.canceled_at, trying.ended_at = at("2026-02-20T09:00"), ends_at

    def _known_by_events_only(self) -> None:
        """A plan change invoiced at once, and a pause: what events say of orders is enough for all but the invoice."""
        changed = self._subscriber(23, self.flat, "2026-01-19T09:00", 6)
        self.build.change_plan(changed, self.large, "2026-03-25T12:00", "invoice")
        paused = self._subscriber(24, self.flat, "2026-01-21T09:00", 6)
        paused.pauses.append((at("2026-02-26T09:00"), at("2026-03-17T09:00")))
        for subscription in (changed, paused):
            self._hide_orders(subscription.customer)

    def _own_amount(self) -> None:
        """Pay what you want: the amount is the subscription's own."""
        build = self.build
        price, metered = build.custom("Patron"), build.metered("Patron", self.calls, "3")
        product = build.product("Patron", price, metered)
        self._subscriber(25, product, "2026-01-23T09:00", 4, prices=(replace(price, static_amount=1700), metered))

    def _archived_meter(self) -> None:
        """Nothing prices it; after its archiving it takes no event any more."""
        self.build.meter("Views", VIEW, "count", archived_at=at("2026-03-01T00:00"))
        for first in ("2026-02-25T12:00", "2026-03-03T12:00"):
            self._burst(self.organization.customers[0], VIEW, first, 3)
