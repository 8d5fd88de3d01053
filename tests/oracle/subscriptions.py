"""What a subscription carried when, when it was billable, and its periods (semantics, 3, 6.1, 6.2 and 6.4)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from tests.oracle.boundaries import boundaries
from tests.oracle.records import Event, Organization, Price, SubscriptionRecords, instant


@dataclass(frozen=True)
class Plan:
    """A product taken at an instant, with the metered prices it brought."""

    taken_at: datetime
    product_id: str
    prices: tuple[Price, ...]

    def price_on(self, meter_id: str) -> Price | None:
        """Of two prices on one meter the one with the lower id takes the usage."""
        own = [price for price in self.prices if price.meter_id == meter_id]
        return min(own, key=lambda price: price.price_id, default=None)


@dataclass(frozen=True)
class Period:
    period_type: str
    start_at: datetime
    end_at: datetime
    # Ended by a revocation and never settled: no meter cycle closes it (semantics, 6.4).
    is_abandoned: bool = False


class Subscription:
    """One subscription, derived from all that is landed of it."""

    def __init__(self, records: SubscriptionRecords, organization: Organization) -> None:
        self._records, self._products = records, organization.products
        self._known_periods: dict[tuple[str, datetime], list[Period]] = {}
        self.subscription_id, self.customer_id = records.subscription_id, records.customer_id
        self.started_at = records.started_at
        latest = records.versions[-1] if records.versions else None
        self.trial_ends_at = latest.trial_ends_at if latest else None
        # The object may be older than the revocation that ended it.
        self.ended_at = (latest.ended_at if latest else None) or self._revoked_for_good_at()
        self._pauses = self._intervals("subscription.paused", "subscription.resumed")
        self._revocations = self._intervals("subscription.revoked", "subscription.reinstated")
        self.meter_interval = self._meter_interval()
        self.plans = self._plans()

    # --- billable ---

    def is_billable(self, at: datetime) -> bool:
        """Trialing, active or past due; not paused, canceled or unpaid."""
        if at < self.started_at or (self.ended_at is not None and at >= self.ended_at):
            return False
        gaps = self._pauses + self._revocations
        return not any(start <= at and (end is None or at < end) for start, end in gaps)

    def is_in_trial(self, at: datetime) -> bool:
        return self.trial_ends_at is not None and at < self.trial_ends_at

    # --- plans ---

    def plan_at(self, at: datetime) -> Plan:
        """What it carried at an instant; the first plan also stands for what was before it."""
        return [plan for plan in self.plans if plan.taken_at <= at or plan is self.plans[0]][-1]

    def closing_plan(self, period: Period) -> Plan:
        """What it carried when the period closed, or carries towards its close: what an order settles."""
        return [plan for plan in self.plans if plan.taken_at < period.end_at or plan is self.plans[0]][-1]

    def _plans(self) -> list[Plan]:
        taken = self._products_taken()
        plans = []
        for (taken_at, product_id), following in zip(taken, [*taken[1:], None], strict=True):
            until = following[0] if following else None
            plans.append(Plan(taken_at, product_id, self._prices(taken_at, until, product_id)))
        return plans

    def _products_taken(self) -> list[tuple[datetime, str]]:
        """The products in order, each with the instant it was taken."""
        changes: list[tuple[datetime, str]] = []
        for event in self._named("subscription.created"):
            changes.append((self.started_at, event.metadata["product_id"]))
        for event in self._named("subscription.product_updated"):
            if not changes:
                changes.append((self.started_at, event.metadata["old_product_id"]))
            changes.append((self._effective_at(event), event.metadata["new_product_id"]))
        for event in self._named("subscription.cycled"):
            # Written by a job some time after the boundary at which its values apply.
            renewed_at = [p.start_at for p in self.periods(event.occurred_at) if p.start_at <= event.occurred_at][-1]
            changes.append((renewed_at, event.metadata["product_id"]))
        for version in self._records.versions:
            changes.append((version.modified_at, version.product_id))
        changes.sort(key=lambda change: change[0])
        taken: list[tuple[datetime, str]] = []
        for at, product_id in changes:
            if not taken or taken[-1][1] != product_id:
                taken.append((at if taken else self.started_at, product_id))
        return taken

    def _effective_at(self, change: Event) -> datetime:
        """A change for the next period is written when it is asked for and takes effect at the period's end."""
        for event in self._named("subscription.updated"):
            told = event.metadata
            if event.occurred_at == change.occurred_at and told.get("proration_behavior") == "next_period":
                return next(p.end_at for p in self.periods(change.occurred_at) if change.occurred_at < p.end_at)
        return change.occurred_at

    def _prices(self, taken_at: datetime, until: datetime | None, product_id: str) -> tuple[Price, ...]:
        """Its own prices where an object of that time has them, else the product's when it took the product."""
        for version in self._records.versions:
            is_within = taken_at <= version.modified_at and (until is None or version.modified_at < until)
            if is_within and version.product_id == product_id and version.prices is not None:
                return version.prices
        offered = sorted(self._products[product_id], key=lambda version: version.valid_from)
        valid = [version for version in offered if version.valid_from <= taken_at] or offered[:1]
        return tuple(price for price in valid[-1].prices if price.currency == self._records.currency)

    def _meter_interval(self) -> tuple[str, int] | None:
        product_id = self._products_taken_first()
        return self._products[product_id][-1].meter_interval

    def _products_taken_first(self) -> str:
        created = self._named("subscription.created")
        if self._records.versions:
            return self._records.versions[0].product_id
        return str(created[0].metadata["product_id"])

    # --- periods ---

    @property
    def usage_period_type(self) -> str:
        return "meter" if self.meter_interval else "subscription"

    def periods(self, until: datetime) -> list[Period]:
        """Return its periods up to the one that contains an instant."""
        return self._cut_once("subscription", self._records.interval, until)

    def usage_periods(self, until: datetime) -> list[Period]:
        """Return the periods that bill its usage: those of its meter cycle where it has one."""
        if self.meter_interval is None:
            return self.periods(until)
        return self._cut_once("meter", self.meter_interval, until)

    def _cut_once(self, period_type: str, interval: tuple[str, int], until: datetime) -> list[Period]:
        if (period_type, until) not in self._known_periods:
            self._known_periods[period_type, until] = self._cut(period_type, interval, until)
        return self._known_periods[period_type, until]

    def _cut(self, period_type: str, interval: tuple[str, int], until: datetime) -> list[Period]:
        periods = []
        for start_at, stops_at in self._stretches():
            for period_start, boundary in self._steps(start_at, interval):
                if period_start > until or (stops_at is not None and period_start >= stops_at):
                    break
                end_at = boundary if stops_at is None else min(boundary, stops_at)
                is_revoked = end_at == self.ended_at and end_at < boundary and self.meter_interval is None
                periods.append(Period(period_type, period_start, end_at, is_revoked))
        return self._held(periods) if period_type == "meter" else periods

    def _held(self, periods: list[Period]) -> list[Period]:
        """While it is past due the cycle of its meters stands still; what was skipped ends with the recovery."""
        for past_due_at, recovered_at in self._intervals("subscription.past_due", "subscription.reactivated"):
            goes_on_at = recovered_at or max(period.end_at for period in periods)
            kept = []
            for period in periods:
                is_begun_before = period.start_at < past_due_at
                if past_due_at <= period.end_at < goes_on_at and is_begun_before:
                    kept.append(replace(period, end_at=goes_on_at))
                elif is_begun_before or period.start_at >= goes_on_at:
                    kept.append(period)
                elif period.end_at > goes_on_at:
                    kept.append(replace(period, start_at=goes_on_at))
            periods = kept
        return periods

    def _stretches(self) -> list[tuple[datetime, datetime | None]]:
        """A pause ends the period; a resumption starts a new series of them."""
        starts = [self.started_at, *(resumed for _, resumed in self._pauses if resumed is not None)]
        ends = [*(paused for paused, _ in self._pauses), self.ended_at]
        return list(zip(starts, ends, strict=False))

    def _steps(self, start_at: datetime, interval: tuple[str, int]) -> Iterator[tuple[datetime, datetime]]:
        """The periods of a series, without end; a trial is the first one, and its end is the next one's anchor."""
        if self.trial_ends_at is not None and start_at == self.started_at:
            yield start_at, self.trial_ends_at
            start_at = self.trial_ends_at
        anchor = start_at
        for end_at in boundaries(anchor, interval):
            yield start_at, end_at
            start_at = end_at

    # --- events ---

    def _named(self, name: str) -> list[Event]:
        return [event for event in self._records.events if event.name == name]

    def _intervals(self, begin: str, end: str) -> list[tuple[datetime, datetime | None]]:
        ends = [event.occurred_at for event in self._named(end)]
        found: list[tuple[datetime, datetime | None]] = []
        for event in self._named(begin):
            at = instant(event.metadata["paused_at"]) if "paused_at" in event.metadata else event.occurred_at
            found.append((at, min((later for later in ends if later >= at), default=None)))
        return found

    def _revoked_for_good_at(self) -> datetime | None:
        open_ended = [at for at, back in self._intervals("subscription.revoked", "subscription.reinstated") if not back]
        return min(open_ended, default=None)
