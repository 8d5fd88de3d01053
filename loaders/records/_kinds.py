"""Which kind a record is: by its own shape, else by the file's name where the record does not contradict it."""

import re
from typing import Any

from loaders.records._verdicts import Context, Rejection

RESOURCE_KINDS = ("orders", "subscriptions", "customers", "products", "meters", "refunds")
KIND_OPTIONS = ("auto", "events", *RESOURCE_KINDS, "webhooks")

_WEBHOOK_KINDS = {"order": "orders", "subscription": "subscriptions", "product": "products", "refund": "refunds"}
_CUSTOMER_WEBHOOKS = ("customer.created", "customer.updated", "customer.deleted")
_WORD = re.compile(r"[a-z]+")

# One of each tuple of fields is enough; what Polar's other objects share is ruled out by the fields after it.
_SIGNATURES: tuple[tuple[str, tuple[tuple[str, ...], ...], frozenset[str]], ...] = (
    ("refunds", (("order_id", "amount"), ("order_id", "reason")), frozenset({"email", "billing_reason"})),
    (
        "orders",
        (("billing_reason",), ("subtotal_amount",), ("net_amount",), ("total_amount",), ("invoice_number",)),
        frozenset({"client_secret", "source"}),
    ),
    ("meters", (("aggregation", "filter"),), frozenset()),
    (
        "subscriptions",
        (("current_period_start",), ("cancel_at_period_end",), ("recurring_interval", "customer_id")),
        frozenset({"client_secret", "source"}),
    ),
    (
        "products",
        (("is_recurring",), ("is_archived", "name"), ("prices", "name")),
        frozenset({"client_secret", "customer_id"}),
    ),
    (
        "customers",
        (("email", "id"), ("email_verified",), ("avatar_url", "email")),
        frozenset({"client_secret", "customer_id", "subscription_id", "active_subscriptions", "slug", "source"}),
    ),
)

# What a record must share with a kind before the file's name decides for that kind.
_HINT_FIELDS: dict[str, frozenset[str]] = {
    "events": frozenset({"name", "timestamp", "external_customer_id", "customer_id", "external_id", "source"}),
    "orders": frozenset({"id", "created_at", "currency", "customer_id", "product_id", "items"}),
    "subscriptions": frozenset({"id", "status", "customer_id", "product_id", "started_at"}),
    "customers": frozenset({"id", "external_id", "email", "name"}),
    "products": frozenset({"id", "name", "prices"}),
    "meters": frozenset({"id", "name", "filter", "aggregation"}),
    "refunds": frozenset({"id", "order_id", "amount", "currency"}),
}


def hint_from_path(path: str) -> str | None:
    """Return the kind that a file's name, else its folder's, suggests: `orders.jsonl`, `orders/2026-01.jsonl.gz`."""
    for name in reversed(path.split("/")[-2:]):
        for word in _WORD.findall(name.lower()):
            for kind in ("events", *RESOURCE_KINDS):
                if word in (kind, kind[:-1]):
                    return kind
    return None


def webhook_kind(webhook_type: str) -> str:
    """Return the kind of a webhook's data; what has no table of its own stays a webhook."""
    if webhook_type in _CUSTOMER_WEBHOOKS:
        return "customers"
    return _WEBHOOK_KINDS.get(webhook_type.partition(".")[0], "webhooks")


def decide_kind(record: dict[str, Any], context: Context) -> str:
    """Return the record's kind. Raises Rejection where it fits none, or contradicts the kind the user named."""
    shape = _kind_by_shape(record)
    named = None if context.kind == "webhooks" else context.kind
    if named is not None:
        if shape is not None and shape != named:
            message = "The record has the shape of another kind than --kind says: load it with the right kind or auto."
            raise Rejection("unknown_shape", message, found=f"{shape}, not {named}")
        return named
    if shape is not None:
        return shape
    if context.hint is not None and not _HINT_FIELDS[context.hint].isdisjoint(record):
        return context.hint
    message = "The record has the shape of no known kind: name its kind with --kind, or leave it out."
    raise Rejection("unknown_shape", message, found=", ".join(list(record)[:20]))


def is_recorded(event: dict[str, Any]) -> bool:
    """Tell whether an event is as Polar reads it back; the merchant's own payload has no id and none of its sources."""
    if "id" in event:
        return "source" in event or not _READ_FIELDS.isdisjoint(event)
    return event.get("source") in ("user", "system")


_READ_FIELDS = frozenset({"label", "child_count", "customer"})


def _kind_by_shape(record: dict[str, Any]) -> str | None:
    if "name" in record and "metadata" in record and ("source" in record or "external_customer_id" in record):
        return "events" if "client_secret" not in record else None
    for kind, signatures, excluded in _SIGNATURES:
        if any(all(field in record for field in fields) for fields in signatures) and excluded.isdisjoint(record):
            return kind
    return "events" if _looks_like_event(record) else None


def _looks_like_event(record: dict[str, Any]) -> bool:
    if "client_secret" in record:
        return False
    if "source" in record or "external_customer_id" in record:
        return "name" in record or "timestamp" in record or "external_customer_id" in record
    if "id" in record:
        return "timestamp" in record and ("name" in record or "label" in record)
    return "name" in record or ("timestamp" in record and ("customer_id" in record or "metadata" in record))
