"""The billing engine: turns closed periods into orders the way Polar does, then plants the known discrepancies."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from loaders.simulate.instants import AS_OF
from loaders.simulate.metering import Metering, UsageRow
from loaders.simulate.model import (
    Chance,
    Change,
    Customer,
    Discount,
    LooseOrder,
    Organization,
    Phase,
    Price,
    Product,
    RefundPlan,
    Subscription,
)
from loaders.simulate.periods import Period, subscription_periods, usage_periods
from loaders.simulate.rating import rate, round_half_away, round_half_even

# A renewal job runs some seconds after the boundary; payment takes a few minutes more.
ORDER_LAG = timedelta(seconds=7)
PAYMENT_LAG = timedelta(minutes=3)
MINIMUM_CHARGE = 50
SYMBOLS = {"usd": "$", "eur": "€", "jpy": "¥"}
MINOR_DIGITS = {"usd": 2, "eur": 2, "jpy": 0}


@dataclass(eq=False)
class Item:
    """One order line; `row` is set on metered lines."""

    label: str
    amount: int
    price: Price | None
    is_proration: bool = False
    row: UsageRow | None = None
    billed_units: Decimal | None = None


@dataclass(eq=False)
class Draft:
    """An order that usage and the subscription say should exist."""

    customer: Customer
    subscription: Subscription | None
    product: Product
    reason: str
    boundary_at: datetime
    created_at: datetime
    currency: str
    period: Period | None = None
    statics: list[Price] = field(default_factory=list)
    rows: list[UsageRow] = field(default_factory=list)
    prorations: list[Item] = field(default_factory=list)
    is_trial: bool = False
    loose_amount: int | None = None

    @property
    def change(self) -> Change | None:
        if self.subscription is None:
            return None
        if self.reason == "subscription_create":
            return self.subscription.changes.get("first")
        return self.subscription.changes.get(self.boundary_at.date().isoformat()) if self.period else None

    @property
    def expected_static(self) -> int:
        return sum(price.static_amount for price in self.statics)

    @property
    def expected_metered(self) -> int:
        """Asserted only where every row can be rated."""
        return sum(row.amount or 0 for row in self.rows)


@dataclass(eq=False)
class Order:
    """A draft with its money worked out; `paid_at` is None for pending and void orders."""

    order_id: str
    draft: Draft
    items: list[Item]
    discount: Discount | None
    discount_amount: int
    tax_amount: int
    is_inclusive: bool
    paid_at: datetime | None = None
    status: str = "pending"
    applied_balance: int = 0
    payment: str = "none"
    fee: int = 0
    refunds: list[tuple[RefundPlan, int]] = field(default_factory=list)

    @property
    def subtotal(self) -> int:
        return sum(item.amount for item in self.items)

    @property
    def net(self) -> int:
        return self.total - self.tax_amount

    @property
    def total(self) -> int:
        return self.subtotal - self.discount_amount + (0 if self.is_inclusive else self.tax_amount)

    @property
    def proration(self) -> int:
        return sum(item.amount for item in self.items if item.is_proration)

    @property
    def due(self) -> int:
        return max(0, self.total + self.applied_balance)

    @property
    def cash(self) -> int:
        return self.due if self.payment == "charge" else 0

    @property
    def refunded(self) -> int:
        return sum(plan.amount for plan, _ in self.refunds if not plan.is_reversed)

    @property
    def refunded_tax(self) -> int:
        return sum(tax for plan, tax in self.refunds if not plan.is_reversed)


class Ordering:
    """All drafts and orders of one organization, in order of creation."""

    def __init__(self, organization: Organization, metering: Metering, chance: Chance) -> None:
        self._organization, self._metering, self._chance = organization, metering, chance
        self._balances = {customer: customer.opening_balance for customer in organization.customers}
        self.drafts = sorted(self._drafts(), key=lambda draft: (draft.created_at, draft.customer.number))
        self.orders: list[Order] = []
        self.order_of: dict[Draft, Order] = {}
        for draft in self.drafts:
            if draft.change is None or draft.change.kind != "missing":
                self._take(draft)

    def _take(self, draft: Draft) -> None:
        if draft.change and draft.change.kind == "euro":
            draft.currency = "eur"
        order = self._order(draft)
        self.orders.append(order)
        self.order_of[draft] = order
        if draft.change and draft.change.kind in ("pending", "void"):
            order.status = draft.change.kind
        else:
            self._pay(order)

    # --- which orders there are ---

    def _drafts(self) -> Iterator[Draft]:
        for subscription in self._organization.subscriptions:
            yield from self._first(subscription)
            yield from self._renewals(subscription)
            yield from self._meter_cycles(subscription)
            yield from self._updates(subscription)
        for loose in self._organization.loose_orders:
            yield _loose_draft(loose)

    def _first(self, subscription: Subscription) -> Iterator[Draft]:
        """The checkout's order; what was bought before the exports begin is not in them."""
        phase = subscription.phases[0]
        statics = [price for price in phase.prices if not price.meter]
        if subscription.started_at < self._organization.coverage_starts_at or not statics:
            return
        draft = _draft(subscription, "subscription_create", subscription.started_at, phase)
        draft.is_trial = subscription.trial_ends_at is not None
        draft.statics = [] if draft.is_trial else statics
        yield draft

    def _renewals(self, subscription: Subscription) -> Iterator[Draft]:
        for period in subscription_periods(subscription):
            if (
                period.is_closed
                and period.closing != "revoked"
                and period.end_at >= self._organization.coverage_starts_at
            ):
                draft = self._renewal(subscription, period)
                if draft.boundary_at > AS_OF:
                    continue
                if draft.statics or draft.prorations or any(row.has_entries for row in draft.rows):
                    yield draft

    def _renewal(self, subscription: Subscription, period: Period) -> Draft:
        boundary_at = period.end_at
        if period.closing == "pause":
            boundary_at = next(resumed for paused, resumed in subscription.pauses if paused == period.end_at)
        phase = subscription.phase_at(boundary_at)
        draft = _draft(subscription, "subscription_cycle", boundary_at, phase)
        draft.period = period
        if period.closing != "final":
            draft.statics = [price for price in phase.prices if not price.meter]
        if subscription.meter_interval is None:
            draft.rows = self._metering.rows_of(period)
        draft.prorations = self._prorations(subscription, period, "prorate")
        return draft

    def _meter_cycles(self, subscription: Subscription) -> Iterator[Draft]:
        if subscription.meter_interval is None:
            return
        renewals = {period.end_at for period in subscription_periods(subscription)}
        for period in usage_periods(subscription):
            rows = self._metering.rows_of(period)
            if period.is_closed and any(row.has_entries for row in rows):
                phase = subscription.phase_before(period.end_at)
                draft = _draft(subscription, "subscription_meter_cycle", period.end_at, phase)
                draft.period, draft.rows = period, rows
                if period.end_at in renewals:
                    # Events name no billing reason: only their order in time tells the two apart.
                    draft.created_at += timedelta(seconds=1)
                yield draft

    def _updates(self, subscription: Subscription) -> Iterator[Draft]:
        for period in subscription_periods(subscription):
            items = self._prorations(subscription, period, "invoice")
            if items:
                phase = next(phase for phase in subscription.phases if phase.proration == "invoice")
                draft = _draft(subscription, "subscription_update", phase.from_at, phase)
                draft.prorations = items
                yield draft

    def _prorations(self, subscription: Subscription, period: Period, behavior: str) -> list[Item]:
        items: list[Item] = []
        for old, new in zip(subscription.phases, subscription.phases[1:], strict=False):
            if new.proration == behavior and period.holds(new.from_at):
                factor = _remaining(period, new.from_at)
                if old.product is new.product:
                    items.append(_seat_change(old, new, factor))
                    continue
                items.append(_proration("Remaining time on", old, -round_half_even(old.static_amount * factor)))
                items.append(_proration("Prorated charge for", new, round_half_even(new.static_amount * factor)))
        return items

    # --- what they cost ---

    def _order(self, draft: Draft) -> Order:
        organization, subscription = self._organization, draft.subscription
        items = self._items(draft)
        discountable = sum(item.amount for item in items if not item.is_proration)
        discount = subscription.discount if subscription else None
        if discount and draft.reason == "subscription_meter_cycle" and discount.basis_points is None:
            discount = None
        discount_amount = discount.of(discountable) if discount else 0
        inclusive = organization.tax_behavior == "inclusive"
        base = sum(item.amount for item in items) - discount_amount
        tax = _tax(base, draft.customer.tax_percent, inclusive)
        order_id = self._chance.uuid("order", organization.key, draft.customer.number, draft.reason, draft.created_at)
        return Order(order_id, draft, items, discount, discount_amount, tax, inclusive)

    def _items(self, draft: Draft) -> list[Item]:
        if draft.loose_amount is not None:
            return [Item(draft.product.name, draft.loose_amount, draft.product.prices[0])]
        if draft.is_trial:
            return [Item(f"Trial period for {draft.product.name}", 0, None)]
        statics = [Item(draft.product.name, price.static_amount, price) for price in draft.statics]
        by_occurrence = draft.change is not None and draft.change.kind == "by_occurrence"
        metered = [self._metered_item(row, by_occurrence) for row in draft.rows if self._bills(row)]
        if draft.change and draft.change.kind in ("units", "cents"):
            _plant(draft.change, metered, statics)
        return [*draft.prorations, *statics, *metered]

    def _bills(self, row: UsageRow) -> bool:
        before = self._metering.previous_row(row)
        return row.has_entries or bool(before and any(usage.slips for usage in before.usages))

    def _metered_item(self, row: UsageRow, by_occurrence: bool = False) -> Item:
        """Usage marked as slipping arrived too close to its period's end and is billed one order later."""
        before = self._metering.previous_row(row)
        usages = [usage for usage in row.usages if not usage.slips]
        usages += [usage for usage in before.usages if usage.slips] if before else []
        if by_occurrence:
            usages = [usage for usage in row.usages if row.period.holds(usage.occurred_at)]
            usages += self._metering.belated(row)
        consumed = row.meter.aggregate(usages)
        item = Item("", _charged(row, consumed), row.price, row=row)
        item.billed_units = max(Decimal(0), consumed - row.credited)
        item.label = _label(row, item.billed_units)
        return item

    def _pay(self, order: Order) -> None:
        """The customer's balance first, then a charge unless what is left is below the currency's minimum."""
        customer, total = order.draft.customer, order.total
        balance = self._balances[customer]
        order.applied_balance = -min(total, balance)
        self._balances[customer] += order.applied_balance
        order.paid_at = order.draft.created_at + PAYMENT_LAG
        order.status = "paid"
        if order.draft.is_trial:
            return
        order.payment = "charge" if order.due >= MINIMUM_CHARGE else "credit"
        if order.payment == "charge":
            rate = self._organization.settlement_rates[order.draft.currency]
            order.fee = round_half_away(order.due * rate * Decimal("0.05") + 50)
        else:
            self._balances[customer] -= order.due
        self._refund(order)

    def _refund(self, order: Order) -> None:
        key = f"{order.draft.customer.number}@{order.draft.boundary_at.date().isoformat()}"
        for plan in self._organization.refunds.get(key, []):
            order.refunds.append((plan, _refund_tax(order, plan)))
        if order.refunded:
            order.status = "refunded" if order.refunded >= order.net + order.applied_balance else "partially_refunded"


def _draft(subscription: Subscription, reason: str, boundary_at: datetime, phase: Phase) -> Draft:
    created_at = boundary_at + ORDER_LAG
    currency = subscription.currency
    return Draft(subscription.customer, subscription, phase.product, reason, boundary_at, created_at, currency)


def _loose_draft(loose: LooseOrder) -> Draft:
    reason = "subscription_cycle" if loose.subscription else "purchase"
    currency = loose.product.prices[0].currency
    draft = Draft(
        loose.customer, loose.subscription, loose.product, reason, loose.created_at, loose.created_at, currency
    )
    draft.loose_amount = loose.amount
    return draft


def _remaining(period: Period, moment: datetime) -> Decimal:
    whole = int((period.end_at - period.start_at).total_seconds())
    return Decimal(int((period.end_at - moment).total_seconds())) / Decimal(whole)


def _proration(words: str, phase: Phase, amount: int) -> Item:
    price = next(price for price in phase.prices if not price.meter)
    return Item(f"{words} {phase.product.name}", amount, price, is_proration=True)


def _seat_change(old: Phase, new: Phase, factor: Decimal) -> Item:
    """One entry for the difference, cut to whole minor units."""
    price = next(price for price in new.prices if price.seats)
    amount = int((new.static_amount - old.static_amount) * factor)
    return Item(f"Seats of {new.product.name}: {old.seats} to {new.seats}", amount, price, is_proration=True)


def _charged(row: UsageRow, consumed: Decimal) -> int:
    """Beyond a bounded last tier somebody charges its rate by hand: no rule says so."""
    amount = row.amount_of(consumed)
    if amount is None:
        assert row.price.tiers
        return rate(row.price.tiers.steps[-1][1], row.price.cap_amount, consumed - row.credited)
    return amount


def _plant(change: Change, metered: list[Item], statics: list[Item]) -> None:
    item = (metered or statics)[0]
    if change.kind == "cents":
        item.amount += change.value
        return
    assert item.row is not None
    assert item.billed_units is not None
    item.billed_units += change.value
    item.amount = _charged(item.row, item.billed_units + item.row.credited)
    item.label = _label(item.row, item.billed_units)


def _tax(base: int, percent: int, inclusive: bool) -> int:
    return round_half_away(Decimal(base * percent) / (100 + percent if inclusive else 100))


def _refund_tax(order: Order, plan: RefundPlan) -> int:
    if plan.amount == order.net - order.refunded:
        return order.tax_amount - order.refunded_tax
    return round_half_even(Decimal(plan.amount * order.tax_amount) / order.net)


def _label(row: UsageRow, units: Decimal) -> str:
    """Polar prints the net quantity in en_US and the price in major units."""
    digits, symbol = MINOR_DIGITS[row.price.currency], SYMBOLS[row.price.currency]
    if row.price.tiers:
        return f"{row.meter.name} — ({units.normalize():,f} consumed units)"
    price = f"{Decimal(row.price.unit_amount).scaleb(-digits).normalize():f}"
    quantity = f"{units.normalize():,f}"
    label = f"{row.meter.name} — ({quantity} consumed units) x {symbol}{price}"
    cap = row.price.cap_amount
    if cap is None or _uncapped(row, units) <= cap:
        return label
    return f"{label} — Capped at {symbol}{Decimal(cap).scaleb(-digits):,f}"


def _uncapped(row: UsageRow, units: Decimal) -> int:
    """What the quantity would cost without the cap."""
    return round_half_away(Decimal(row.price.unit_amount) * Decimal(float(units)))
