"""The arithmetic of money: quantities are binary doubles, amounts whole minor units, each rounding done once."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal

# Doubles have up to 1074 decimals; half a tie lost to a narrow context would be a cent.
_WIDE = Context(prec=400)


def round_half_away(value: Decimal) -> int:
    """Usage, discounts, taxes and fees."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP, context=_WIDE))


def round_half_even(value: Decimal) -> int:
    """Prorations of a plan change."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_EVEN, context=_WIDE))


def rate(unit_amount: str, cap_amount: int | None, quantity: Decimal) -> int:
    """Amount of one line: the double nearest to the quantity, at its exact binary value, then the cap."""
    exact = _WIDE.multiply(Decimal(unit_amount), Decimal(float(max(quantity, Decimal(0)))))
    amount = round_half_away(exact)
    return amount if cap_amount is None else min(amount, cap_amount)


def running_credits(units: Iterable[int]) -> int:
    """Credits add up step by step and never fall below zero on the way."""
    total = 0
    for step in units:
        total = max(0, total + step)
    return total
