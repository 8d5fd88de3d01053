"""Billing periods of a subscription, drawn from its own history."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from loaders.simulate.instants import AS_OF, boundary
from loaders.simulate.model import Meter, Subscription


@dataclass(frozen=True)
class Period:
    """Half-open. `closing` says what ended it: cycle, trial, pause, final, revoked, or open."""

    subscription: Subscription
    start_at: datetime
    end_at: datetime
    kind: str
    closing: str

    @property
    def is_closed(self) -> bool:
        return self.end_at <= AS_OF

    def holds(self, moment: datetime) -> bool:
        return self.start_at <= moment < self.end_at


def subscription_periods(subscription: Subscription) -> list[Period]:
    """Periods of the subscription itself: static prices are charged at their starts."""
    interval = subscription.phases[0].product.interval or "month"
    return list(_periods(subscription, interval, "subscription"))


def usage_periods(subscription: Subscription) -> list[Period]:
    """The periods usage is settled in: the meter's own cadence where the product has one."""
    if subscription.meter_interval is None:
        return subscription_periods(subscription)
    return list(_periods(subscription, subscription.meter_interval, "meter"))


def resets(subscription: Subscription) -> Iterator[tuple[datetime, Meter]]:
    """A renewal starts a new balance on each metered price, from the closed period's end on."""
    for period in usage_periods(subscription):
        if period.is_closed and period.closing == "cycle":
            for price in subscription.phase_before(period.end_at).metered_prices:
                assert price.meter is not None
                yield period.end_at, price.meter


def is_priced(period: Period) -> bool:
    """False where nothing that is landed tells the prices of what the period was billed at."""
    return period.subscription.phase_before(period.end_at).product.is_landed


def _periods(subscription: Subscription, interval: str, kind: str) -> Iterator[Period]:
    anchor, count = subscription.started_at, 1
    if subscription.trial_ends_at:
        ends_with_trial = subscription.ended_at == subscription.trial_ends_at
        closing = subscription.ending if ends_with_trial else "trial"
        yield Period(subscription, anchor, subscription.trial_ends_at, kind, closing)
        if ends_with_trial:
            return
        anchor = subscription.trial_ends_at
    start = anchor
    while start <= AS_OF:
        end, closing, restart = _cut(subscription, start, boundary(anchor, interval, count))
        yield Period(subscription, start, end, kind, closing)
        if closing in ("final", "revoked"):
            return
        if restart:
            anchor, count = restart, 0
        start, count = restart or end, count + 1


def _cut(subscription: Subscription, start: datetime, end: datetime) -> tuple[datetime, str, datetime | None]:
    """Where the period really ends, why, and where the next one starts if not there."""
    for paused_at, resumed_at in subscription.pauses:
        if start < paused_at < end:
            return paused_at, "pause", resumed_at
    if subscription.ended_at and start < subscription.ended_at <= end:
        return subscription.ended_at, subscription.ending, None
    return end, "cycle" if end <= AS_OF else "open", None
