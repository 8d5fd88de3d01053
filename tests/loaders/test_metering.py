"""Polar's two filter evaluators: where they agree and where their coercions part, by type of property and value."""

import json
from typing import Any

import pytest

from loaders.metering import filter_matches, filter_matches_in_sql


def judged(operator: str, value: Any, found: Any, path: str = "v") -> tuple[bool, bool]:
    """How billing and balances judge one clause."""
    clause = {"conjunction": "and", "clauses": [{"property": path, "operator": operator, "value": value}]}
    event = json.dumps({path: found})
    return filter_matches(json.dumps(clause), event), filter_matches_in_sql(json.dumps(clause), event)


@pytest.mark.parametrize(
    ("found", "operator", "value", "in_billing", "in_balances"),
    [
        ("b", "gt", "a", True, True),
        ("10", "eq", 10, False, True),
        ("10", "ne", 10, True, False),
        ("9", "gt", 10, False, True),
        ("t", "eq", True, False, True),
        ("x", "ne", True, True, True),
        (10.0, "eq", 10, True, True),
        (10, "eq", "10", False, False),
        (10, "ne", "10", True, False),
        (1, "eq", True, True, True),
        (2, "ne", True, True, True),
        # Polar's SQL fails on an ordering with a boolean.
        (0, "lt", True, True, False),
        (True, "eq", True, True, True),
        (True, "eq", 1, True, False),
        (True, "ne", 0, True, False),
        (True, "ne", "True", True, False),
        ({"a": 1}, "ne", "x", True, False),
        ([1], "ne", 1, True, False),
        ({"a": 1}, "like", '"a"', False, True),
        (True, "like", True, True, True),
        ("other", "like", True, False, True),
        ("other", "not_like", True, True, False),
        (10, "like", 1, True, True),
        # 1.0 is the integer 1.
        ("x1", "like", 1.0, True, True),
        ("1", "eq", 1.0, False, True),
        (1.0, "eq", 1.0, True, True),
        (None, "ne", "x", False, False),
        (None, "not_like", "x", False, False),
    ],
)
def test_evaluators_coerce_as_polar_does(
    found: Any, operator: str, value: Any, in_billing: bool, in_balances: bool
) -> None:
    assert judged(operator, value, found) == (in_billing, in_balances)


def test_a_missing_property_matches_nothing() -> None:
    clause = '{"conjunction": "and", "clauses": [{"property": "v", "operator": "not_like", "value": "x"}]}'
    assert not filter_matches(clause, "{}")
    assert not filter_matches_in_sql(clause, "{}")


def test_a_time_is_cut_in_billing_and_rounded_in_balances() -> None:
    assert judged("eq", 1735689601, 1735689601.5, "timestamp") == (True, False)
    assert judged("eq", 1735689602, 1735689601.5, "timestamp") == (False, True)
    assert judged("eq", "1735689601", 1735689601.0, "timestamp") == (False, False)


@pytest.mark.parametrize("conjunction", ["and", "or"])
def test_no_clauses_match_everything_at_any_depth(conjunction: str) -> None:
    empty = {"conjunction": conjunction, "clauses": []}
    for node in (empty, {"conjunction": conjunction, "clauses": [empty]}):
        assert filter_matches(json.dumps(node), "{}")
        assert filter_matches_in_sql(json.dumps(node), "{}")
