"""The oracle against the worked cases: what judges the models is itself judged."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.aggregations import is_countable, quantity
from tests.oracle.boundaries import boundaries
from tests.oracle.credits import running_sum
from tests.oracle.filters import passes
from tests.oracle.rating import billable, rate
from tests.oracle.records import Event, Json, Meter, Price, Tier, instant

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "conformance" / "polar_cases.json"
SOME_DAY = datetime(2025, 1, 1)


def cases(area: str, *keys: str, is_taken: Callable[[Json], bool] = lambda case: True) -> list[Any]:
    """Return the cases of an area whose input has the keys; one skipped parameter where the cases are not at hand."""
    if not CASES.exists():
        reason = "the worked cases (../shared/conformance/polar_cases.json) are not beside this checkout"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason))]
    found = json.loads(CASES.read_text(), parse_float=Decimal)["cases"]
    own = [case for case in found if case["area"] == area and case["input"].keys() >= set(keys) and is_taken(case)]
    return [pytest.param(case, id=case["id"]) for case in own]


def is_about_events(case: Json) -> bool:
    """Not about a series, several customers, or an endpoint that counts system events too."""
    told = case["input"].get("events")
    is_plain = told is not None and all(shape.get("source") == "user" for shape in told)
    return is_plain and "quantity" in case["expected"]


def event(shape: Json, number: int) -> Event:
    at = instant(shape["timestamp"]) if "timestamp" in shape else SOME_DAY
    return Event(str(number), shape["source"], shape["name"], at, at, "customer", None, None, shape["metadata"])


def events(case: Json) -> list[Event]:
    return [event(shape, number) for number, shape in enumerate(case["input"]["events"])]


@pytest.mark.parametrize("case", cases("filter", "events"))
def test_filters(case: Json) -> None:
    matched = [number for number, event in enumerate(events(case)) if passes(event, case["input"]["filter"])]
    assert matched == case["expected"]["python"]


@pytest.mark.parametrize("case", cases("aggregation", "aggregation", is_taken=is_about_events))
def test_aggregations(case: Json) -> None:
    told = case["input"]["aggregation"]
    taken = case["input"].get("filter", {"conjunction": "and", "clauses": []})
    meter = Meter("meter", taken, told["func"], told.get("property"), SOME_DAY, None)
    counted = [e for e in events(case) if passes(e, meter.filter) and e.source == "user" and is_countable(e, meter)]
    assert float(quantity(counted, meter)) == float(case["expected"]["quantity"])


@pytest.mark.parametrize("case", cases("rating", "consumed", "price"))
def test_rating_of_unit_prices(case: Json) -> None:
    told = case["input"]["price"]
    price = Price("price", "meter", "unit", Decimal(told["unit_amount"]), (), told["cap_amount"], "usd")
    units = billable(Fraction(case["input"]["consumed"]), case["input"]["credited"])
    assert rate(price, units)[0] == case["expected"]["amount"]


@pytest.mark.parametrize("case", cases("rating", "quantity", is_taken=lambda case: int(case["input"]["quantity"]) >= 0))
def test_rating_of_tiers(case: Json) -> None:
    told = case["input"]["price"]["tiers"]
    tiers = tuple(Tier(tier["bound"], Decimal(tier["unit_amount"])) for tier in told["tiers"])
    price = Price("price", "meter", told["type"], None, tiers, None, "usd")
    assert rate(price, float(case["input"]["quantity"]))[0] == case["expected"].get("amount")


@pytest.mark.parametrize("case", cases("credits", "events"))
def test_credits(case: Json) -> None:
    """Only the sum of the last window's credits: the windows themselves are compared over random worlds."""
    told = case["input"]["events"]
    own = [shape for shape in told if shape["metadata"].get("meter_id") == case["input"]["meter"]["id"]]
    reset_at = max((shape["t"] for shape in own if shape["name"] == "meter.reset"), default=0)
    granted = [shape for shape in own if shape["name"] == "meter.credited" and shape["ingested"] >= reset_at]
    granted.sort(key=lambda shape: int(shape["t"]))
    assert running_sum(shape["metadata"]["units"] for shape in granted) == case["expected"]["credited_units"]


@pytest.mark.parametrize("case", cases("attribution", "interval"))
def test_boundaries(case: Json) -> None:
    told, expected = case["input"], [instant(end) for end in case["expected"]["period_ends"]]
    ends = islice(boundaries(instant(told["start"]), (told["interval"], told["interval_count"])), len(expected))
    assert list(ends) == expected
