"""Polar's worked cases, run through the warehouse."""

import pytest

# A failing check shows what it compared.
pytest.register_assert_rewrite("tests.conformance")
