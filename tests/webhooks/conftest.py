"""A receiver of one's own."""

from pathlib import Path

import pytest

import tests.plain_environment  # noqa: F401
from tests.webhooks.receiving import InProcess


@pytest.fixture
def receiver(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")
