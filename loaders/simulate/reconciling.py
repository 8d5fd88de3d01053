"""What a billing analyst would say about every order, from the rules and from what was planted in the world."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from loaders.simulate.instants import AS_OF
from loaders.simulate.metering import Metering, Outcome, UsageRow
from loaders.simulate.model import Organization, Price, Usage
from loaders.simulate.ordering import Draft, Item, Order, Ordering
from loaders.simulate.periods import Period, is_priced

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


@dataclass(frozen=True)
class LineFinding:
    """One price of a finding; no row where the line stands for no known usage, no item where nothing was billed."""

    finding: Finding
    price: Price
    currency: str
    row: UsageRow | None
    item: Item | None
    status: str
    cause: str
    variance: int | None = None


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
        cause = "unpaid_order" if order else "missing_order"
        if order is None and draft.period and draft.period.closing == "revoked":
            cause = "revoked"
        return Finding(draft, order, status, cause, variance=-expected)

    def _loose(self, draft: Draft, order: Order) -> Finding:
        """Orders no renewal explains; a subscription nobody described cannot be compared with."""
        if draft.subscription is None:
            return Finding(draft, order, "not_comparable", "one_time")
        if draft.subscription not in self._organization.subscriptions:
            return Finding(draft, order, "not_comparable", "missing_subscription")
        return Finding(draft, order, "unexpected", "unexplained", variance=order.subtotal, allowed=0)

    def _incomparable(self, draft: Draft) -> str | None:
        period = draft.period
        has_lines = self._organization.has_order_objects(draft.customer)
        if period is None:
            return "proration" if draft.reason == "subscription_update" and not has_lines else None
        changes = [phase for phase in period.subscription.phases[1:] if phase.proration == "prorate"]
        has_change = any(period.holds(phase.from_at) for phase in changes)
        if has_change and not has_lines:
            return "proration"
        if draft.currency != period.subscription.currency:
            return "currency_mismatch"
        if not is_priced(period) or any(row.amount is None for row in draft.rows):
            return "missing_price"
        return "incomplete_history" if period.start_at < self._organization.coverage_starts_at else None

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
        cause = "late_usage" if self._is_late_usage(draft.rows, variance) else "unexplained"
        return Finding(draft, order, status, cause, variance, allowed, low, high)

    def _cutoff(self, draft: Draft) -> tuple[int, int]:
        """What usage near the two boundaries is worth, re-rated with credits and cap."""
        bounds = [self._cutoff_of(row) for row in draft.rows]
        return sum(low for low, _ in bounds), sum(high for _, high in bounds)

    def _cutoff_of(self, row: UsageRow) -> tuple[int, int]:
        before = self._metering.previous_row(row)
        more = before.in_last_minutes() if before else []
        return _worth(row, without=row.in_last_minutes()), _worth(row, more=more)

    def _is_late_usage(self, rows: list[UsageRow], variance: int) -> bool:
        """Billed by when usage occurred: with what came in later, without what had occurred earlier, or both."""
        added = [(row, self._metering.belated(row), row.received_late()) for row in rows]
        worths = (
            sum(_worth(row, more=belated) for row, belated, _ in added),
            sum(_worth(row, without=late) for row, _, late in added),
            sum(_worth(row, without=late, more=belated) for row, belated, late in added),
        )
        return variance in worths

    # --- line by line ---

    def line_findings(self) -> Iterator[LineFinding]:
        """Where the order's lines are known, and for orders that do not exist."""
        for finding in self.findings():
            order = finding.order
            if order is None or order.paid_at is None:
                yield from _lines_missing(finding)
            elif self._organization.has_order_objects(finding.draft.customer):
                yield from self._lines_of(finding, order)

    def _lines_of(self, finding: Finding, order: Order) -> Iterator[LineFinding]:
        item_of = {item.row: item for item in order.items if item.row}
        for row in finding.draft.rows:
            price, item = row.price, item_of.get(row)
            if not is_priced(row.period):
                # The usage has no price, so only the line is there.
                if item:
                    yield LineFinding(
                        finding, price, order.draft.currency, None, item, "not_comparable", "missing_price"
                    )
            elif finding.cause == "currency_mismatch":
                yield LineFinding(finding, price, price.currency, row, None, "not_comparable", finding.cause)
                if item:
                    yield LineFinding(finding, price, order.draft.currency, None, item, "not_comparable", finding.cause)
            elif finding.cause == "incomplete_history" or row.amount is None:
                cause = "missing_price" if row.amount is None else finding.cause
                yield LineFinding(finding, price, price.currency, row, item, "not_comparable", cause)
            else:
                yield self._line(finding, row, item, row.amount)

    def _line(self, finding: Finding, row: UsageRow, item: Item | None, expected: int) -> LineFinding:
        variance = (item.amount if item else 0) - expected
        low, high = self._cutoff_of(row)
        status = "underbilled" if variance < 0 else "overbilled"
        cause = "late_usage" if self._is_late_usage([row], variance) else "unexplained"
        if variance == 0:
            status, cause = "matched", "none"
        elif abs(variance) == 1:
            status, cause = "within_tolerance", "rounding"
        elif low <= variance <= high:
            status, cause = "within_tolerance", "cutoff_timing"
        return LineFinding(finding, row.price, row.price.currency, row, item, status, cause, variance)


def _lines_missing(finding: Finding) -> Iterator[LineFinding]:
    for row in finding.draft.rows:
        if row.amount:
            status, cause = finding.status, finding.cause
            yield LineFinding(finding, row.price, row.price.currency, row, None, status, cause, -row.amount)


def _worth(row: UsageRow, without: list[Usage] | None = None, more: list[Usage] | None = None) -> int:
    """What the row's amount would change by."""
    kept = [usage for usage in row.usages if usage not in (without or [])]
    amount, rerated = row.amount, row.amount_of(row.meter.aggregate([*kept, *(more or [])]))
    return 0 if amount is None or rerated is None else rerated - amount
