"""Judging events: submitted ones by the rules Polar applies on ingestion, recorded ones only by what we rely on."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from loaders.records._content import event_content_hash, key
from loaders.records._fields import (
    find_organization,
    in_utc,
    missing,
    optional_instant,
    optional_text,
    optional_utc,
    required_text,
)
from loaders.records._kinds import is_recorded
from loaders.records._verdicts import Context, Event, Rejection

NAME_LENGTH_LIMIT = 128
TEXT_LENGTH_LIMIT = 500
CLOCK_TOLERANCE = timedelta(minutes=5)
_COST_INTEGER_DIGITS = 5
_COST_DECIMALS = 12
_BIGINT = 2**63

_DECIMAL_TEXT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_COMMON_TEXTS = ("external_id", "customer_id", "external_customer_id", "member_id", "external_member_id", "parent_id")


def judge_event(record: dict[str, Any], text: str, context: Context) -> Event:
    """Return the event as it lands. Raises Rejection."""
    if is_recorded(record):
        return _judge_recorded(record, text, context)
    return _judge_submitted(record, text, context)


def _judge_recorded(record: dict[str, Any], text: str, context: Context) -> Event:
    event_id = required_text(record, "id")
    source = required_text(record, "source")
    required_text(record, "name")
    if optional_utc(record, "timestamp") is None:
        raise missing("timestamp")
    if source not in ("user", "system"):
        raise Rejection(
            "invalid_field", "`source` must be user or system: export it as Polar gives it.", "source", source
        )
    _check_common(record)
    if type(record.get("metadata", {})) not in (dict, type(None)):
        raise Rejection(
            "invalid_field", "`metadata` must be an object: send it as one.", "metadata", record["metadata"]
        )
    organization_id = find_organization(record, context.organization_id)
    return Event(organization_id, "recorded", source, text, key(organization_id, "recorded", event_id.lower()))


def _judge_submitted(record: dict[str, Any], text: str, context: Context) -> Event:
    name = required_text(record, "name")
    if record.get("customer_id") is None and record.get("external_customer_id") is None:
        message = "`customer_id` or `external_customer_id` is required: add the one you have."
        raise Rejection("missing_field", message, "external_customer_id")
    _check_common(record)
    instant = optional_instant(record, "timestamp")
    if instant is not None and instant.tzinfo is not None:
        in_utc(instant, "timestamp")
    organization_id = find_organization(record, context.organization_id)
    _check_instant(instant, context.now)
    if len(name) > NAME_LENGTH_LIMIT:
        raise Rejection("name_too_long", "`name` is longer than 128 characters: shorten it.", "name", name)
    _check_metadata(record.get("metadata", {}))
    event = Event(organization_id, "submitted", "user", text)
    external_id = record.get("external_id")
    if external_id is not None:
        event.record_key = key(organization_id, "submitted", external_id)
    elif instant is not None:
        event.occurrence_of = event_content_hash(record)
    return event


def _check_common(record: dict[str, Any]) -> None:
    for field in _COMMON_TEXTS:
        if field in record:
            optional_text(record, field)
    if "ingested_at" in record:
        optional_utc(record, "ingested_at")


def _check_instant(instant: datetime | None, now: datetime) -> None:
    if instant is None:
        return
    if instant.tzinfo is None:
        message = "`timestamp` has no UTC offset: add one (for example `Z`)."
        raise Rejection("naive_timestamp", message, "timestamp", instant.isoformat())
    if instant > now + CLOCK_TOLERANCE:
        message = "`timestamp` lies over 5 minutes ahead of this machine's clock: check both clocks."
        raise Rejection("future_timestamp", message, "timestamp", instant.isoformat())


def _check_metadata(metadata: Any) -> None:
    if type(metadata) is not dict:
        raise _invalid("metadata", "`metadata` must be an object: send it as one.", metadata)
    for name, value in metadata.items():
        if name == "_cost":
            _check_cost(value)
        elif name == "_llm":
            _check_llm(value)
        else:
            _check_value(name, value)


def _check_value(name: str, value: Any) -> None:
    kind = type(value)
    if kind is str:
        if not 1 <= len(value) <= TEXT_LENGTH_LIMIT:
            message = "A text in `metadata` must have 1 to 500 characters: leave it out or shorten it."
            raise _invalid("metadata", message, {name: value})
    elif kind is not int and kind is not Decimal and kind is not bool:
        message = "A value in `metadata` must be a text, a number or a boolean: flatten it or leave it out."
        raise _invalid("metadata", message, {name: value})


def _check_cost(cost: Any) -> None:
    if type(cost) is not dict or cost.get("amount") is None or cost.get("currency") is None:
        message = "`metadata._cost` must be an object with `amount` and `currency`: send both."
        raise _invalid("metadata._cost", message, cost)
    if not _is_cost_amount(cost["amount"]):
        message = "`metadata._cost.amount` must be cents with at most 5 integer digits and 12 decimals: check its unit."
        raise _invalid("metadata._cost.amount", message, cost["amount"])
    if type(cost["currency"]) is not str or "usd" not in cost["currency"]:
        message = "`metadata._cost.currency` must be usd: convert the cost."
        raise _invalid("metadata._cost.currency", message, cost["currency"])


def _is_cost_amount(amount: Any) -> bool:
    if type(amount) is str:
        if not _DECIMAL_TEXT.fullmatch(amount):
            return False
    elif type(amount) not in (int, Decimal):
        return False
    exact = Decimal(amount)
    if abs(exact) >= 10**_COST_INTEGER_DIGITS:
        return False
    _, digits, exponent = exact.as_tuple()
    trailing_zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return exact.is_zero() or -int(exponent) - trailing_zeros <= _COST_DECIMALS


def _check_llm(llm: Any) -> None:
    if type(llm) is not dict:
        raise _invalid("metadata._llm", "`metadata._llm` must be an object: send it as one.", llm)
    for field in ("vendor", "model"):
        if type(llm.get(field)) is not str:
            raise _invalid(f"metadata._llm.{field}", f"`metadata._llm.{field}` must be text: add it.", llm.get(field))
    for field in ("input_tokens", "output_tokens", "total_tokens", "cached_input_tokens"):
        is_absent = field == "cached_input_tokens" and llm.get(field) is None
        if not is_absent and not _is_token_count(llm.get(field)):
            message = f"`metadata._llm.{field}` must be an integer: add it."
            raise _invalid(f"metadata._llm.{field}", message, llm.get(field))
    for field in ("prompt", "response"):
        if type(llm.get(field)) not in (str, type(None)):
            # The value stays out of `found` as well: prompts are personal data.
            raise _invalid(f"metadata._llm.{field}", f"`metadata._llm.{field}` must be text: leave it out.", None)


def _is_token_count(value: Any) -> bool:
    if type(value) is Decimal:
        return -_BIGINT <= value < _BIGINT and value == int(value)
    return type(value) is int and -_BIGINT <= value < _BIGINT


def _invalid(field: str, message: str, found: Any) -> Rejection:
    return Rejection("invalid_metadata", message, field, "null" if found is None else found)
