"""Payloads made of the SDK's own types: a field that Polar adds is in them as soon as the SDK knows it."""

import dataclasses
import json
import types
import typing
import uuid
from typing import Any

from polar.v2026_04 import outputs, webhooks

INSTANT = "2026-05-01T00:00:00Z"
ORGANIZATION = "0f5f4ad4-6b42-4f6a-9a3e-6f2f3a5a0001"


def stable_id(*parts: object) -> str:
    """Return the same UUID for the same parts."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, parts))))


def build(model: Any, **fields: Any) -> dict[str, Any]:
    """Return a payload with every field of the SDK's type: the given ones, null where allowed, else something valid."""
    value = {}
    hints = typing.get_type_hints(model)
    required = {field.name for field in dataclasses.fields(model)} if dataclasses.is_dataclass(model) else hints
    for name in required:
        value[name] = fields[name] if name in fields else _fill(name, hints[name])
    assert fields.keys() <= value.keys(), f"{model.__name__} has no field {sorted(fields.keys() - value.keys())}"
    return value


def _fill(name: str, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if type(None) in arguments else _fill(name, arguments[0])
    if origin is typing.Literal:
        return arguments[0]
    if origin is list:
        return []
    if origin is dict or kind is dict:
        return {}
    if kind is str:
        if name == "id" or name.endswith("_id"):
            return stable_id(name)
        if name.endswith(("_at", "timestamp", "_start", "_end")):
            return INSTANT
        return "usd" if name.endswith("currency") else "text"
    if kind in (int, float, bool):
        return kind()
    return build(kind)


def user_event(number: int, timestamp: str, **fields: Any) -> dict[str, Any]:
    common = {
        "id": stable_id("event", number),
        "timestamp": timestamp,
        "organization_id": ORGANIZATION,
        "label": "call",
    }
    metadata = {"units": number, "_cost": {"amount": "0.125", "currency": "usd"}}
    given = {"name": "call", "source": "user", "external_customer_id": f"customer_{number % 5}", "metadata": metadata}
    return build(outputs.UserEvent, **{**common, **given, **fields})


def system_event(number: int, timestamp: str) -> dict[str, Any]:
    metadata = build(outputs.MeterCreditedMetadata, meter_id=stable_id("meter", 0), units=10)
    common = {"id": stable_id("system", number), "timestamp": timestamp, "organization_id": ORGANIZATION}
    return build(outputs.MeterCreditEvent, **common, customer_id=stable_id("customer", 0), metadata=metadata)


def unknown_event(number: int, timestamp: str) -> dict[str, Any]:
    """Return an event of a name that no SDK knows yet."""
    return {**system_event(number, timestamp), "id": stable_id("unknown", number), "name": "quota.of_tomorrow"}


def customer(number: int, created_at: str) -> dict[str, Any]:
    return build(
        outputs.CustomerIndividual,
        id=stable_id("customer", number),
        created_at=created_at,
        external_id=f"customer_{number}",
        email=f"person-{number}@example.com",
        organization_id=ORGANIZATION,
    )


def product(number: int, created_at: str) -> dict[str, Any]:
    return build(
        outputs.Product,
        id=stable_id("product", number),
        created_at=created_at,
        organization_id=ORGANIZATION,
        name="Plan",
    )


def meter(number: int, created_at: str) -> dict[str, Any]:
    return build(
        outputs.Meter,
        id=stable_id("meter", number),
        created_at=created_at,
        organization_id=ORGANIZATION,
        filter={"conjunction": "and", "clauses": [{"property": "name", "operator": "eq", "value": "call"}]},
        aggregation={"func": "sum", "property": "units"},
    )


def subscription(number: int, started_at: str) -> dict[str, Any]:
    return build(
        outputs.Subscription,
        id=stable_id("subscription", number),
        created_at=started_at,
        started_at=started_at,
        status="active",
        customer_id=stable_id("customer", number),
        product_id=stable_id("product", 0),
        customer=_order_customer(number),
    )


def order(number: int, created_at: str, **fields: Any) -> dict[str, Any]:
    given = {"status": "paid", "paid": True, **fields}
    return build(
        outputs.Order,
        id=stable_id("order", number),
        created_at=created_at,
        customer_id=stable_id("customer", number % 3),
        customer=_order_customer(number % 3),
        **given,
    )


def order_paid_event(number: int, timestamp: str, **metadata: Any) -> dict[str, Any]:
    return build(
        outputs.OrderPaidEvent,
        id=stable_id("order.paid", number),
        timestamp=timestamp,
        organization_id=ORGANIZATION,
        customer_id=stable_id("customer", number % 3),
        metadata=build(outputs.OrderPaidMetadata, order_id=stable_id("order", number), **metadata),
    )


def order_paid_webhook(order: dict[str, Any], timestamp: str) -> dict[str, Any]:
    return build(webhooks.WebhookOrderPaidPayload, timestamp=timestamp, data=order)


def refund(number: int, created_at: str, order_number: int) -> dict[str, Any]:
    return build(
        outputs.Refund,
        id=stable_id("refund", number),
        created_at=created_at,
        organization_id=ORGANIZATION,
        order_id=stable_id("order", order_number),
        status="succeeded",
        amount=100,
    )


def _order_customer(number: int) -> dict[str, Any]:
    return customer(number, INSTANT)


def text_of(payload: dict[str, Any], *, unknown_field: bool = False) -> str:
    """Return the payload as Polar writes it, on request with a field that no SDK knows, in a writing of its own."""
    text = json.dumps(payload)
    return f'{text[:-1]}, "field_of_tomorrow": {{"n": 1.50, "t": "\\u00e9"}}}}' if unknown_field else text
