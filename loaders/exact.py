"""Numbers of an event's metadata as they were written, for the few that a double cannot hold.

Pure rules, no database. DuckDB reads JSON numbers through a double, which keeps 15 significant digits: enough for
nearly every payload. The others (a long run of digits, an exponent) come here and are read as decimals.
"""

from collections.abc import Iterator
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

import msgspec

__all__ = ["exact_metadata_numbers"]

# DECIMAL(38,12): 26 digits before the point and 12 behind it.
_LIMIT = Decimal(10) ** 26
_STEP = Decimal(1).scaleb(-12)
_CONTEXT = Context(prec=60, traps=[Inexact, InvalidOperation])
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def exact_metadata_numbers(payload: str) -> str:
    """Return the numbers of a payload's metadata as a JSON object from JSON pointer to decimal text.

    A number that DECIMAL(38,12) cannot hold exactly is there with null: it is known to be inexact anywhere else.
    """
    metadata = _DECODER.decode(payload).get("metadata")
    return msgspec.json.encode({pointer: _fitting(number) for pointer, number in _numbers(metadata, "")}).decode()


def _numbers(value: Any, pointer: str) -> Iterator[tuple[str, Decimal]]:
    if isinstance(value, bool):
        return
    if isinstance(value, (int, Decimal)):
        yield pointer, Decimal(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{pointer}/{index}")


def _fitting(number: Decimal) -> str | None:
    # abs() would round to the context's 28 digits first.
    if not number.copy_abs() < _LIMIT:
        return None
    try:
        return f"{number.quantize(_STEP, context=_CONTEXT):f}"
    except (Inexact, InvalidOperation):
        return None
