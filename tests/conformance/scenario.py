"""What a case's form is made into: records that land, and questions to the warehouse."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from tests.conformance.cases import Case
from tests.conformance.world import Organization
from tests.loaders.main_job.conftest import Published, Rows

Check = TypeVar("Check", bound=Callable[..., None])

# Outcomes of usage that is, will be or may be invoiced.
BILLABLE = ("billed", "awaiting_order", "open")


@dataclass
class Warehouse:
    """The warehouse in which every case was landed."""

    published: Published
    work: Published
    files: dict[str, dict[str, Any]]

    def rows(self, sql: str, *parameters: Any) -> Rows:
        """Ask the published file."""
        return self.published.rows(sql, list(parameters))

    def row(self, sql: str, *parameters: Any) -> dict[str, Any]:
        """Ask the published file for the one row there is."""
        rows = self.rows(sql, *parameters)
        assert len(rows) == 1, f"{len(rows)} rows where one was expected: {rows}"
        return rows[0]

    def outcomes(self, organization: Organization, meter_id: str) -> dict[str, str]:
        """Return the outcome on a meter by event id, of the events that pass its filter."""
        rows = self.rows(
            "select e.event_id, o.outcome from billing_outcomes as o join usage_events as e using (usage_event_key) "
            "where o.organization_id = ? and o.meter_id = ?",
            organization.id,
            meter_id,
        )
        return {row["event_id"]: row["outcome"] for row in rows}


def awaits(table: str) -> Callable[[Check], Check]:
    """Mark a check of a table that is not published yet: from when it is, the check counts."""

    def mark(check: Check) -> Check:
        check.__dict__["table"] = table
        return check

    return mark


def answers(key: str) -> Callable[[Check], Check]:
    """Mark a check that is made only where the case expects something under this key."""

    def mark(check: Check) -> Check:
        check.__dict__["key"] = key
        return check

    return mark


class Scenario:
    """One case. Subclasses read a form of input: `land` writes records, each `check_*` compares what came out."""

    area: ClassVar[str]
    required: ClassVar[frozenset[str]]
    optional: ClassVar[frozenset[str]] = frozenset()
    compares: ClassVar[frozenset[str]]
    read: ClassVar[list[type["Scenario"]]] = []

    def __init_subclass__(cls) -> None:
        if "area" in cls.__dict__:
            Scenario.read.append(cls)

    def __init__(self, case: Case) -> None:
        self.case = case
        self.input, self.expected = case.input, case.expected
        self.organizations: dict[str, Organization] = {}
        self.files: dict[str, str] = {}
        self.organization = self.labelled("")
        self.land()

    def land(self) -> None:
        raise NotImplementedError

    def labelled(self, label: str) -> Organization:
        """Return the organization that the case calls by this name."""
        return self.organizations.setdefault(label, Organization(self.case.id, label))

    @classmethod
    def checks(cls, case: Case) -> list[str]:
        """Return the names of the checks to be made of the case."""
        names = [name for name in dir(cls) if name.startswith("check_")]
        return [name for name in names if getattr(getattr(cls, name), "key", None) in (None, *case.expected)]

    def awaited(self, check: str, warehouse: Warehouse) -> str | None:
        """Return what the check waits for, or None."""
        table = getattr(getattr(self, check), "table", None)
        return None if table is None or table in warehouse.published.tables() else f"{table} is not published yet"


def scenario_of(case: Case) -> type[Scenario] | None:
    """Return what reads the case's form of input, or None."""
    for scenario in Scenario.read:
        if scenario.area == case.area and scenario.required <= case.form <= scenario.required | scenario.optional:
            return scenario
    return None


def indexes(identifiers: Iterable[str], found: Iterable[str]) -> list[int]:
    """Return the places of the identifiers that were found."""
    wanted = set(found)
    return [number for number, identifier in enumerate(identifiers) if identifier in wanted]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path
