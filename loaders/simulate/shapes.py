"""The world in the shapes of Polar's API: the only module that knows how its JSON looks."""

from datetime import datetime
from typing import Any

from loaders.simulate.happenings import SystemEvent, email, full_name, net_amount, refund_id
from loaders.simulate.instants import AS_OF, iso, iso_or_none
from loaders.simulate.metering import Metering
from loaders.simulate.model import (
    API,
    EXPORT,
    Chance,
    Customer,
    Discount,
    Json,
    Meter,
    Organization,
    Price,
    Product,
    Subscription,
    Usage,
)
from loaders.simulate.ordering import Item, Order, Ordering
from loaders.simulate.periods import Period, subscription_periods, usage_periods
from loaders.simulate.rating import Tiers


class Shapes:
    """Writes the objects of one organization as API JSON."""

    def __init__(self, organization: Organization, metering: Metering, ordering: Ordering, chance: Chance) -> None:
        self._organization, self._metering, self._ordering = organization, metering, ordering
        self._chance = chance

    # --- customers and catalog ---

    def customer(self, customer: Customer) -> Json:
        """Email, name and address are canaries."""
        address = {
            "line1": f"canary-address {customer.number}",
            "line2": None,
            "postal_code": "00000",
            "city": "canary-city",
            "state": None,
            "country": customer.country,
        }
        return {
            "id": customer.customer_id,
            "created_at": iso(customer.created_at),
            "modified_at": None,
            "metadata": {"tier": "gold" if customer.number % 2 else "silver"},
            "external_id": customer.external_id,
            "email": email(self._organization, customer),
            "email_verified": True,
            "type": "team" if customer.is_team else "individual",
            "name": full_name(customer),
            "billing_name": full_name(customer),
            "billing_address": address,
            "tax_id": None,
            "locale": "en",
            "organization_id": self._organization.organization_id,
            "default_payment_method_id": None,
            "deleted_at": None,
            "first_user_event_at": None,
            "avatar_url": None,
        }

    def meter(self, meter: Meter) -> Json:
        clauses: list[Json] = [{"property": "name", "operator": "eq", "value": meter.event_name}]
        if meter.excluded_region:
            clauses.append({"property": "region", "operator": "ne", "value": meter.excluded_region})
        aggregation: Json = {"func": meter.function}
        if meter.property:
            aggregation["property"] = meter.property
        return {
            "metadata": {},
            "created_at": iso(meter.created_at),
            "modified_at": None,
            "id": meter.meter_id,
            "name": meter.name,
            "unit": "token" if meter.property == "_llm.total_tokens" else "scalar",
            "custom_label": None,
            "custom_multiplier": None,
            "filter": {"conjunction": "and", "clauses": clauses},
            "aggregation": aggregation,
            "organization_id": self._organization.organization_id,
            "archived_at": iso_or_none(meter.archived_at),
        }

    def price(self, price: Price, product: Product) -> Json:
        shape: Json = {
            "created_at": iso_or_none(price.created_at),
            "modified_at": None,
            "id": price.price_id,
            "source": "catalog",
            "amount_type": "metered_unit" if price.meter else "fixed",
            "price_currency": price.currency,
            "tax_behavior": self._organization.tax_behavior,
            "is_archived": price.price_id not in {one.price_id for one in product.prices},
            "product_id": product.product_id,
        }
        if price.seats and price.tiers:
            return {**shape, "amount_type": "seat_based", "seat_tiers": _seat_tiers(price.tiers)}
        if price.is_custom:
            chosen: Json = {"minimum_amount": 500, "maximum_amount": None, "preset_amount": 1000}
            return {**shape, "amount_type": "custom", **chosen}
        if price.meter is None:
            return {**shape, "price_amount": price.static_amount}
        meter = price.meter
        named: Json = {"id": meter.meter_id, "name": meter.name, "unit": "scalar"}
        named |= {"custom_label": None, "custom_multiplier": None}
        terms = {"cap_amount": price.cap_amount, "meter_id": meter.meter_id, "meter": named}
        if price.tiers:
            steps = [{"bound": bound, "unit_amount": unit_amount} for bound, unit_amount in price.tiers.steps]
            tiers = {"type": price.tiers.kind, "tiers": steps}
            return {**shape, **terms, "amount_type": "metered_tiers", "tiers": tiers}
        return {**shape, **terms, "unit_amount": price.unit_amount}

    def product(self, product: Product) -> Json:
        prices = [self.price(price, product) for price in product.prices]
        empty: Json = {"benefits": [], "medias": [], "attached_custom_fields": []}
        return {**self._product_core(product), "is_deletable": False, "prices": prices, **empty}

    def _product_core(self, product: Product) -> Json:
        return {
            "metadata": {},
            "id": product.product_id,
            "created_at": iso(self._organization.catalog_created_at),
            "modified_at": self._repriced_at(product),
            "trial_interval": "day" if product.trial_days else None,
            "trial_interval_count": product.trial_days,
            "name": product.name,
            "description": None,
            "visibility": "public",
            "recurring_interval": product.interval,
            "recurring_interval_count": 1 if product.interval else None,
            "meter_interval": product.meter_interval,
            "meter_interval_count": 1 if product.meter_interval else None,
            "is_recurring": product.interval is not None,
            "is_archived": False,
            "organization_id": self._organization.organization_id,
        }

    def _repriced_at(self, product: Product) -> str | None:
        """A product changes when a price is added to it after its creation."""
        moments = [price.created_at for price in product.prices if price.created_at]
        return iso_or_none(max((one for one in moments if one > self._organization.catalog_created_at), default=None))

    def _discount(self, discount: Discount | None) -> Json | None:
        if discount is None:
            return None
        shape: Json = {
            "duration": "forever",
            "type": "fixed" if discount.basis_points is None else "percentage",
            "created_at": iso(self._organization.catalog_created_at),
            "modified_at": None,
            "id": discount.discount_id,
            "metadata": {},
            "name": discount.name,
            "code": None,
            "starts_at": None,
            "ends_at": None,
            "max_redemptions": None,
            "max_redemptions_per_customer": None,
            "redemptions_count": 1,
            "organization_id": self._organization.organization_id,
        }
        if discount.basis_points is not None:
            return {**shape, "basis_points": discount.basis_points}
        return {**shape, "amount": discount.amount, "currency": "usd", "amounts": {"usd": discount.amount}}

    # --- subscriptions ---

    def subscription(self, subscription: Subscription) -> Json:
        phase = subscription.phases[-1]
        return {
            **self._subscription_core(subscription),
            "metadata": {},
            "custom_field_data": {},
            "customer": self.customer(subscription.customer),
            "product": self.product(phase.product),
            "discount": self._discount(subscription.discount),
            "prices": [self.price(price, phase.product) for price in phase.prices],
            "meters": self._pending_meters(subscription),
            "pending_update": None,
        }

    def _subscription_core(self, subscription: Subscription) -> Json:
        phase, current = subscription.phases[-1], subscription_periods(subscription)[-1]
        paused_at = subscription.paused_since(AS_OF)
        return {
            "created_at": iso(subscription.started_at),
            "modified_at": iso(_touched_at(subscription, current)),
            "id": subscription.subscription_id,
            "amount": net_amount(subscription, phase),
            "currency": subscription.currency,
            "recurring_interval": phase.product.interval,
            "recurring_interval_count": 1,
            "status": "canceled" if subscription.ended_at else "paused" if paused_at else "active",
            **_current_periods(subscription, current),
            "trial_start": iso(subscription.started_at) if subscription.trial_ends_at else None,
            "trial_end": iso_or_none(subscription.trial_ends_at),
            "cancel_at_period_end": False,
            "canceled_at": iso_or_none(subscription.canceled_at),
            "started_at": iso(subscription.started_at),
            "ends_at": iso_or_none(subscription.ended_at),
            "ended_at": iso_or_none(subscription.ended_at),
            "past_due_at": None,
            "pause_at_period_end": False,
            "paused_at": iso_or_none(paused_at),
            "resumes_at": None,
            "customer_id": subscription.customer.customer_id,
            "product_id": phase.product.product_id,
            "discount_id": subscription.discount.discount_id if subscription.discount else None,
            "checkout_id": None,
            "seats": phase.seats,
            "units": None,
            "customer_cancellation_reason": None,
            "customer_cancellation_comment": None,
        }

    def _pending_meters(self, subscription: Subscription) -> list[Json]:
        rows = self._metering.rows_of(usage_periods(subscription)[-1])
        return [
            {
                "created_at": iso(subscription.started_at),
                "modified_at": None,
                "id": self._chance.uuid("subscription-meter", subscription.subscription_id, row.meter.meter_id),
                "consumed_units": float(row.consumed),
                "credited_units": row.credited,
                "amount": row.amount or 0,
                "meter_id": row.meter.meter_id,
                "meter": self.meter(row.meter),
            }
            for row in rows
        ]

    # --- orders and refunds ---

    def order(self, order: Order, as_paid: bool = False) -> Json:
        """The order as it is now, or (`as_paid`) as it was at the moment of payment, before any refund."""
        draft, refunds = order.draft, [] if as_paid else order.refunds
        kept = [(plan.amount, tax) for plan, tax in refunds if not plan.is_reversed]
        refunded, refunded_tax = sum(amount for amount, _ in kept), sum(tax for _, tax in kept)
        subscription = draft.subscription
        return {
            "id": order.order_id,
            "created_at": iso(draft.created_at),
            "modified_at": iso_or_none(max((plan.at for plan, _ in refunds), default=order.paid_at)),
            "status": "paid" if as_paid else order.status,
            "paid": order.paid_at is not None,
            **_amounts(order, refunded, refunded_tax),
            "currency": draft.currency,
            "billing_reason": draft.reason,
            "billing_name": full_name(draft.customer),
            "billing_address": self.customer(draft.customer)["billing_address"],
            "invoice_number": f"INV-{order.order_id[:8].upper()}",
            "is_invoice_generated": order.paid_at is not None,
            "receipt_number": None,
            "seats": subscription.phase_at(draft.boundary_at).seats if subscription else None,
            "units": None,
            "customer_id": draft.customer.customer_id,
            "product_id": draft.product.product_id,
            "discount_id": order.discount.discount_id if order.discount else None,
            "subscription_id": subscription.subscription_id if subscription else None,
            "checkout_id": None,
            "next_payment_attempt_at": None,
            "metadata": {},
            "custom_field_data": {},
            "platform_fee_amount": order.fee,
            "platform_fee_currency": "usd" if order.fee else None,
            "customer": self.customer(draft.customer),
            "product": self._product_core(draft.product),
            "discount": self._discount(order.discount),
            "subscription": {"metadata": {}, **self._subscription_core(subscription)} if subscription else None,
            "items": [self._item(order, number, item) for number, item in enumerate(order.items)],
            "description": f"{draft.product.name} — {draft.reason}",
        }

    def _item(self, order: Order, number: int, item: Item) -> Json:
        period = item.row.period if item.row else None
        return {
            "created_at": iso(order.draft.created_at),
            "modified_at": None,
            "id": self._chance.uuid("item", order.order_id, number),
            "label": item.label,
            "amount": item.amount,
            "tax_amount": 0,
            "proration": item.is_proration,
            "product_price_id": item.price.price_id if item.price else None,
            "start_timestamp": iso(period.start_at) if period else None,
            "end_timestamp": iso(period.end_at) if period else None,
        }

    def refunds(self, order: Order) -> list[Json]:
        return [self._refund(order, number) for number in range(len(order.refunds))]

    def _refund(self, order: Order, number: int) -> Json:
        plan, tax = order.refunds[number]
        subscription = order.draft.subscription
        return {
            "created_at": iso(plan.at),
            "modified_at": None,
            "id": refund_id(self._chance, order, number),
            "metadata": {},
            "status": "failed" if plan.is_reversed else "succeeded",
            "reason": "customer_request",
            "amount": plan.amount,
            "tax_amount": tax,
            "currency": order.draft.currency,
            "organization_id": self._organization.organization_id,
            "order_id": order.order_id,
            "subscription_id": subscription.subscription_id if subscription else None,
            "customer_id": order.draft.customer.customer_id,
            "revoke_benefits": False,
            "dispute": None,
        }

    # --- events ---

    def system_event(self, event: SystemEvent, with_receipt: bool) -> Json:
        shape = {
            "id": event.event_id,
            "timestamp": iso(event.occurred_at),
            "organization_id": self._organization.organization_id,
            "customer_id": event.customer.customer_id,
            "customer": self.customer(event.customer),
            "external_customer_id": None,
            "member_id": None,
            "external_member_id": None,
            "child_count": 0,
            "parent_id": None,
            "label": event.name.replace(".", " ").replace("_", " ").capitalize(),
            "source": "system",
            "name": event.name,
            "metadata": event.metadata,
        }
        return {**shape, "ingested_at": iso(event.received_at)} if with_receipt else shape

    def recorded(self, usage: Usage) -> Json:
        """As Polar reads it back; a database export adds when it was received and the id it was sent with."""
        by_external_id = usage.external_customer_id is not None
        customer, member = usage.customer, usage.member
        shape = {
            "id": usage.event_id,
            "timestamp": iso(usage.occurred_at),
            "organization_id": self._organization.organization_id,
            "customer_id": None if by_external_id or customer is None else customer.customer_id,
            "customer": self.customer(customer) if customer else None,
            "external_customer_id": usage.external_customer_id,
            "member_id": member.member_id if member else None,
            "external_member_id": member.external_id if member else None,
            "child_count": usage.child_count,
            "parent_id": usage.parent.event_id if usage.parent else None,
            "label": usage.name,
            "source": "user",
            "name": usage.name,
            "metadata": usage.metadata,
        }
        if usage.channel == EXPORT:
            shape |= {"ingested_at": iso(usage.received_at), "external_id": usage.external_id}
        return shape

    def submitted(self, usage: Usage) -> Json:
        """The create payload, as the merchant sent it; costs alternate between number and text."""
        shape: Json = {"name": usage.name, "timestamp": iso(usage.occurred_at)}
        shape |= _submitted_customer(usage)
        external_id = f"sent-{usage.event_id[:13]}" if usage.channel == API else usage.external_id
        if external_id:
            shape["external_id"] = external_id
        if usage.parent or usage.lost_parent:
            shape["parent_id"] = usage.parent.external_id if usage.parent else usage.lost_parent
        shape["organization_id"] = self._organization.organization_id
        return {**shape, "metadata": _submitted_metadata(usage)}


def _submitted_customer(usage: Usage) -> Json:
    shape: Json = {}
    if usage.external_customer_id:
        shape["external_customer_id"] = usage.external_customer_id
        if usage.member:
            shape["external_member_id"] = usage.member.external_id
    elif usage.customer:
        shape["customer_id"] = usage.customer.customer_id
    return shape


def _submitted_metadata(usage: Usage) -> Json:
    cost = usage.metadata.get("_cost")
    if cost is None or usage.occurred_at.second % 2:
        return usage.metadata
    return {**usage.metadata, "_cost": {**cost, "amount": float(cost["amount"])}}


def _amounts(order: Order, refunded: int, refunded_tax: int) -> dict[str, Any]:
    return {
        "subtotal_amount": order.subtotal,
        "discount_amount": order.discount_amount,
        "net_amount": order.net,
        "tax_amount": order.tax_amount,
        "total_amount": order.total,
        "applied_balance_amount": order.applied_balance,
        "due_amount": order.due,
        "refunded_amount": refunded,
        "refunded_tax_amount": refunded_tax,
        "refundable_amount": max(0, order.net + order.applied_balance - refunded),
        "refundable_tax_amount": max(0, order.tax_amount - refunded_tax),
    }


def _seat_tiers(tiers: Tiers) -> Json:
    """The older shape of tiers: first and last seat of each."""
    steps, first = [], 1
    for bound, unit_amount in tiers.steps:
        steps.append({"min_seats": first, "max_seats": bound, "price_per_seat": int(unit_amount)})
        first = (bound or 0) + 1
    return {"seat_tier_type": tiers.kind, "tiers": steps, "minimum_seats": 1, "maximum_seats": None}


def _touched_at(subscription: Subscription, current: Period) -> datetime:
    return subscription.ended_at or subscription.paused_since(AS_OF) or min(current.start_at, AS_OF)


def _current_periods(subscription: Subscription, current: Period) -> Json:
    meter = usage_periods(subscription)[-1] if subscription.meter_interval else None
    return {
        "current_period_start": iso(current.start_at),
        "current_period_end": iso(current.end_at),
        "current_meter_period_start": iso(meter.start_at) if meter else None,
        "current_meter_period_end": iso(meter.end_at) if meter else None,
    }
