"""The arithmetic of money: quantities are binary doubles, amounts whole minor units, each rounding done once."""

from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Tiers:
    """Rates by quantity: `volume` or `graduated`, each step a bound (inclusive; None: without end) and a rate."""

    kind: str
    steps: tuple[tuple[int | None, str], ...]

    def value(self, quantity: Decimal) -> Decimal | None:
        """Unrounded. None where a volume lies beyond a bounded last tier; graduated bills what is covered."""
        if self.kind == "volume":
            rates = [unit_amount for bound, unit_amount in self.steps if bound is None or quantity <= bound]
            return _WIDE.multiply(Decimal(rates[0]), quantity) if rates else None
        total, reached = Decimal(0), Decimal(0)
        for bound, unit_amount in self.steps:
            upper = quantity if bound is None else min(quantity, Decimal(bound))
            if upper > reached:
                total = _WIDE.add(total, _WIDE.multiply(Decimal(unit_amount), _WIDE.subtract(upper, reached)))
                reached = upper
        return total


def rate_tiers(tiers: Tiers, cap_amount: int | None, quantity: Decimal) -> int | None:
    """As `rate`: the double's exact value, one rounding for all tiers together, then the cap."""
    exact = tiers.value(Decimal(float(max(quantity, Decimal(0)))))
    if exact is None:
        return None
    amount = round_half_away(exact)
    return amount if cap_amount is None else min(amount, cap_amount)


def running_credits(units: Iterable[int]) -> int:
    """Credits add up step by step and never fall below zero on the way."""
    total = 0
    for step in units:
        total = max(0, total + step)
    return total
