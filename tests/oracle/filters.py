"""Which events a meter takes: the filter tree as Polar's Python matcher judges it (semantics, 4.1 and 4.2)."""

from decimal import Decimal
from typing import Any

from tests.oracle.records import Event

MISSING = object()


def value_at(event: Event, path: str) -> Any:
    """Return what a property path names: a field of the event, or a leaf of its metadata; MISSING where nothing is.

    One leading `metadata.` is removed first, so that `metadata.name` is the event's name (semantics, 2).
    """
    path = path.removeprefix("metadata.")
    if path == "name":
        return event.name
    if path == "source":
        return event.source
    if path == "timestamp":
        return event.epoch_seconds
    return metadata_at(event, path)


def metadata_at(event: Event, path: str) -> Any:
    """Walk the metadata along a dotted path; a path through what is no object is missing."""
    path = path.removeprefix("metadata.")
    value: Any = event.metadata
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    if path == "_cost.amount" and isinstance(value, str):
        # Read back as text, stored as a number (semantics, 1.4).
        return Decimal(value)
    return value


def passes(event: Event, node: dict[str, Any]) -> bool:
    """Judge a filter or a clause; an empty list of clauses is true at any depth, for both conjunctions."""
    if "clauses" not in node:
        return _clause_passes(event, node)
    if not node["clauses"]:
        return True
    judged = [passes(event, clause) for clause in node["clauses"]]
    return all(judged) if node["conjunction"] == "and" else any(judged)


def _clause_passes(event: Event, clause: dict[str, Any]) -> bool:
    found, wanted = value_at(event, clause["property"]), clause["value"]
    if found is MISSING or found is None:
        return False
    field = clause["property"].removeprefix("metadata.")
    if field in ("name", "source") and not isinstance(wanted, str):
        return False
    if field == "timestamp" and (isinstance(wanted, bool) or not isinstance(wanted, int)):
        return False
    found = plain(found)
    operator = clause["operator"]
    if operator in ("like", "not_like"):
        return (str(wanted) in str(found)) is (operator == "like")
    if operator in ("eq", "ne"):
        return bool(found == wanted) is (operator == "eq")
    return _in_order(found, wanted, operator)


def _in_order(found: Any, wanted: Any, operator: str) -> bool:
    """Text is ordered among text and numbers (with booleans as 1 and 0) among numbers; anything else never matches."""
    both_text = isinstance(found, str) and isinstance(wanted, str)
    both_numbers = isinstance(found, int | float) and isinstance(wanted, int | float)
    if not both_text and not both_numbers:
        return False
    if operator == "gt":
        return bool(found > wanted)
    if operator == "gte":
        return bool(found >= wanted)
    if operator == "lt":
        return bool(found < wanted)
    return bool(found <= wanted)


def plain(value: Any) -> Any:
    """Return the value as Python's JSON reader gives it to the matcher: fractions are doubles."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value
