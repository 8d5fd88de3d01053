"""What units cost: unit prices, volume and graduated tiers, the cap, one rounding a line (semantics, 5.1)."""

from collections.abc import Sequence
from fractions import Fraction

from tests.oracle.records import Price, Tier


def round_half_away(value: Fraction) -> int:
    """Round to a whole number, halves away from zero."""
    magnitude = (2 * abs(value) + 1) // 2
    return int(magnitude) if value >= 0 else -int(magnitude)


def billable(consumed: Fraction, credited: int) -> float:
    """Return max(0, consumed - credited) as Polar takes it: a difference of doubles."""
    return max(0.0, float(consumed) - credited)


def rate(price: Price, units: float) -> tuple[int | None, bool]:
    """Return the amount of one line and whether its cap lowered it; no amount where the tiers end before the units."""
    # The double's exact binary value, not the digits it prints as.
    exact = uncapped(price, Fraction(units))
    if exact is None:
        return None, False
    amount = round_half_away(exact)
    if price.cap_amount is not None and amount > price.cap_amount:
        return price.cap_amount, True
    return amount, False


def uncapped(price: Price, units: Fraction) -> Fraction | None:
    if price.kind == "unit":
        assert price.unit_amount is not None
        return Fraction(price.unit_amount) * units
    return _volume(price.tiers, units) if price.kind == "volume" else _graduated(price.tiers, units)


def _volume(tiers: Sequence[Tier], units: Fraction) -> Fraction | None:
    """All units at the rate of the tier they fall in; a bound belongs to its own tier."""
    for tier in tiers:
        if tier.bound is None or units <= tier.bound:
            return Fraction(tier.unit_amount) * units
    return None


def _graduated(tiers: Sequence[Tier], units: Fraction) -> Fraction:
    """Each band at its own rate; what lies above a bounded last tier is not billed."""
    total, below = Fraction(0), Fraction(0)
    for tier in tiers:
        upper = units if tier.bound is None else min(units, Fraction(tier.bound))
        total += max(Fraction(0), upper - below) * Fraction(tier.unit_amount)
        below = max(below, upper)
    return total


def is_fair_share(share: int, amount: int, units: Fraction, total: Fraction) -> bool:
    """Whether a share is the floor or the ceiling of its exact part, as a largest remainder leaves it."""
    return abs(share - Fraction(amount) * units / total) < 1
