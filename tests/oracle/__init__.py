"""A second implementation of metering and rating in plain Python, and its comparison with the published tables."""

import pytest

# Worlds of revenue are built of the same records.
pytest.register_assert_rewrite("tests.conformance")
