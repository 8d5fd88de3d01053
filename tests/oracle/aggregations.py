"""What a meter counts: the six functions, and the numeric guard (semantics, 4.3)."""

import json
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from tests.oracle.filters import MISSING, metadata_at, value_at
from tests.oracle.records import Event, Meter

SUMMABLE = ("count", "sum")
NUMERIC = ("sum", "max", "min", "avg")


def is_summable(meter: Meter) -> bool:
    return meter.function in SUMMABLE


def number_of(event: Event, meter: Meter) -> Fraction | None:
    """Return the number that a sum, max, min or avg meter takes from an event; None where the guard keeps it out."""
    assert meter.property is not None
    found = value_at(event, meter.property)
    if meter.property.removeprefix("metadata.") in ("name", "source"):
        return None
    if isinstance(found, bool) or not isinstance(found, int | Decimal):
        return None
    return Fraction(found)


def is_countable(event: Event, meter: Meter) -> bool:
    return meter.function not in NUMERIC or number_of(event, meter) is not None


def units_of(event: Event, meter: Meter) -> Fraction | None:
    """Return the units of one event by itself; None for unique, which has none."""
    if meter.function == "count":
        return Fraction(1)
    return number_of(event, meter) if meter.function in NUMERIC else None


def quantity(events: Sequence[Event], meter: Meter) -> Fraction:
    """Aggregate the events; 0 where none qualifies."""
    if meter.function == "count":
        return Fraction(len(events))
    if meter.function == "unique":
        return Fraction(len(_distinct(events, meter)))
    numbers = [number for event in events if (number := number_of(event, meter)) is not None]
    if not numbers:
        return Fraction(0)
    if meter.function == "max":
        return max(numbers)
    if meter.function == "min":
        return min(numbers)
    total = sum(numbers, start=Fraction(0))
    # An average is a division of doubles, as in Polar: the exact sum's nearest double by the number of events.
    return total if meter.function == "sum" else Fraction(float(total) / len(numbers))


def _distinct(events: Sequence[Event], meter: Meter) -> set[tuple[str, object]]:
    """Numbers are one by value, and no text or boolean is a number; event fields are never looked at."""
    assert meter.property is not None
    found = (metadata_at(event, meter.property) for event in events)
    return {_json_identity(value) for value in found if value is not MISSING}


def _json_identity(value: object) -> tuple[str, object]:
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | Decimal):
        return "number", Fraction(value)
    if isinstance(value, str):
        return "string", value
    return "json", json.dumps(value, sort_keys=True, default=str)
