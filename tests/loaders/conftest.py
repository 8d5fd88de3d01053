"""A home folder in a temporary path, and the ways tests put records into it and read tables from it."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import tests.plain_environment  # noqa: F401
from loaders.landing import FileSummary, LoadOptions, LoadSummary, land_files
from loaders.warehouse import Home, open_work_file

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
CONFORMANCE = ROOT.parent / "shared" / "conformance" / "polar_cases.json"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Landing:
    """A home folder of its own: land files into it, query its work file."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.folder = folder

    def land(self, *paths: Path | str, now: datetime = NOW, **options: Any) -> LoadSummary:
        with open_work_file(self.home) as connection:
            chosen = LoadOptions(clock=lambda: now, **options)
            return land_files(connection, self.home, [str(path) for path in paths], chosen)

    def land_one(self, path: Path | str, **options: Any) -> FileSummary:
        (file,) = self.land(path, **options).files
        return file

    def land_lines(self, name: str, lines: list[dict[str, Any] | bytes], **options: Any) -> FileSummary:
        return self.land_one(self.write(name, lines), **options)

    def write(self, name: str, lines: list[dict[str, Any] | bytes]) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with open_work_file(self.home) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


@pytest.fixture
def submitted() -> Callable[..., dict[str, Any]]:
    """Return a maker of submitted events; what a test says about one is what matters in it."""

    def make(**fields: Any) -> dict[str, Any]:
        return {"name": "call", "external_customer_id": "customer_1", "organization_id": "org_1", **fields}

    return make


@pytest.fixture
def recorded() -> Callable[..., dict[str, Any]]:
    """Return a maker of recorded events."""

    def make(**fields: Any) -> dict[str, Any]:
        common = {"id": "event_1", "source": "user", "name": "call", "timestamp": "2026-01-01T00:00:00Z"}
        return {**common, "organization_id": "org_1", "external_customer_id": "customer_1", "metadata": {}, **fields}

    return make


def conformance_cases(area: str) -> list[Any]:
    """Return the worked cases of an area as pytest parameters; one skipped parameter where the folder is absent."""
    if not CONFORMANCE.exists():
        reason = "the worked cases (../shared/conformance/polar_cases.json) are not beside this checkout"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason))]
    cases = json.loads(CONFORMANCE.read_text())["cases"]
    return [pytest.param(case, id=case["id"]) for case in cases if case["area"] == area]
