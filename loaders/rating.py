"""Rating a quantity at tiered prices. Unit prices are rated in SQL (macro `rate_units`), by the same two rules.

Pure rules, no database. A quantity is a binary double and counts by its exact value; an amount is rounded half away
from zero once, at the end. Polar publishes tiers for seats and units; metered tiers are rated by the same engine.
"""

from fractions import Fraction
from functools import lru_cache
from math import floor, isfinite
from typing import Any

import msgspec

__all__ = ["rate_tiers"]

# No bill is so large, and a few such amounts would overflow the sum of all others (macro `rate_units` stops there too).
_AMOUNT_LIMIT = 10**15

Tier = tuple[Fraction | None, Fraction]


def rate_tiers(price_type: str | None, tiers: str | None, consumed: float | None, credited: float | None) -> int | None:
    """Return the amount, in minor units, of what was consumed less what was credited; None where no tier rates it
    and from 10^15 minor units on. A rate below zero, which Polar refuses, rates nothing.

    `volume`: all units at the rate of the tier the quantity falls in; beyond a bounded last tier there is none.
    `graduated`: each band at its own rate; beyond a bounded last tier nothing more is billed. Bounds are inclusive.
    Consumption below zero is no quantity of a tier, while credits beyond consumption leave nothing to rate.
    """
    if tiers is None or consumed is None or credited is None or not isfinite(consumed) or consumed < 0:
        return None
    bands = _bands(tiers)
    if not bands or price_type not in ("volume", "graduated"):
        return None
    quantity = max(Fraction(0), Fraction(consumed) - Fraction(credited))
    amount = _volume(bands, quantity) if price_type == "volume" else _graduated(bands, quantity)
    rounded = None if amount is None else _round_half_away(amount)
    return rounded if rounded is not None and abs(rounded) < _AMOUNT_LIMIT else None


def _volume(bands: tuple[Tier, ...], quantity: Fraction) -> Fraction | None:
    for bound, rate in bands:
        if bound is None or quantity <= bound:
            return quantity * rate
    return None


def _graduated(bands: tuple[Tier, ...], quantity: Fraction) -> Fraction:
    amount, below = Fraction(0), Fraction(0)
    for bound, rate in bands:
        upper = quantity if bound is None else min(quantity, bound)
        amount += max(Fraction(0), upper - below) * rate
        below = max(below, upper)
    return amount


def _round_half_away(amount: Fraction) -> int:
    whole = floor(abs(amount) + Fraction(1, 2))
    return whole if amount >= 0 else -whole


@lru_cache(maxsize=4096)
def _bands(text: str) -> tuple[Tier, ...]:
    """Read `{"tiers": [{"bound", "unit_amount"}]}`, or the list alone; nothing where it cannot be read.

    Older prices of seats say `max_seats` and `price_per_seat`.
    """
    try:
        document = msgspec.json.decode(text)
        tiers = document["tiers"] if isinstance(document, dict) else document
        bands = [
            (
                _number(tier.get("bound", tier.get("max_seats"))),
                _number(tier.get("unit_amount", tier.get("price_per_seat"))),
            )
            for tier in tiers
        ]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        return ()
    # The unbounded tier is the last one, however they are listed.
    bands.sort(key=lambda band: (band[0] is None, band[0] or 0))
    return tuple((bound, rate) for bound, rate in bands if rate is not None) if _are_rated(bands) else ()


def _are_rated(bands: list[tuple[Fraction | None, Fraction | None]]) -> bool:
    return all(rate is not None and rate >= 0 for _, rate in bands)


def _number(value: Any) -> Fraction | None:
    """Polar writes rates as text or number; a number in JSON stands for its decimal text."""
    return None if value is None else Fraction(str(value))
