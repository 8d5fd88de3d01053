"""Run the job on a landing, read what it published, and compare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from tests.loaders.main_job.conftest import meterhouse
from tests.oracle.billing import Billing
from tests.oracle.generator import Landing, iso
from tests.oracle.records import organizations, parse

Key = tuple[Any, ...]
Row = dict[str, Any]


class Judged:
    """A landing, what the job published of it, and what the oracle says."""

    def __init__(self, landing: Landing, folder: Path) -> None:
        self.landing, self.as_of = landing, landing.as_of
        paths = landing.write(folder / "landing")
        self._run(paths, folder / "home")
        self._path = folder / "home" / "published.duckdb"
        records = {kind: parse(lines) for kind, lines in landing.lines().items()}
        self.organizations = organizations(records)
        self.billings = [Billing(organization, self.as_of) for organization in self.organizations]

    def _run(self, paths: list[Path], home: Path) -> None:
        home.mkdir(parents=True)
        meterhouse("run", *paths, "--as-of", iso(self.as_of), home=home)

    def rows(self, sql: str) -> list[Row]:
        with duckdb.connect(str(self._path), read_only=True) as reader:
            cursor = reader.execute(sql)
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def has_table(self, name: str) -> bool:
        return bool(self.rows(f"select 1 from duckdb_tables() where table_name = '{name}'"))


def agree(published: dict[Key, Any], expected: dict[Key, Any]) -> None:
    """Fail with the first differences, each with its key, what the oracle expects and what is published."""
    differences = [
        f"{key}\n    expected  {expected.get(key, 'no row')}\n    published {published.get(key, 'no row')}"
        for key in sorted({*published, *expected}, key=str)
        if published.get(key) != expected.get(key) or (key in published) != (key in expected)
    ]
    assert not differences, f"{len(differences)} rows differ:\n" + "\n".join(differences[:8])


def by_key(rows: list[Row], key: Callable[[Row], Key], value: Callable[[Row], Any]) -> dict[Key, Any]:
    found = {key(row): value(row) for row in rows}
    assert len(found) == len(rows), "published rows share a key"
    return found
