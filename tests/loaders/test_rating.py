"""Tiered prices, against Polar's rules worked out by hand and against adding up unit by unit."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.rating import rate_tiers

BOUNDED = [(10, "1000"), (50, "800")]
OPEN = [*BOUNDED, (None, "600")]


def tiers(bands: list[tuple[int | None, str]]) -> str:
    return json.dumps({"tiers": [{"bound": bound, "unit_amount": rate} for bound, rate in bands]})


@pytest.mark.parametrize(
    ("price_type", "bands", "quantity", "amount"),
    [
        ("volume", OPEN, 10, 10_000),
        ("volume", OPEN, 11, 8_800),
        ("volume", OPEN, 51, 30_600),
        ("volume", BOUNDED, 51, None),
        ("graduated", OPEN, 15, 14_000),
        ("graduated", OPEN, 51, 42_600),
        ("graduated", BOUNDED, 60, 42_000),
        ("graduated", OPEN, 0, 0),
        # Half a minor unit goes away from zero, once: two bands of a quarter each are half a unit.
        ("graduated", [(1, "0.25"), (None, "0.25")], 2, 1),
        # The double of 2.675 lies just below it.
        ("graduated", [(None, "100")], 2.675, 267),
    ],
)
def test_a_quantity_is_rated_by_its_tier_or_its_bands(
    price_type: str, bands: list[tuple[int | None, str]], quantity: float, amount: int | None
) -> None:
    assert rate_tiers(price_type, tiers(bands), quantity, 0.0) == amount


def test_credits_come_off_before_the_tier_is_chosen() -> None:
    assert rate_tiers("volume", tiers(OPEN), 15, 5.0) == 10_000
    assert rate_tiers("volume", tiers(OPEN), 5, 15.0) == 0


def test_what_is_no_quantity_has_no_amount() -> None:
    assert rate_tiers("graduated", tiers(OPEN), -5, 0.0) is None
    assert rate_tiers("graduated", tiers(OPEN), float("inf"), 0.0) is None
    assert rate_tiers("graduated", tiers(OPEN), None, 0.0) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"tiers": 3}', '{"tiers": [{"bound": 1}]}', '[{"unit_amount": "x"}]']
)
def test_tiers_that_cannot_be_read_rate_nothing(text: str) -> None:
    assert rate_tiers("volume", text, 1, 0.0) is None


def test_tiers_are_read_in_any_order_and_without_their_envelope() -> None:
    assert (
        rate_tiers("graduated", '[{"bound": null, "unit_amount": 800}, {"bound": 10, "unit_amount": 1000.0}]', 11, 0.0)
        == 10_800
    )


@given(
    bounds=st.lists(st.integers(1, 60), unique=True, max_size=4),
    rates=st.lists(st.integers(0, 5000), min_size=5, max_size=5),
    quantity=st.integers(0, 80),
)
def test_graduated_bands_are_the_sum_of_their_units(bounds: list[int], rates: list[int], quantity: int) -> None:
    bands = [*zip(sorted(bounds), map(str, rates), strict=False), (None, str(rates[-1]))]

    def rate_of(unit: int) -> Fraction:
        return next(Fraction(rate) for bound, rate in bands if bound is None or unit <= bound)

    assert rate_tiers("graduated", tiers(bands), quantity, 0.0) == sum(rate_of(unit) for unit in range(1, quantity + 1))
    assert rate_tiers("volume", tiers(bands), quantity, 0.0) == (quantity and rate_of(quantity) * quantity)


def test_older_prices_of_seats_name_their_bounds_and_rates_differently() -> None:
    """Four seats at 9.00 each, or five at 8.00: 36.00 and 40.00."""
    older = json.dumps(
        {
            "seat_tier_type": "volume",
            "tiers": [
                {"min_seats": 1, "max_seats": 4, "price_per_seat": 900},
                {"min_seats": 5, "max_seats": None, "price_per_seat": 800},
            ],
        }
    )
    assert [rate_tiers("volume", older, seats, 0.0) for seats in (4.0, 5.0)] == [3600, 4000]
