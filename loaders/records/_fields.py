"""Reading single fields of a record: present and of the right type, or the reason why not."""

import re
from datetime import UTC, datetime
from typing import Any

from loaders.records._verdicts import Rejection

# The forms that Python and DuckDB read alike. Both cut fractions beyond microseconds.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII)


def required_text(record: dict[str, Any], field: str) -> str:
    """Return the field's text. Raises Rejection where it is absent, null or no text."""
    text = optional_text(record, field)
    if text is None:
        raise missing(field)
    return text


def optional_text(record: dict[str, Any], field: str) -> str | None:
    """Return the field's text or None. Raises Rejection where it is neither text nor null."""
    value = record.get(field)
    if value is None or type(value) is str:
        return value
    raise Rejection("invalid_field", f"`{field}` must be text: send it in quotes.", field, value)


def missing(field: str) -> Rejection:
    """Return the rejection of a record without this field."""
    return Rejection("missing_field", f"`{field}` is required: add it.", field)


def optional_instant(record: dict[str, Any], field: str) -> datetime | None:
    """Return the field's instant as written, with or without an offset, or None where it is absent or null."""
    text = optional_text(record, field)
    if text is None:
        return None
    try:
        if _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    message = f"`{field}` is no ISO 8601 instant: write it like 2026-01-31T23:30:00Z."
    raise Rejection("invalid_field", message, field, text)


def in_utc(instant: datetime, field: str) -> datetime:
    """Return the instant in UTC; one without an offset is UTC already."""
    if instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        message = f"`{field}` lies outside the years 1 to 9999 in UTC: check it."
        raise Rejection("invalid_field", message, field, instant.isoformat()) from error


def optional_utc(record: dict[str, Any], field: str) -> datetime | None:
    """Return the field's instant in UTC, or None; an instant without an offset is read as UTC."""
    instant = optional_instant(record, field)
    return None if instant is None else in_utc(instant, field)


def find_organization(record: dict[str, Any], stand_in: str | None) -> str:
    """Return the record's own organization, else its customer's, product's or subscription's, else `stand_in`."""
    own = optional_text(record, "organization_id")
    if own:
        return own
    for field in ("customer", "product", "subscription"):
        inner = record.get(field)
        if type(inner) is dict and type(inner.get("organization_id")) is str and inner["organization_id"]:
            return str(inner["organization_id"])
    if stand_in:
        return stand_in
    message = "No organization is known: load it with --organization-id ID, or set METERHOUSE_ORGANIZATION_ID."
    raise Rejection("missing_organization", message, "organization_id")
