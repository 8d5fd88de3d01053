"""Judging Polar's objects: orders, subscriptions, customers, products, meters, refunds, and other webhooks' data."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from loaders.records._content import canonical, sha256
from loaders.records._fields import find_organization, missing, optional_utc, required_text
from loaders.records._verdicts import Context, Rejection, Resource

_REQUIRED: dict[str, tuple[str, ...]] = {
    "orders": ("created_at", "currency"),
    "subscriptions": ("customer_id",),
    "customers": (),
    "products": (),
    "meters": ("filter", "aggregation"),
    "refunds": ("order_id", "amount", "currency"),
    "webhooks": (),
}
_INSTANTS = ("created_at", "modified_at")
_AMOUNT_KINDS = ("orders", "subscriptions", "refunds")
_BIGINT = 2**63


def judge_resource(record: dict[str, Any], text: str, kind: str, context: Context) -> Resource:
    """Return the object as it lands. Raises Rejection."""
    resource_id = required_text(record, "id") if kind != "webhooks" else _webhook_id(record)
    if not resource_id:
        raise missing("id")
    for field in _REQUIRED[kind]:
        if record.get(field) is None:
            raise missing(field)
    instants = {field: optional_utc(record, field) for field in _INSTANTS if field in record}
    if kind in _AMOUNT_KINDS:
        _check_amounts(record)
    organization_id = find_organization(record, context.organization_id)
    content_hash = resource_content_hash(record)
    return Resource(organization_id, kind, resource_id, content_hash, instants.get("modified_at"), text)


def judge_webhook_data(
    record: dict[str, Any], text: str, kind: str, context: Context, webhook_type: str, webhook_at: datetime
) -> Resource:
    """Return a webhook's object as it lands, with the webhook's type and time. Raises Rejection.

    A webhook without a table of its own is a fact in itself: its type and time are part of its content, so that a
    state that comes back is a new version, while a redelivery stays a duplicate.
    """
    if kind == "webhooks" and webhook_type.startswith("organization.") and "organization_id" not in record:
        record = {**record, "organization_id": record.get("id")}
    resource = judge_resource(record, text, kind, context)
    resource.webhook_type, resource.webhook_at = webhook_type, webhook_at
    if kind == "webhooks":
        resource.content_hash = sha256(canonical([webhook_type, webhook_at.isoformat(), record]))
    return resource


def resource_content_hash(record: dict[str, Any]) -> str:
    """Return the hash of the whole object; key order and the writing of numbers play no role."""
    return sha256(canonical(record))


def _webhook_id(record: dict[str, Any]) -> str:
    own = record.get("id")
    return own if type(own) is str and own else resource_content_hash(record)


def _check_amounts(record: dict[str, Any]) -> None:
    """Refuse amounts that are no whole minor units: a cast further down would round them without a word."""
    _check_object_amounts(record)
    items = record.get("items")
    for item in items if type(items) is list else ():
        if type(item) is dict:
            _check_object_amounts(item)


def _check_object_amounts(record: dict[str, Any]) -> None:
    for field, value in record.items():
        if value is not None and (field == "amount" or field.endswith("_amount")) and not _is_minor_units(value):
            message = "An amount must be a whole number of minor units: export it as Polar gives it."
            raise Rejection("invalid_field", message, field, value)


def _is_minor_units(value: Any) -> bool:
    if type(value) is Decimal:
        return abs(value) < _BIGINT and value == int(value)
    return type(value) is int and -_BIGINT <= value < _BIGINT
