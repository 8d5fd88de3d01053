"""One warehouse for all cases: each lands in an organization of its own, then one build, one publish."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.plan import CASES, RUN
from tests.conformance.scenario import Scenario, Warehouse, write
from tests.conformance.world import START, instant, iso
from tests.loaders.main_job.conftest import Published, meterhouse


class Landed:
    """The scenarios of all cases, what could not be made of a case, and the warehouse they are in."""

    def __init__(self, folder: Path) -> None:
        self.scenarios: dict[str, Scenario] = {}
        self.failures: dict[str, Exception] = {}
        for case, scenario in RUN:
            try:
                self.scenarios[case.id] = scenario(case)
            except Exception as error:  # noqa: BLE001 - one case that cannot be read fails alone
                self.failures[case.id] = error
        paths = [write(folder, "records.jsonl", "".join(self._lines()))]
        for made in self.scenarios.values():
            paths += [write(folder, name, text) for name, text in made.files.items()]
        home = folder / "home"
        loaded = meterhouse("load", *paths, "--format", "json", home=home)
        meterhouse("run", "--as-of", iso(as_of()), home=home)
        files = {Path(file["path"]).name: file for file in json.loads(loaded.stdout)["files"]}
        self.warehouse = Warehouse(Published(home / "published.duckdb"), Published(home / "meterhouse.duckdb"), files)

    def _lines(self) -> list[str]:
        return [
            json.dumps(record) + "\n"
            for made in self.scenarios.values()
            for organization in made.organizations.values()
            for record in organization.records
        ]


def as_of() -> datetime:
    """Return a day after the last instant that any case names: every period that a case asks for has begun."""
    return max(_instants([[case.input, case.expected] for case in CASES]), default=START) + timedelta(days=1)


def _instants(value: Any) -> list[datetime]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [moment for item in value for moment in _instants(item)]
    try:
        return [instant(value)] if isinstance(value, str) and value[:2] == "20" else []
    except ValueError:
        return []


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Landed:
    return Landed(tmp_path_factory.mktemp("conformance"))
