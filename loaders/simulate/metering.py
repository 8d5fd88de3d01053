"""Which usage each subscription owes for: one outcome per event and meter, one row per price and period."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from loaders.simulate.model import Credit, Customer, Meter, Organization, Price, Subscription, Usage
from loaders.simulate.periods import Period, is_priced, usage_periods
from loaders.simulate.rating import running_credits

# A usage job runs every 15 minutes: what arrives this close to a boundary may be billed on its other side.
CUTOFF_SLACK = timedelta(minutes=20)


@dataclass(eq=False)
class Outcome:
    """What became of one usage event under one meter; `due` where a period holds it."""

    usage: Usage
    meter: Meter | None
    reason: str
    period: Period | None = None
    price: Price | None = None


@dataclass(eq=False)
class UsageRow:
    """One metered price of a subscription in one period, with all that bears on its amount."""

    period: Period
    price: Price
    usages: list[Usage] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)

    @property
    def meter(self) -> Meter:
        assert self.price.meter is not None
        return self.price.meter

    @property
    def consumed(self) -> Decimal:
        return self.meter.aggregate(self.usages)

    @property
    def credited(self) -> int:
        return running_credits(credit.units for credit in sorted(self.credits, key=lambda c: c.received_at))

    @property
    def billable(self) -> Decimal:
        return max(Decimal(0), self.consumed - self.credited)

    @property
    def amount(self) -> int | None:
        return self.amount_of(self.consumed)

    @property
    def is_capped(self) -> bool:
        uncapped = self.price.rated(self.billable, is_capped=False)
        return None not in (self.price.cap_amount, uncapped) and uncapped != self.amount

    @property
    def has_entries(self) -> bool:
        return bool(self.usages or self.credits)

    def amount_of(self, consumed: Decimal) -> int | None:
        return self.price.rated(consumed - self.credited)

    def received_late(self) -> list[Usage]:
        """What occurred before the period."""
        return [usage for usage in self.usages if usage.occurred_at < self.period.start_at]

    def in_last_minutes(self) -> list[Usage]:
        return [usage for usage in self.usages if usage.received_at >= self.period.end_at - CUTOFF_SLACK]


class Metering:
    """All outcomes and usage rows of one organization."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization
        self.outcomes: list[Outcome] = []
        self.rows: dict[tuple[Subscription, datetime], list[UsageRow]] = {}
        self._periods = {subscription: usage_periods(subscription) for subscription in organization.subscriptions}
        for subscription, periods in self._periods.items():
            for period in periods:
                prices = subscription.phase_before(period.end_at).metered_prices
                self.rows[subscription, period.start_at] = [UsageRow(period, price) for price in prices]
        for usage in organization.usages:
            self.outcomes.extend(self._outcomes(usage))
        for credit in organization.credits:
            self._place_credit(credit)

    def rows_of(self, period: Period) -> list[UsageRow]:
        return self.rows.get((period.subscription, period.start_at), [])

    def previous_row(self, row: UsageRow) -> UsageRow | None:
        """The same price in the period that ended where this one starts."""
        candidates = (other for rows in self.rows.values() for other in rows if other.price is row.price)
        mine = (other for other in candidates if other.period.subscription is row.period.subscription)
        return next((other for other in mine if other.period.end_at == row.period.start_at), None)

    def belated(self, row: UsageRow) -> list[Usage]:
        """What occurred in the row's period and was received after it."""
        others = (other for rows in self.rows.values() for other in rows if other.price is row.price)
        mine = (other for other in others if other.period.subscription is row.period.subscription)
        later = (usage for other in mine if other.period.start_at > row.period.start_at for usage in other.usages)
        return [usage for usage in later if row.period.holds(usage.occurred_at)]

    def _outcomes(self, usage: Usage) -> Iterable[Outcome]:
        meters = [meter for meter in self._organization.meters if meter.takes(usage)]
        if not meters:
            yield Outcome(usage, None, "no_meter")
        for meter in meters:
            yield self._judge(usage, meter)

    def _judge(self, usage: Usage, meter: Meter) -> Outcome:
        received_at, customer = usage.received_at, usage.customer
        if meter.value(usage) is None and meter.function != "unique":
            return Outcome(usage, meter, "non_numeric")
        if received_at < meter.created_at:
            return Outcome(usage, meter, "before_meter")
        if customer is None or received_at < customer.created_at:
            return Outcome(usage, meter, "unknown_customer")
        if not self._billable(customer, received_at):
            return Outcome(usage, meter, "no_subscription")
        subscription = self._carrier(customer, meter, received_at)
        if subscription is None:
            return Outcome(usage, meter, "no_price")
        return self._place(usage, meter, subscription)

    def _place(self, usage: Usage, meter: Meter, subscription: Subscription) -> Outcome:
        price = subscription.price_at(meter, usage.received_at)
        period = next(p for p in self._periods[subscription] if p.holds(usage.received_at))
        if subscription.trial_ends_at and usage.received_at < subscription.trial_ends_at:
            return Outcome(usage, meter, "trial", period, price)
        row = next((row for row in self.rows_of(period) if row.price is price), None)
        if row is None or (period.closing == "revoked" and period.kind == "subscription"):
            return Outcome(usage, meter, "stranded", period, price)
        row.usages.append(usage)
        if not is_priced(period):
            return Outcome(usage, meter, "no_price")
        return Outcome(usage, meter, "due" if period.is_closed else "open", period, price)

    def _billable(self, customer: Customer, moment: datetime) -> list[Subscription]:
        mine = (s for s in self._organization.subscriptions if s.customer is customer and s.is_billable_at(moment))
        return sorted(mine, key=lambda subscription: subscription.started_at)

    def _carrier(self, customer: Customer, meter: Meter, moment: datetime) -> Subscription | None:
        """The earliest started subscription with a price on the meter."""
        return next((s for s in self._billable(customer, moment) if s.price_at(meter, moment)), None)

    def _place_credit(self, credit: Credit) -> None:
        subscription = self._carrier(credit.customer, credit.meter, credit.received_at)
        if subscription is None:
            return
        for period in self._periods[subscription]:
            if period.holds(credit.received_at):
                row = next(row for row in self.rows_of(period) if row.meter is credit.meter)
                row.credits.append(credit)
