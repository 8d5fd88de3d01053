"""The system events Polar writes about what happened: subscriptions, orders, balances, refunds, credits."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from loaders.simulate.instants import AS_OF, iso
from loaders.simulate.model import Chance, Customer, Json, Organization, Phase, RefundPlan, Subscription
from loaders.simulate.ordering import Order, Ordering
from loaders.simulate.periods import Period, resets, subscription_periods
from loaders.simulate.rating import round_half_away


@dataclass(eq=False)
class SystemEvent:
    event_id: str
    name: str
    customer: Customer
    occurred_at: datetime
    received_at: datetime
    metadata: Json


class Happenings:
    """Writes every system event of one organization, oldest first."""

    def __init__(self, organization: Organization, ordering: Ordering, chance: Chance) -> None:
        self._organization, self._ordering, self._chance = organization, ordering, chance
        self._count = 0

    def events(self) -> list[SystemEvent]:
        made = [*self._customers(), *self._subscriptions(), *self._orders(), *self._credits()]
        starts_at = self._organization.exports_start_at
        seen = [event for event in made if starts_at <= event.occurred_at < AS_OF]
        return sorted(seen, key=lambda event: (event.occurred_at, event.event_id))

    def _event(self, name: str, customer: Customer, moment: datetime, metadata: Json) -> SystemEvent:
        self._count += 1
        event_id = self._chance.uuid(self._organization.key, "system", self._count)
        return SystemEvent(event_id, name, customer, moment, moment + timedelta(seconds=1), metadata)

    def _customers(self) -> Iterator[SystemEvent]:
        for customer in self._organization.customers:
            metadata = {
                "customer_id": customer.customer_id,
                "customer_email": email(self._organization, customer),
                "customer_name": full_name(customer),
                "customer_external_id": customer.external_id,
            }
            yield self._event("customer.created", customer, customer.created_at, metadata)

    # --- subscriptions ---

    def _subscriptions(self) -> Iterator[SystemEvent]:
        for subscription in self._organization.subscriptions:
            customer, started_at = subscription.customer, subscription.started_at
            metadata = {**terms(subscription, subscription.phases[0]), "started_at": iso(started_at)}
            yield self._event("subscription.created", customer, started_at, metadata)
            for period in subscription_periods(subscription):
                yield from self._ends(subscription, period)
            for moment, meter in resets(subscription):
                yield self._event("meter.reset", customer, moment, {"meter_id": meter.meter_id})
            yield from self._plan_changes(subscription)
            yield from self._recovery(subscription)

    def _ends(self, subscription: Subscription, period: Period) -> Iterator[SystemEvent]:
        customer, moment = subscription.customer, period.end_at
        metadata = terms(subscription, subscription.phase_before(moment))
        if period.closing in ("cycle", "trial"):
            # A change for the next period shows here only.
            cycled = terms(subscription, subscription.phase_at(moment))
            yield self._event("subscription.cycled", customer, moment, cycled)
        elif period.closing == "pause":
            resumed = next(resumed for paused, resumed in subscription.pauses if paused == moment)
            yield self._event("subscription.paused", customer, moment, {**metadata, "paused_at": iso(moment)})
            yield self._event("subscription.resumed", customer, resumed, metadata)
            yield self._event("subscription.cycled", customer, resumed, metadata)
        elif period.closing in ("final", "revoked"):
            yield from self._cancellation(subscription, metadata)

    def _cancellation(self, subscription: Subscription, terms_: Json) -> Iterator[SystemEvent]:
        """A cancellation at the period's end is written twice: when asked for, and when it takes effect."""
        customer, ended_at = subscription.customer, subscription.ended_at
        assert subscription.canceled_at is not None
        assert ended_at is not None
        at_end = subscription.ending == "final"
        metadata = {
            **terms_,
            "canceled_at": iso(subscription.canceled_at),
            "ends_at": iso(ended_at),
            "cancel_at_period_end": at_end,
        }
        if at_end:
            yield self._event("subscription.canceled", customer, subscription.canceled_at, metadata)
        yield self._event("subscription.canceled", customer, ended_at, metadata)
        yield self._event("subscription.revoked", customer, ended_at, terms_)

    def _plan_changes(self, subscription: Subscription) -> Iterator[SystemEvent]:
        for old, new in zip(subscription.phases, subscription.phases[1:], strict=False):
            if old.product is new.product:
                yield from self._seat_change(subscription, old, new)
                continue
            ids = {"old_product_id": old.product.product_id, "new_product_id": new.product.product_id}
            moment, subscription_id = new.requested_at or new.from_at, subscription.subscription_id
            yield self._event(
                "subscription.product_updated",
                subscription.customer,
                moment,
                {"subscription_id": subscription_id, **ids},
            )
            metadata = {
                "subscription_id": subscription_id,
                "product_id": new.product.product_id,
                "proration_behavior": new.proration,
            }
            yield self._event("subscription.updated", subscription.customer, moment, metadata)

    def _seat_change(self, subscription: Subscription, old: Phase, new: Phase) -> Iterator[SystemEvent]:
        named = {"subscription_id": subscription.subscription_id, "proration_behavior": new.proration}
        seats = {**named, "old_seats": old.seats, "new_seats": new.seats}
        yield self._event("subscription.seats_updated", subscription.customer, new.from_at, seats)
        updated = {**named, "seats": new.seats}
        yield self._event("subscription.updated", subscription.customer, new.from_at, updated)

    def _recovery(self, subscription: Subscription) -> Iterator[SystemEvent]:
        if subscription.recovered_at is None:
            return
        void = next(order for order in self._ordering.orders if order.status == "void")
        metadata = terms(subscription, subscription.phases[0])
        failed_at = void.draft.created_at + timedelta(minutes=2)
        past_due = {**metadata, "past_due_at": iso(failed_at)}
        yield self._event("subscription.past_due", subscription.customer, failed_at, past_due)
        voided = {"order_id": void.order_id, "amount": void.total, "currency": void.draft.currency}
        yield self._event("order.voided", subscription.customer, subscription.recovered_at, voided)
        yield self._event("subscription.reactivated", subscription.customer, subscription.recovered_at, metadata)

    # --- orders ---

    def _orders(self) -> Iterator[SystemEvent]:
        for order in self._ordering.orders:
            if order.paid_at is None:
                continue
            yield self._event("order.paid", order.draft.customer, order.paid_at, paid_metadata(order))
            if order.payment != "none":
                yield self._balance(order)
            yield from self._refunds(order)

    def _balance(self, order: Order) -> SystemEvent:
        """Settlement view, dated at the order's creation; a charge follows the cash, a credit the order."""
        draft = order.draft
        rate = self._organization.settlement_rates[draft.currency]
        metadata: Json = {"order_id": order.order_id, **belongings(order), "tax_amount": order.tax_amount}
        if order.payment == "credit":
            metadata |= {"amount": order.net, "currency": draft.currency, "fee": 0}
            return self._event("balance.credit_order", draft.customer, draft.created_at, metadata)
        charged = order.due - order.tax_amount
        metadata |= {
            "transaction_id": self._chance.uuid("transaction", order.order_id),
            "amount": round_half_away(charged * rate),
            "net_amount": order.net,
            "currency": "usd",
            "presentment_amount": charged,
            "presentment_currency": draft.currency,
            "fee": order.fee,
            "exchange_rate": float(rate),
        }
        return self._event("balance.order", draft.customer, draft.created_at, metadata)

    def _refunds(self, order: Order) -> Iterator[SystemEvent]:
        cumulated = refunded_tax = 0
        for number, (plan, tax) in enumerate(order.refunds):
            refundable = order.total + order.applied_balance - cumulated - refunded_tax
            cumulated, refunded_tax = cumulated + plan.amount, refunded_tax + tax
            customer, currency = order.draft.customer, order.draft.currency
            metadata = {"order_id": order.order_id, "refunded_amount": cumulated, "currency": currency}
            yield self._event("order.refunded", customer, plan.at, metadata)
            money = self._refund_money(order, number, plan, tax)
            booked = {**money, "refundable_amount": refundable}
            yield self._event("balance.refund", customer, plan.at + timedelta(seconds=20), booked)
            if plan.is_reversed:
                back = {key: -money[key] for key in ("amount", "tax_amount", "presentment_amount")}
                reversal = {**money, **back, "transaction_id": self._chance.uuid("reversal", order.order_id, number)}
                yield self._event("balance.refund_reversal", customer, plan.at + timedelta(days=2), reversal)

    def _refund_money(self, order: Order, number: int, plan: RefundPlan, tax: int) -> Json:
        rate = self._organization.settlement_rates[order.draft.currency]
        return {
            "transaction_id": self._chance.uuid("refund-transaction", order.order_id, number),
            "refund_id": refund_id(self._chance, order, number),
            "order_id": order.order_id,
            "order_created_at": iso(order.draft.created_at),
            **belongings(order),
            "amount": -round_half_away(plan.amount * rate),
            "currency": "usd",
            "presentment_amount": -plan.amount,
            "presentment_currency": order.draft.currency,
            "tax_amount": -round_half_away(tax * rate),
            "fee": 0,
            "exchange_rate": float(rate),
        }

    def _credits(self) -> Iterator[SystemEvent]:
        for credit in self._organization.credits:
            metadata = {"meter_id": credit.meter.meter_id, "units": credit.units, "rollover": credit.is_rollover}
            event = self._event("meter.credited", credit.customer, credit.occurred_at, metadata)
            event.event_id, event.received_at = credit.event_id, credit.received_at
            yield event


def refund_id(chance: Chance, order: Order, number: int) -> str:
    """One id for the refund object and its events."""
    return chance.uuid("refund", order.order_id, number)


def email(organization: Organization, customer: Customer) -> str:
    """A canary: no such text may reach the published file."""
    return f"canary-email-{organization.key}-{customer.number:02}@example.com"


def full_name(customer: Customer) -> str:
    """A canary as well."""
    return f"Customer {customer.number:02} canary-name"


def net_amount(subscription: Subscription, phase: Phase) -> int:
    """Polar's subscription amount: static prices minus the active discount."""
    static = phase.static_amount
    return static - (subscription.discount.of(static) if subscription.discount else 0)


def terms(subscription: Subscription, phase: Phase) -> Json:
    """The five fields most subscription events carry."""
    return {
        "subscription_id": subscription.subscription_id,
        "product_id": phase.product.product_id,
        "amount": net_amount(subscription, phase),
        "currency": subscription.currency,
        "recurring_interval": phase.product.interval,
        "recurring_interval_count": 1,
    }


def belongings(order: Order) -> Json:
    """Product and subscription ids; the latter is absent on one-time orders."""
    ids = {"product_id": order.draft.product.product_id}
    if order.draft.subscription:
        ids["subscription_id"] = order.draft.subscription.subscription_id
    return ids


def paid_metadata(order: Order) -> Json:
    """`amount` is the order's total, before the customer's balance; the fee is booked later, so it reads 0."""
    interval = order.draft.product.interval
    metadata: Json = {
        "order_id": order.order_id,
        **belongings(order),
        "billing_type": "recurring" if interval else "one_time",
        "amount": order.total,
        "currency": order.draft.currency,
        "net_amount": order.net,
        "tax_amount": order.tax_amount,
        "applied_balance_amount": order.applied_balance,
        "discount_amount": order.discount_amount,
        "platform_fee": 0,
    }
    if order.discount:
        metadata["discount_id"] = order.discount.discount_id
    if order.draft.subscription:
        metadata |= {"recurring_interval": interval, "recurring_interval_count": 1}
    return metadata
