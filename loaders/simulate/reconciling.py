"""What a billing analyst would say about every order, from the rules and from what was planted in the world."""

from dataclasses import dataclass
from datetime import timedelta

from loaders.simulate.instants import AS_OF, COVERAGE_STARTS_AT
from loaders.simulate.metering import Metering, Outcome, UsageRow
from loaders.simulate.model import Organization, Usage
from loaders.simulate.ordering import Draft, Order, Ordering
from loaders.simulate.periods import Period

GRACE = timedelta(days=3)


@dataclass(frozen=True)
class Finding:
    """One row of the reconciliation. None means: not asserted, or not applicable."""

    draft: Draft
    order: Order | None
    status: str
    cause: str
    variance: int | None = None
    allowed: int | None = None
    cutoff_low: int | None = None
    cutoff_high: int | None = None

    @property
    def is_comparable(self) -> bool:
        return self.status != "not_comparable"


class Reconciling:
    """Findings and outcomes of one organization."""

    def __init__(self, organization: Organization, metering: Metering, ordering: Ordering) -> None:
        self._organization, self._metering, self._ordering = organization, metering, ordering
        self._settled = {
            (draft.subscription, draft.period.start_at, draft.period.kind): ordering.order_of.get(draft)
            for draft in ordering.drafts
            if draft.period
        }

    def findings(self) -> list[Finding]:
        found = (self._finding(draft) for draft in self._ordering.drafts)
        return [finding for finding in found if finding]

    def order_of(self, period: Period) -> Order | None:
        """The paid order that settles the period."""
        order = self._settled.get((period.subscription, period.start_at, period.kind))
        return order if order and order.paid_at else None

    def outcome(self, outcome: Outcome) -> str:
        """The contract's word: a due event is billed once its period's order is paid."""
        if outcome.reason != "due":
            return outcome.reason
        assert outcome.period is not None
        return "billed" if self.order_of(outcome.period) else "awaiting_order"

    def _finding(self, draft: Draft) -> Finding | None:
        order = self._ordering.order_of.get(draft)
        if order is None or order.paid_at is None:
            return self._unpaid(draft, order)
        if draft.loose_amount is not None:
            return self._loose(draft, order)
        reason = self._incomparable(draft)
        if reason:
            return Finding(draft, order, "not_comparable", reason)
        return self._compared(draft, order)

    def _unpaid(self, draft: Draft, order: Order | None) -> Finding | None:
        expected = draft.expected_static + draft.expected_metered
        if expected == 0:
            return None
        status = "pending" if draft.boundary_at + GRACE > AS_OF else "unbilled"
        return Finding(draft, order, status, "unpaid_order" if order else "missing_order", variance=-expected)

    def _loose(self, draft: Draft, order: Order) -> Finding:
        """Orders no renewal explains; a subscription nobody described cannot be compared with."""
        if draft.subscription is None:
            return Finding(draft, order, "not_comparable", "one_time")
        if draft.subscription not in self._organization.subscriptions:
            return Finding(draft, order, "not_comparable", "missing_subscription")
        return Finding(draft, order, "unexpected", "unexplained", variance=order.subtotal, allowed=0)

    def _incomparable(self, draft: Draft) -> str | None:
        if draft.period is None:
            return None
        if draft.period.start_at < COVERAGE_STARTS_AT:
            return "incomplete_history"
        changes = draft.subscription.phases[1:] if draft.subscription else []
        has_change = any(draft.period.holds(phase.from_at) for phase in changes)
        return "proration" if has_change and not self._organization.has_api_objects else None

    def _compared(self, draft: Draft, order: Order) -> Finding:
        variance = order.subtotal - order.proration - draft.expected_static - draft.expected_metered
        billed = {item.row for item in order.items if item.row}
        allowed = sum(row.has_entries or row in billed for row in draft.rows)
        if variance == 0:
            return Finding(draft, order, "matched", "trial" if draft.is_trial else "none", 0, allowed)
        if abs(variance) <= allowed:
            return Finding(draft, order, "within_tolerance", "rounding", variance, allowed)
        low, high = self._cutoff(draft)
        if low <= variance <= high:
            return Finding(draft, order, "within_tolerance", "cutoff_timing", variance, allowed, low, high)
        status = "underbilled" if variance < 0 else "overbilled"
        return Finding(draft, order, status, "unexplained", variance, allowed, low, high)

    def _cutoff(self, draft: Draft) -> tuple[int, int]:
        """What usage near the two boundaries is worth, re-rated with credits and cap."""
        low = high = 0
        for row in draft.rows:
            before = self._metering.previous_row(row)
            low -= row.amount - _rerated(row, without=row.in_last_minutes())
            high += _rerated(row, more=before.in_last_minutes() if before else []) - row.amount
        return low, high


def _rerated(row: UsageRow, without: list[Usage] | None = None, more: list[Usage] | None = None) -> int:
    kept = [usage for usage in row.usages if usage not in (without or [])]
    return row.amount_of(row.meter.aggregate([*kept, *(more or [])]))
