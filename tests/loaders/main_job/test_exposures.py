"""dbt knows who reads which table: each dashboard and the report, with the tables that their SQL reads."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from loaders import report, summary
from loaders.report import DASHBOARDS
from loaders.warehouse import open_published_copy
from tests.loaders.main_job.conftest import ROOT, World

EXPOSURES = {
    exposure["name"]: exposure
    for exposure in yaml.safe_load((ROOT / "models" / "marts" / "_exposures.yml").read_text())["exposures"]
}
QUERIES = sorted(DASHBOARDS.glob("*.sql"))
# Written by the publish, not by a model.
NO_MODEL = {"publication"}


class Listening:
    """A connection that remembers what it was asked."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, asked: list[str]) -> None:
        self._connection = connection
        self._asked = asked

    def execute(self, sql: str, *parameters: Any) -> Any:
        # Only what is read of it matters, and a statement with parameters cannot be asked for its tables.
        self._asked.append(sql.replace("?", "null") if parameters else sql)
        return self._connection.execute(sql, *parameters)

    def sql(self, sql: str) -> Any:
        self._asked.append(sql)
        return self._connection.sql(sql)


def tables_read(published: Path, *queries: str) -> list[str]:
    with open_published_copy(published) as reader:
        return sorted(set().union(*map(reader.get_table_names, queries)) - NO_MODEL)


def declared(name: str) -> list[str]:
    return sorted(reference.removeprefix("ref('").removesuffix("')") for reference in EXPOSURES[name]["depends_on"])


def test_each_dashboard_has_an_exposure_and_no_other() -> None:
    assert sorted(EXPOSURES) == sorted([*(path.stem for path in QUERIES), "report"])


@pytest.mark.parametrize("query", QUERIES, ids=lambda path: path.stem)
def test_exposure_depends_on_the_tables_its_query_reads(world: World, query: Path) -> None:
    text = query.read_text()
    assert declared(query.stem) == tables_read(world.published.path, text)
    assert EXPOSURES[query.stem]["description"] == text.splitlines()[0].removeprefix("-- ")


def test_report_depends_on_the_tables_it_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is asked of the file for the page, its CSV and the summary."""
    asked: list[str] = []

    @contextlib.contextmanager
    def listen(path: Path) -> Iterator[Listening]:
        with open_published_copy(path) as reader:
            yield Listening(reader, asked)

    for module in (report, summary):
        monkeypatch.setattr(module, "open_published_copy", listen)
    report.read_report(world.published.path)
    summary.summarize(world.published.path)

    assert len(asked) > len(QUERIES) + 5
    assert declared("report") == tables_read(world.published.path, *asked)
