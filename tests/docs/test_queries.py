"""Every query in the README and in docs runs on a published file, and gives the answer that stands below it."""

import re
from decimal import Decimal
from typing import Any

import pytest

from tests.docs.pages import FOLDER, Block, Section, blocks, sections
from tests.loaders.main_job.conftest import Published, World

QUERIES = blocks("sql")
# The sample world has no rows of these: the table is not built by default, or nothing was published before.
WITHOUT_ROWS = ("optional", "empty")


@pytest.fixture(scope="module")
def published(world: World) -> Published:
    return world.published


@pytest.mark.parametrize("query", [query for query in QUERIES if "optional" not in query.flags], ids=str)
def test_query_runs_and_finds_something(published: Published, query: Block) -> None:
    assert query.flags == () or set(query.flags) <= set(WITHOUT_ROWS), f"{query}: what is {query.flags}?"
    assert bool(published.rows(query.text)) is ("empty" not in query.flags)


@pytest.mark.parametrize("query", [query for query in QUERIES if query.answer is not None], ids=str)
def test_query_gives_the_answer_below_it(published: Published, query: Block) -> None:
    """Further columns of the answer are words about a row."""
    rows = [{name: _shown(value) for name, value in row.items()} for row in published.rows(query.text)]
    assert query.answer is not None
    answer = [{name: cell for name, cell in row.items() if name in rows[0]} for row in query.answer]
    assert [list(row) for row in answer] == [list(row) for row in rows], f"{query}: other columns or rows"
    assert answer == rows


def test_the_only_queries_without_an_answer_here_are_marked() -> None:
    marked = {flag: [str(query) for query in QUERIES if flag in query.flags] for flag in WITHOUT_ROWS}
    assert {flag: len(queries) for flag, queries in marked.items()} == {"optional": 1, "empty": 1}, marked


TABLES = sections(FOLDER / "tables.md")


def facts(section: Section) -> tuple[list[str], dict[str, list[tuple[str, str]]]]:
    """What a section says of its table: the columns of its key, and by table that it joins, theirs and ours."""
    (line,) = [line for line in section.text.splitlines() if "One row" in line]
    keys = re.search(r"Key: (.+?)\.(?: |$)", line)
    joins = re.search(r"Joins: (.+?)\.(?: |$)", line)
    made = {}
    for join in joins[1].split("; ") if joins else ():
        table, columns = join.split(" on ")
        pairs = [re.findall(r"`(\w+)`", column) for column in columns.split(", ")]
        made[table.strip("`")] = [(pair[0], pair[-1]) for pair in pairs]
    return re.findall(r"`(\w+)`", keys[1]) if keys else [], made


def published_name(section: Section) -> str:
    return "wide_job_run" if section.title.startswith("wide_") else section.title


DESCRIBED = [section for section in TABLES if "One row" in section.text]


@pytest.mark.parametrize("section", DESCRIBED, ids=lambda section: section.title)
def test_key_is_unique_and_joins_hold(published: Published, section: Section) -> None:
    table = published_name(section)
    if table not in published.tables():
        assert table == "usage_metadata"
        return
    keys, joins = facts(section)
    repeated = published.rows(f"select {', '.join(keys) or 'true'} from {table} group by all having count(*) > 1")
    assert repeated == [], f"{table}: no key: {keys}"
    for other, columns in joins.items():
        same = " and ".join(f"theirs.{their_column} = ours.{our_column}" for their_column, our_column in columns)
        found = published.rows(f"from {table} as ours join {other} as theirs on {same} limit 1")
        # The world's one table without rows joins to nothing, but on columns that are there.
        assert found or table == "period_restatements", f"{table}: no row joins {other} on {columns}"


def test_each_table_has_a_query_of_its_own() -> None:
    text = (FOLDER / "tables.md").read_text(encoding="utf-8")
    for section in DESCRIBED:
        part = text.partition(f"### {section.title}\n")[2].partition("\n#")[0]
        assert re.search(rf"```sql.*\b(?:from|join) {published_name(section)}\b", part, re.DOTALL), section.title


def test_tables_are_those_of_the_file(published: Published) -> None:
    file = {"wide_<event name>" if name.startswith("wide_") else name for name in published.tables()}
    assert {section.title for section in DESCRIBED} == file | {"usage_metadata"}


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)
