"""What an organization's orders and usage come to: revenue by day, margins by customer and month, cash by order."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from loaders.simulate.instants import AS_OF
from loaders.simulate.model import Customer, Json, Organization
from loaders.simulate.ordering import Order, Ordering
from loaders.simulate.rating import round_half_away, round_half_even

SETTLEMENT = "usd"


@dataclass(frozen=True)
class Settled:
    """A paid order as Polar settles it: revenue follows the order, refunds and fees the money."""

    order: Order
    currency: str
    revenue: int
    fee: int
    refund: int

    @property
    def net(self) -> int:
        return self.revenue - self.fee - self.refund

    @property
    def booked_at(self) -> datetime:
        """Orders without a charge or credit are known by their payment alone."""
        paid_at = self.order.paid_at
        assert paid_at is not None
        return paid_at if self.order.payment == "none" else self.order.draft.created_at


class Revenue:
    """All settled orders of one organization, and what its usage cost."""

    def __init__(self, organization: Organization, ordering: Ordering) -> None:
        self._organization = organization
        self._orders = [order for order in ordering.orders if order.paid_at]
        self.settled = [self._settle(order) for order in self._orders]

    def _settle(self, order: Order) -> Settled:
        known = self._rate(order)
        if order.payment == "none":
            return Settled(order, SETTLEMENT, 0, 0, 0)
        rate = Decimal(1) if known is None else known
        refund = sum(round_half_away(plan.amount * rate) for plan, _ in order.refunds if not plan.is_reversed)
        currency = order.draft.currency if known is None and order.net else SETTLEMENT
        return Settled(order, currency, round_half_even(order.net * rate), order.fee, refund)

    def _rate(self, order: Order) -> Decimal | None:
        """What was not charged borrows the rate of an earlier charge of the customer; None where there is none."""
        currency, customer = order.draft.currency, order.draft.customer
        charged = [
            other
            for other in self._orders
            if other.payment == "charge" and other.draft.customer is customer and other.draft.currency == currency
        ]
        is_known = order.payment == "charge" or currency == SETTLEMENT
        is_known |= any(other.draft.created_at < order.draft.created_at for other in charged)
        return self._organization.settlement_rates[currency] if is_known else None

    def days(self) -> Iterator[Json]:
        """Revenue by day and currency."""
        groups: dict[tuple[date, str], list[Settled]] = defaultdict(list)
        for settled in self.settled:
            groups[settled.booked_at.date(), settled.currency].append(settled)
        for (day, currency), of_day in sorted(groups.items()):
            yield {
                "revenue_date": day.isoformat(),
                "currency": currency,
                "order_count": len(of_day),
                "revenue_amount": sum(one.revenue for one in of_day),
                "fee_amount": sum(one.fee for one in of_day),
                "refund_amount": sum(one.refund for one in of_day),
                "dispute_amount": 0,
                "net_revenue_amount": sum(one.net for one in of_day),
            }

    def margins(self) -> Iterator[Json]:
        """Revenue and cost by customer and month, in the one currency that both are in; cents as exact text."""
        revenues: dict[tuple[str, str | None, str], int] = defaultdict(int)
        costs: dict[tuple[str, str | None, str], Decimal] = defaultdict(Decimal)
        for settled in self.settled:
            if settled.revenue or settled.fee or settled.refund:
                month = settled.booked_at.date().isoformat()[:7]
                revenues[*_named(settled.order.draft.customer, None), month] += settled.revenue
        for usage in self._organization.usages:
            cost = usage.metadata.get("_cost")
            if cost:
                month = usage.occurred_at.date().isoformat()[:7]
                costs[*_named(usage.customer, usage.external_customer_id), month] += Decimal(cost["amount"])
        for key in sorted({*revenues, *costs}, key=str):
            customer_id, external_id, month = key
            yield {
                "customer_id": customer_id or None,
                "external_customer_id": external_id,
                "month": month,
                "currency": SETTLEMENT,
                "revenue_amount": revenues[key],
                "cost_amount": f"{costs[key].normalize():f}",
                "margin_amount": f"{(revenues[key] - costs[key]).normalize():f}",
            }

    def losses(self) -> list[str]:
        """Customers whose usage cost more than they paid, but for the last month, which no order has billed yet."""
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for row in self.margins():
            is_last = row["month"] == AS_OF.date().isoformat()[:7]
            cost = Decimal(0) if is_last else Decimal(row["cost_amount"])
            sums[row["customer_id"] or row["external_customer_id"]] += row["revenue_amount"] - cost
        return sorted(customer for customer, margin in sums.items() if margin < 0)

    def cash(self) -> Iterator[Json]:
        """From what an order came to, to what was charged and settled of it."""
        for settled in self.settled:
            order = settled.order
            yield {
                "order_id": order.order_id,
                "total_amount": order.total,
                "applied_balance_amount": order.applied_balance,
                "uncharged_amount": order.due - order.cash,
                "paid_amount": order.cash,
                "settlement_currency": settled.currency,
                "revenue_amount": settled.revenue,
                "fee_amount": settled.fee,
                "refund_amount": settled.refund,
            }


def _named(customer: Customer | None, external_id: str | None) -> tuple[str, str | None]:
    return (customer.customer_id, customer.external_id) if customer else ("", external_id)
