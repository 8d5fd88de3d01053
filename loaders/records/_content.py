"""Content and keys: when two records are the same one, and when the same one says something else.

A key is the MD5 of a JSON array of texts: the quotes and commas keep its parts apart, so that no two different
lists of parts give one text.
"""

import hashlib
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from loaders.records._fields import optional_utc
from loaders.records._text import decode_exactly

_CONTENT_TEXTS = ("name", "source", "customer_id", "external_customer_id", "member_id", "external_member_id")
_NOT_LATER_KNOWLEDGE = frozenset((*_CONTENT_TEXTS, "id", "external_id", "organization_id", "timestamp", "metadata"))


class EventContent(msgspec.Struct, frozen=True):
    """Hashes of an event's immutable part, and of the rest (customer, parent, label): None where it is empty."""

    content_hash: str
    later_knowledge_hash: str | None


def key(*parts: str) -> str:
    """Return the key of these parts as 32 hexadecimal digits."""
    return hashlib.md5(msgspec.json.encode(parts), usedforsecurity=False).hexdigest()


def occurrence_key(organization_id: str, content_hash: str, occurrence: int) -> str:
    """Return the key of the n-th submitted event with this content in its file."""
    return key(organization_id, "content", content_hash, str(occurrence))


def position_key(organization_id: str, file_sha256: str, record_number: int) -> str:
    """Return the key of a submitted event that has nothing of its own: its place in its file."""
    return key(organization_id, "position", file_sha256, str(record_number))


def read_event_content(payload: str) -> EventContent:
    """Return the content of an event that was judged valid before."""
    record = decode_exactly(payload)
    later = {field: value for field, value in record.items() if field not in _NOT_LATER_KNOWLEDGE and value}
    return EventContent(event_content_hash(record), sha256(canonical(later)) if later else None)


def event_content_hash(record: dict[str, Any]) -> str:
    """Return the hash of what never changes in an event; key order and the writing of numbers play no role."""
    occurred_at = optional_utc(record, "timestamp")
    parts = [record.get(field) for field in _CONTENT_TEXTS]
    parts.append(None if occurred_at is None else occurred_at.isoformat())
    text = canonical([*parts, _comparable_metadata(record.get("metadata"))])
    return sha256(text)


def sha256(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _comparable_metadata(metadata: Any) -> dict[str, Any]:
    if not metadata:
        return {}
    cost = metadata.get("_cost")
    if type(cost) is dict and type(cost.get("amount")) is str:
        # Polar takes a number and gives a text back.
        try:
            amount = Decimal(cost["amount"])
        except InvalidOperation:
            return dict(metadata)
        if amount.is_finite():
            return {**metadata, "_cost": {**cost, "amount": amount}}
    return dict(metadata)


def canonical(value: Any) -> str:
    """Return one text for all writings of a JSON value: keys sorted, numbers by exact value, no blanks."""
    kind = type(value)
    if kind is dict:
        return "{" + ",".join(f"{_quoted(name)}:{canonical(value[name])}" for name in sorted(value)) + "}"
    if kind is list:
        return "[" + ",".join(map(canonical, value)) + "]"
    if kind is int or kind is Decimal:
        return _exact(Decimal(value))
    return _quoted(value)


def _quoted(value: str | bool | None) -> str:
    return msgspec.json.encode(value).decode()


def _exact(number: Decimal) -> str:
    # normalize() would round to the context's precision.
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    significant = text.rstrip("0")
    if not significant:
        return "0"
    return f"{'-' if sign else ''}{significant}e{int(exponent) + len(text) - len(significant)}"
