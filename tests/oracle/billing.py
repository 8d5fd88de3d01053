"""From events to lines: routes, outcomes, meter_usage and member_allocations (semantics, 6; contract, section 4)."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from tests.oracle.aggregations import is_countable, is_summable, quantity, units_of
from tests.oracle.attribution import Attribution, existed_at_receipt
from tests.oracle.credits import is_credit, running_sum
from tests.oracle.filters import passes
from tests.oracle.rating import billable, rate
from tests.oracle.records import Event, Meter, Order, Organization, Price
from tests.oracle.subscriptions import Period, Subscription

Member = tuple[str | None, str | None] | None


@dataclass(frozen=True)
class Outcome:
    """One row of billing_outcomes."""

    event: Event
    meter: Meter | None
    outcome: str
    units: Fraction | None = None
    subscription: Subscription | None = None
    price: Price | None = None
    period: Period | None = None


class Members:
    """The members that events name: by both ids, or by one of them; a pair seen once says whose an external id is."""

    def __init__(self, events: list[Event], attribution: Attribution) -> None:
        self._pairs: dict[tuple[str, str | None], Member] = {}
        for event in events:
            customer = attribution.customer_of(event)
            if customer is not None and event.member is not None and None not in event.member:
                self._pairs[customer.customer_id, event.member[1]] = event.member

    def of(self, customer_id: str, event: Event) -> Member:
        if event.member is None or event.member[0] is not None:
            return event.member
        return self._pairs.get((customer_id, event.member[1]), event.member)


@dataclass
class Line:
    """One row of meter_usage."""

    subscription: Subscription
    meter: Meter
    price: Price
    period: Period
    events: list[Event] = field(default_factory=list)
    credits: list[Event] = field(default_factory=list)

    @property
    def consumed(self) -> Fraction:
        return quantity(self.events, self.meter)

    @property
    def credited(self) -> int:
        """The running sum in the order of receipt; of one instant, in the order of ids (semantics, 6.2)."""
        ordered = sorted(self.credits, key=lambda event: (event.received_at, event.event_id))
        return running_sum(event.metadata["units"] for event in ordered)

    @property
    def billable(self) -> float:
        return billable(self.consumed, self.credited)

    @property
    def amount(self) -> tuple[int | None, bool]:
        return rate(self.price, self.billable)

    def units_by_member(self, members: "Members") -> dict[Member, Fraction]:
        shares: dict[Member, list[Event]] = defaultdict(list)
        for event in self.events:
            shares[members.of(self.subscription.customer_id, event)].append(event)
        return {member: quantity(events, self.meter) for member, events in shares.items()}


class Billing:
    """Everything that is billed of one organization, as of an instant."""

    def __init__(self, organization: Organization, as_of: datetime) -> None:
        self.organization, self.as_of = organization, as_of
        self.horizon = max([as_of, *(event.received_at for event in organization.events)])
        found = [Subscription(records, organization) for records in organization.subscriptions.values()]
        self.subscriptions = sorted(found, key=lambda subscription: subscription.started_at)
        self._attribution = Attribution(organization)
        self.members = Members(organization.events, self._attribution)
        self._settled = self._settled_periods()
        self.outcomes = [outcome for event in organization.events for outcome in self._outcomes(event)]
        self.lines = self._lines()

    # --- outcomes ---

    def _outcomes(self, event: Event) -> list[Outcome]:
        """One row for each meter that takes the event, or one that says that none does."""
        if event.source != "user":
            return []
        found = [
            self._outcome(event, meter)
            for meter in self.organization.meters
            if (meter.archived_at is None or event.received_at < meter.archived_at) and passes(event, meter.filter)
        ]
        return found or [Outcome(event, None, "no_meter")]

    def _outcome(self, event: Event, meter: Meter) -> Outcome:
        if not is_countable(event, meter):
            return Outcome(event, meter, "non_numeric")
        units = units_of(event, meter)
        if event.received_at < meter.created_at:
            return Outcome(event, meter, "before_meter", units)
        name, subscription, price = self._route(event, meter)
        if name is not None or subscription is None or price is None:
            return Outcome(event, meter, name or "", units, subscription, price)
        period = self._period_of(subscription, event)
        return Outcome(
            event, meter, self._state(subscription, meter, price, period), units, subscription, price, period
        )

    def _route(self, event: Event, meter: Meter) -> tuple[str | None, Subscription | None, Price | None]:
        """The earliest started subscription that is billable at receipt and carries a price on the meter then."""
        at = event.received_at
        customer = self._attribution.customer_of(event)
        if customer is None or not existed_at_receipt(customer, event):
            return "unknown_customer", None, None
        own = [s for s in self.subscriptions if s.customer_id == customer.customer_id and s.is_billable(at)]
        if not own:
            return "no_subscription", None, None
        for subscription in own:
            price = subscription.plan_at(at).price_on(meter.meter_id)
            if price is not None:
                return ("trial" if subscription.is_in_trial(at) else None), subscription, price
        return "no_price", None, None

    def _period_of(self, subscription: Subscription, event: Event) -> Period:
        at = event.billed_at
        return next(p for p in subscription.usage_periods(self.horizon) if p.start_at <= at < p.end_at)

    def _state(self, subscription: Subscription, meter: Meter, price: Price, period: Period) -> str:
        if self._is_stranded(subscription, meter, price, period):
            return "stranded"
        if (subscription.subscription_id, period) in self._settled:
            return "billed"
        return "awaiting_order" if self.is_closed(period) else "open"

    @staticmethod
    def _is_stranded(subscription: Subscription, meter: Meter, price: Price, period: Period) -> bool:
        """A price that is gone at the close takes its usage with it; other functions only need one on the meter."""
        carried = subscription.closing_plan(period)
        if period.is_abandoned:
            return True
        if is_summable(meter):
            return price.price_id not in {kept.price_id for kept in carried.prices}
        return carried.price_on(meter.meter_id) is None

    def is_closed(self, period: Period) -> bool:
        return period.end_at <= self.as_of

    def _settled_periods(self) -> set[tuple[str, Period]]:
        """A renewal settles the period that ended last before it, a meter cycle the same among meter periods."""
        return {
            (subscription.subscription_id, period)
            for subscription in self.subscriptions
            for order in self.organization.orders
            if order.subscription_id == subscription.subscription_id and order.is_paid
            for period in [self._settles(order, subscription)]
            if period is not None
        }

    def _settles(self, order: Order, subscription: Subscription) -> Period | None:
        if order.reason == "subscription_cycle":
            periods = subscription.periods(self.horizon)
        elif order.reason == "subscription_meter_cycle":
            periods = [p for p in subscription.usage_periods(self.horizon) if p.period_type == "meter"]
        else:
            return None
        return max((p for p in periods if p.end_at <= order.created_at), key=lambda p: p.end_at, default=None)

    # --- lines ---

    def _lines(self) -> list[Line]:
        lines = {
            self._line_key(line.subscription, line.period, line.meter, line.price): line for line in self._empty_lines()
        }
        for outcome in self.outcomes:
            if outcome.outcome in ("billed", "awaiting_order", "open"):
                lines[self._key_of(outcome)].events.append(outcome.event)
        for event in filter(is_credit, self.organization.events):
            self._credit(event, lines)
        return list(lines.values())

    def _key_of(self, outcome: Outcome) -> tuple[str, ...]:
        subscription, period, meter, price = outcome.subscription, outcome.period, outcome.meter, outcome.price
        if subscription is None or period is None or meter is None or price is None:
            raise ValueError("usage that is charged has a subscription, a period, a meter and a price")
        return self._line_key(subscription, period, meter, price)

    def _empty_lines(self) -> list[Line]:
        """A line for each price carried at the close; one a meter where units cannot be split by price."""
        meters = {meter.meter_id: meter for meter in self.organization.meters}
        lines = []
        for subscription in self.subscriptions:
            for period in subscription.usage_periods(self.horizon):
                plan = subscription.closing_plan(period)
                for price in plan.prices:
                    meter = meters[price.meter_id]
                    if is_summable(meter) or price is plan.price_on(meter.meter_id):
                        lines.append(Line(subscription, meter, price, period))
        return lines

    @staticmethod
    def _line_key(subscription: Subscription, period: Period, meter: Meter, price: Price) -> tuple[str, ...]:
        common = subscription.subscription_id, period.start_at.isoformat(), meter.meter_id
        return (*common, price.price_id) if is_summable(meter) else common

    def _credit(self, event: Event, lines: dict[tuple[str, ...], Line]) -> None:
        """A credit finds its line as usage does; one of a trial stays with the trial, where it buys nothing."""
        for meter in self.organization.meters:
            if meter.meter_id == event.metadata["meter_id"] and event.received_at >= meter.created_at:
                name, subscription, price = self._route(event, meter)
                if name in (None, "trial") and subscription is not None and price is not None:
                    period = self._period_of(subscription, event)
                    line = lines.get(self._line_key(subscription, period, meter, price))
                    if line is not None:
                        line.credits.append(event)
