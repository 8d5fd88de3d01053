"""Long numbers of metadata are read as they were written, or said not to fit."""

import json
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.exact import exact_metadata_numbers


def exact(text: str) -> str | None:
    found: dict[str, str | None] = json.loads(exact_metadata_numbers(f'{{"metadata": {{"n": {text}}}}}'))
    return found["/n"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("12345678.123456789012", "12345678.123456789012"),
        ("99999999999999999999999999.999999999999", "99999999999999999999999999.999999999999"),
        ("9223372036854775808", "9223372036854775808.000000000000"),
        ("-1e-12", "-0.000000000001"),
        ("1.5E+3", "1500.000000000000"),
        ("1e-13", None),
        ("0.1234567890123", None),
        ("1.0000000000000000001", None),
        ("100000000000000000000000000", None),
        ("1e400", None),
    ],
)
def test_number_is_exact_or_does_not_fit(written: str, read: str | None) -> None:
    assert exact(written) == read


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_every_decimal_is_exact_or_does_not_fit(number: Decimal) -> None:
    found = exact(f"{number:f}")
    with localcontext() as context:
        context.prec = 100
        fits = abs(number) < Decimal(10) ** 26 and number == round(number, 12)
        assert (found is not None) == fits
        assert found is None or Decimal(found) == number


def test_places_are_json_pointers() -> None:
    payload = '{"metadata": {"a.b": 1, "a": {"b": 2, "c/d~": [3, {"e": 4}]}, "t": true, "s": "5", "z": null}}'
    assert set(json.loads(exact_metadata_numbers(payload))) == {"/a.b", "/a/b", "/a/c~1d~0/0", "/a/c~1d~0/1/e"}
