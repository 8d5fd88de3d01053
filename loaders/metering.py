"""Polar's two filter evaluators: which events a meter's filter lets through into billing, and into balances.

Pure rules, no database. Polar judges filters twice with different coercions. The Python matcher decides what is billed,
so its coercions are Python's own and are kept here as they are: `True == 1`, text never equals a number, an ordering
between text and number is no match. The SQL evaluator decides what customers' balances and previews show: text is
compared with a number's text, a number with text never matches, and times are rounded instead of cut.

A filter is Polar's JSON: `{"conjunction": "and"|"or", "clauses": [clause or filter, ...]}`; a clause is
`{"property", "operator", "value"}`. Events come as a signature: a JSON object from property path to the value found
there, with only the properties that the filters read, so that equal events are judged once.
"""

import json
import operator
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import floor
from typing import Any

import msgspec

__all__ = ["filter_matches", "filter_matches_in_sql", "filter_properties", "property_path"]

EVENT_FIELDS = ("name", "source", "timestamp")

ClauseMatcher = Callable[[dict[str, Any], dict[str, Any]], bool]

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def property_path(name: str) -> str:
    """Return the path that `name` addresses: one leading `metadata.` is dropped, as Polar does."""
    return name.removeprefix("metadata.")


def filter_properties(filter_json: str) -> list[str]:
    """Return the distinct property paths that a filter reads, in order of first use."""
    return list(dict.fromkeys(path for path, _, _ in _leaves(_decode(filter_json))))


def filter_matches(filter_json: str, signature_json: str) -> bool:
    """Return whether an event passes a filter in billing.

    `signature_json` maps property paths to values; a path that is absent or null never matches, for `ne` and
    `not_like` too. `timestamp` is in epoch seconds with their fraction.
    """
    return _group_matches(_decode(filter_json), _decode(signature_json), _clause_matches)


def filter_matches_in_sql(filter_json: str, signature_json: str) -> bool:
    """Return whether an event passes a filter in balances and meter quantities; arguments as in `filter_matches`.

    Where Polar's SQL fails (an ordering with a boolean) the answer is no.
    """
    return _group_matches(_decode(filter_json), _decode(signature_json), _clause_matches_in_sql)


@lru_cache(maxsize=4096)
def _decode(text: str) -> Any:
    return msgspec.json.decode(text)


def _leaves(node: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for clause in node.get("clauses") or ():
        if "clauses" in clause:
            yield from _leaves(clause)
        else:
            yield property_path(clause["property"]), clause["operator"], clause["value"]


def _group_matches(node: dict[str, Any], values: dict[str, Any], clause_matches: ClauseMatcher) -> bool:
    # No clauses match everything, for both conjunctions: `any` of nothing would say no.
    clauses = node.get("clauses") or ()
    if not clauses:
        return True
    judged = (
        _group_matches(clause, values, clause_matches) if "clauses" in clause else clause_matches(clause, values)
        for clause in clauses
    )
    return any(judged) if node.get("conjunction") == "or" else all(judged)


def _clause_matches(clause: dict[str, Any], values: dict[str, Any]) -> bool:
    path, wanted = property_path(clause["property"]), _value(clause)
    found = values.get(path)
    if found is None or not _comparable_field(path, wanted):
        return False
    if path == "timestamp":
        found = int(found)
    if clause["operator"] in ("like", "not_like"):
        is_like: bool = clause["operator"] == "like"
        return (_text(wanted) in _text(found)) == is_like
    try:
        return bool(_COMPARISONS[clause["operator"]](found, wanted))
    except TypeError:
        return False


def _clause_matches_in_sql(clause: dict[str, Any], values: dict[str, Any]) -> bool:
    path, wanted = property_path(clause["property"]), _value(clause)
    found = values.get(path)
    if found is None or not _comparable_field(path, wanted):
        return False
    if path == "timestamp":
        found = floor(found + 0.5)
    if clause["operator"] in ("like", "not_like"):
        is_like: bool = clause["operator"] == "like"
        return (_sql_needle(wanted) in _json_text(found)) == is_like
    if isinstance(wanted, bool):
        found, wanted = _sql_boolean_operands(found, wanted)
        return clause["operator"] in ("eq", "ne") and found is not None and _compare(clause["operator"], found, wanted)
    if isinstance(found, str):
        return _compare(clause["operator"], found, str(wanted))
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return is_number and not isinstance(wanted, str) and _compare(clause["operator"], float(found), float(wanted))


def _value(clause: dict[str, Any]) -> Any:
    """The text, integer or boolean that a clause asks for: Polar takes 1.0 for 1."""
    value = clause["value"]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _compare(name: str, found: Any, wanted: Any) -> bool:
    return bool(_COMPARISONS[name](found, wanted))


def _sql_boolean_operands(found: Any, wanted: bool) -> tuple[Any, Any]:
    """A boolean is 1 or 0 to a number and the letter t or f to text; nothing else compares with one."""
    if isinstance(found, str):
        return found, _sql_needle(wanted)
    return (float(found), float(wanted)) if isinstance(found, (bool, int, float)) else (None, None)


def _sql_needle(value: Any) -> str:
    return ("t" if value else "f") if isinstance(value, bool) else str(value)


def _json_text(value: Any) -> str:
    """What PostgreSQL's `->>` makes of a value: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _comparable_field(path: str, wanted: Any) -> bool:
    """Event fields are typed: name and source need text, timestamp an integer; metadata takes any value."""
    if path == "timestamp":
        return isinstance(wanted, (int, float)) and not isinstance(wanted, bool)
    return isinstance(wanted, str) if path in EVENT_FIELDS else True


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
