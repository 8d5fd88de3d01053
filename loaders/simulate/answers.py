"""The answers of one organization, keyed by Polar's own ids so that they need none of the warehouse's keys."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import floor
from typing import Any

from loaders.simulate.instants import AS_OF, iso, iso_or_none
from loaders.simulate.metering import Metering, UsageRow
from loaders.simulate.model import Customer, Json, Member, Meter, Organization, Usage
from loaders.simulate.ordering import Item, Order, Ordering
from loaders.simulate.periods import is_priced, resets
from loaders.simulate.rating import running_credits
from loaders.simulate.reconciling import Finding, LineFinding, Reconciling
from loaders.simulate.revenue import Revenue

TOKENS = ("input_tokens", "output_tokens", "total_tokens")


class Answers:
    """Everything asked about one organization, as lists of flat rows."""

    def __init__(self, organization: Organization, metering: Metering, ordering: Ordering) -> None:
        self._organization, self._metering, self._ordering = organization, metering, ordering
        self._reconciling = Reconciling(organization, metering, ordering)
        self._revenue = Revenue(organization, ordering)
        self._id = {"organization_id": organization.organization_id}

    def sections(self) -> dict[str, list[Json]]:
        return {
            "identities": [self._identities()],
            "usage": [self._usage()],
            "customer_months": self._summed(lambda usage: (*_who(usage), iso(usage.occurred_at)[:7]), _MONTH),
            "usage_daily": self._summed(lambda usage: (usage.name, iso(usage.occurred_at)[:10]), _DAY),
            "billing_outcomes": self._outcomes(),
            "meter_usage": self._meter_usage(),
            "orders": [self._order(order) for order in self._ordering.orders],
            "order_reconciliation": [self._finding(finding) for finding in self._reconciling.findings()],
            "totals_by_currency": self._totals(),
            "order_lines": self._order_lines(),
            "meter_reconciliation": [self._line(line) for line in self._reconciling.line_findings()],
            "credit_ledger": self._open_windows(),
            "member_allocations": self._allocations(),
            "revenue_daily": [{**self._id, **row} for row in self._revenue.days()],
            "customer_margins": [{**self._id, **row} for row in self._revenue.margins()],
            "customers_at_a_loss": [{**self._id, "customer": customer} for customer in self._revenue.losses()],
            "orders_settled": [{**self._id, **row} for row in self._revenue.cash()],
        }

    def _identities(self) -> Json:
        usages = self._organization.usages
        strangers = {usage.external_customer_id for usage in usages if usage.customer is None}
        members = {(usage.customer, usage.member) for usage in usages if usage.member}
        known = len(self._organization.customers)
        counts = {"known_customers": known, "unknown_customers": len(strangers), "members": len(members)}
        return {**self._id, "key": self._organization.key, **counts}

    def _usage(self) -> Json:
        usages = self._organization.usages
        depths = [_depth(usage) for usage in usages if usage.lost_parent is None]
        return {
            **self._id,
            "usage_events": len(usages),
            "root_events": depths.count(0),
            "child_events": sum(depth > 0 for depth in depths),
            "orphan_events": len(usages) - len(depths),
            "max_depth": max(depths),
        }

    def _summed(self, key: Any, names: tuple[str, ...]) -> list[Json]:
        groups: dict[tuple[str | None, ...], list[Usage]] = defaultdict(list)
        for usage in self._organization.usages:
            groups[key(usage)].append(usage)
        ordered = sorted(groups.items(), key=lambda pair: tuple(part or "" for part in pair[0]))
        return [{**self._id, **dict(zip(names, parts, strict=True)), **_sums(group)} for parts, group in ordered]

    def _outcomes(self) -> list[Json]:
        counted = Counter(self._reconciling.outcome(outcome) for outcome in self._metering.outcomes)
        return [{**self._id, "outcome": outcome, "count": count} for outcome, count in sorted(counted.items())]

    def _meter_usage(self) -> list[Json]:
        return [self._usage_row(row) for row in self._priced_rows()]

    def _priced_rows(self) -> list[UsageRow]:
        return [row for rows in self._metering.rows.values() for row in rows if is_priced(row.period)]

    def _usage_row(self, row: UsageRow) -> Json:
        subscription, order = row.period.subscription, self._reconciling.order_of(row.period)
        return {
            **self._id,
            **_customer(subscription.customer),
            "subscription_id": subscription.subscription_id,
            "meter_id": row.meter.meter_id,
            "price_id": row.price.price_id,
            "order_id": order.order_id if order else None,
            "period_start_at": iso(row.period.start_at),
            "period_end_at": iso(row.period.end_at),
            "period_type": row.period.kind,
            "closing": row.period.closing,
            "event_count": len(row.usages),
            "consumed_units": float(row.consumed),
            "credited_units": float(row.credited),
            "billable_units": float(row.billable),
            "expected_amount": row.amount,
            "currency": row.price.currency,
            "is_capped": row.is_capped,
        }

    def _order(self, order: Order) -> Json:
        draft, subscription = order.draft, order.draft.subscription
        has_lines = self._organization.has_order_objects(draft.customer)
        return {
            **self._id,
            "order_id": order.order_id,
            **_customer(draft.customer),
            "subscription_id": subscription.subscription_id if subscription else None,
            "billing_reason": draft.reason if has_lines else None,
            "is_paid": order.paid_at is not None,
            "is_voided": order.status == "void",
            "has_lines": has_lines,
            "created_at": iso_or_none(draft.created_at if has_lines or order.payment != "none" else order.paid_at),
            "paid_at": iso_or_none(order.paid_at),
            "currency": draft.currency,
            "subtotal_amount": order.subtotal,
            "discount_amount": order.discount_amount,
            "net_amount": order.net,
            "tax_amount": order.tax_amount,
            "total_amount": order.total,
            "applied_balance_amount": order.applied_balance,
            "paid_amount": order.cash,
            "platform_fee_amount": order.fee,
            "refunded_amount": order.refunded,
        }

    def _finding(self, finding: Finding) -> Json:
        draft, order = finding.draft, finding.order
        period, subscription = draft.period, draft.subscription
        subscription_id = subscription.subscription_id if subscription else None
        has_objects = self._organization.has_order_objects(draft.customer)
        row = {
            "key": order.order_id if order else f"{subscription_id}@{iso(draft.boundary_at)}",
            **self._id,
            **_customer(draft.customer),
            "subscription_id": subscription_id,
            "order_id": order.order_id if order else None,
            "currency": draft.currency,
            "period_start_at": iso_or_none(period.start_at if period else None),
            "period_end_at": iso_or_none(period.end_at if period else None),
            "variance_amount": finding.variance,
            "status": finding.status,
            "cause": finding.cause,
            # Without a paid order there are no lines to compare with.
            "comparison": "lines" if has_objects and order and order.paid_at else "order_total",
        }
        return {**row, **_expected(finding), **_billed(finding, row["comparison"] == "lines")}

    def _order_lines(self) -> list[Json]:
        orders = [one for one in self._ordering.orders if self._organization.has_order_objects(one.draft.customer)]
        return [
            {**self._id, "order_id": order.order_id, **_order_line(order, item)}
            for order in orders
            for item in order.items
        ]

    def _line(self, line: LineFinding) -> Json:
        draft, order, item, row = line.finding.draft, line.finding.order, line.item, line.row
        assert draft.period is not None
        answer: Json = {
            **self._id,
            **_customer(draft.customer),
            "subscription_id": draft.period.subscription.subscription_id,
            "order_id": order.order_id if order else None,
            "period_start_at": iso(draft.period.start_at),
            "period_end_at": iso(draft.period.end_at),
            "meter_id": line.price.meter.meter_id if line.price.meter else None,
            "price_id": line.price.price_id,
            "currency": line.currency,
            "status": line.status,
            "cause": line.cause,
            "variance_amount": line.variance,
        }
        if row:
            answer |= {"expected_units": float(row.billable), "expected_amount": row.amount}
        if item and item.billed_units is not None:
            answer |= {"billed_units": float(item.billed_units), "billed_amount": item.amount}
        elif order is None or order.paid_at is None:
            answer |= {"billed_units": None, "billed_amount": None}
        return answer

    def _open_windows(self) -> list[Json]:
        """Since each meter's last reset, by when Polar received what counts."""
        made = [self._open_window(*pair) for pair in product(self._organization.customers, self._organization.meters)]
        return [window for window in made if window]

    def _open_window(self, customer: Customer, meter: Meter) -> Json | None:
        mine = [one for one in self._organization.subscriptions if one.customer is customer]
        moments = [moment for one in mine for moment, reset in resets(one) if reset is meter and moment < AS_OF]
        usages = [one for one in self._organization.usages if one.customer is customer and meter.takes(one)]
        usages = [usage for usage in usages if meter.value(usage) is not None]
        granted = [one for one in self._organization.credits if (one.customer, one.meter) == (customer, meter)]
        if not (moments or usages or granted):
            return None
        start_at = max(moments, default=None)
        granted = [one for one in granted if start_at is None or one.received_at >= start_at]
        consumed = meter.aggregate(one for one in usages if start_at is None or one.received_at >= start_at)
        credited = running_credits(one.units for one in sorted(granted, key=lambda one: one.occurred_at))
        return {
            **self._id,
            **_customer(customer),
            "meter_id": meter.meter_id,
            "window_start_at": iso_or_none(start_at),
            "granted_units": float(sum(one.units for one in granted)),
            "consumed_units": float(consumed),
            "credited_units": float(credited),
            "balance_units": float(credited - consumed),
        }

    def _allocations(self) -> list[Json]:
        rows = (row for row in self._priced_rows() if row.meter.is_summable() and row.usages)
        return [{**self._id, **share} for row in rows for share in _shares(row)]

    def _totals(self) -> list[Json]:
        groups: dict[str, list[Order]] = defaultdict(list)
        for order in self._ordering.orders:
            if order.paid_at:
                groups[order.draft.currency].append(order)
        return [{**self._id, "currency": currency, **_money(orders)} for currency, orders in sorted(groups.items())]


_MONTH = ("customer_id", "external_customer_id", "month")
_DAY = ("event_name", "usage_date")


def _order_line(order: Order, item: Item) -> Json:
    kind = "proration" if item.is_proration else "metered" if item.row else "static"
    return {
        "label": item.label,
        "line_type": kind,
        "meter_id": item.row.meter.meter_id if item.row else None,
        "price_id": item.price.price_id if item.price else None,
        "amount": item.amount,
        "currency": order.draft.currency,
        "units": None if item.billed_units is None else float(item.billed_units),
    }


def _shares(row: UsageRow) -> list[Json]:
    """The row's amount by member and units, largest remainder; equal remainders at the cut leave the amount open."""
    groups: dict[Member | None, list[Usage]] = defaultdict(list)
    for usage in row.usages:
        groups[usage.member].append(usage)
    units = {member: Fraction(row.meter.aggregate(usages)) for member, usages in groups.items()}
    whole = sum(units.values())
    quotas = {member: (row.amount or 0) * part / whole if whole else Fraction(0) for member, part in units.items()}
    ranked = sorted((quota - floor(quota) for quota in quotas.values()), reverse=True)
    left_over = (row.amount or 0) - sum(map(floor, quotas.values())) if whole else 0
    shares = []
    for member, quota in quotas.items():
        share: Json = {
            "subscription_id": row.period.subscription.subscription_id,
            "price_id": row.price.price_id,
            "period_start_at": iso(row.period.start_at),
            "external_member_id": member.external_id if member else None,
            "units": float(units[member]),
        }
        remainder = quota - floor(quota)
        is_tied = 0 < left_over < len(ranked) and ranked[left_over - 1] == ranked[left_over] == remainder
        if not is_tied:
            one_more = left_over > 0 and remainder >= ranked[left_over - 1]
            share["expected_amount"] = None if row.amount is None else floor(quota) + one_more
        shares.append(share)
    return shares


def _customer(customer: Customer) -> Json:
    return {"customer_id": customer.customer_id, "external_customer_id": customer.external_id}


def _who(usage: Usage) -> tuple[str | None, str | None]:
    if usage.customer is None:
        return None, usage.external_customer_id
    return usage.customer.customer_id, usage.customer.external_id


def _depth(usage: Usage) -> int:
    return 0 if usage.parent is None else _depth(usage.parent) + 1


def _sums(usages: Iterable[Usage]) -> Json:
    """Cost in US cents as exact text, tokens as sent."""
    cost, count, tokens = Decimal(0), 0, Counter[str]()
    for usage in usages:
        count += 1
        cost += Decimal(usage.metadata.get("_cost", {}).get("amount", 0))
        tokens.update({name: usage.metadata.get("_llm", {}).get(name, 0) for name in TOKENS})
    named = {f"llm_{name}": tokens[name] for name in TOKENS}
    return {"event_count": count, "cost_amount": f"{cost.normalize():f}", "cost_currency": "usd", **named}


def _expected(finding: Finding) -> Json:
    """Expected amounts and bounds, where the order can be compared at all."""
    draft = finding.draft
    if not finding.is_comparable:
        return {}
    row: Json = {
        "expected_static_amount": draft.expected_static,
        "expected_metered_amount": draft.expected_metered,
        "expected_subtotal_amount": draft.expected_static + draft.expected_metered,
    }
    if finding.allowed is not None:
        row["allowed_variance_amount"] = finding.allowed
    if finding.cause == "cutoff_timing":
        row |= {"cutoff_low_amount": finding.cutoff_low, "cutoff_high_amount": finding.cutoff_high}
    return row


def _billed(finding: Finding, has_lines: bool) -> Json:
    """What the paid order says, or since when an order is owed. Prorations are seen in lines only."""
    order = finding.order
    if order is None or order.paid_at is None:
        return {"due_at": iso(finding.draft.boundary_at)}
    return {"proration_amount": order.proration if has_lines else 0, "billed_subtotal_amount": order.subtotal}


def _money(orders: list[Order]) -> Json:
    return {
        "order_count": len(orders),
        "subtotal_amount": sum(order.subtotal for order in orders),
        "discount_amount": sum(order.discount_amount for order in orders),
        "net_amount": sum(order.net for order in orders),
        "tax_amount": sum(order.tax_amount for order in orders),
        "total_amount": sum(order.total for order in orders),
        "paid_amount": sum(order.cash for order in orders),
        "refunded_amount": sum(order.refunded for order in orders),
    }
