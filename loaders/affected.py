"""What of the project a build must make anew: all that may differ from what the last build left.

A model is affected where a raw table it reads has new rows, where as_of passed a boundary that a model it is made of
compares with, or where a model it is made of is affected. A test is, where a model or raw table it reads is; tests that
only warn always run, for what they find is told by every build. In doubt everything is affected.
"""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import duckdb

from loaders.project import project_fingerprint
from loaders.warehouse import Home, open_work_file, quote_identifier

# The last build, where every later one can start from it: it was complete and passed.
_LAST_BUILD = """
select project, as_of, through_load_id from raw.builds
where is_complete and succeeded and build_id = (select max(build_id) from raw.builds)
"""
# Which rows are new. Raw tables only grow, load after load; a replay also changes the row it replays.
_IS_NEW = {"quarantine": "greatest(load_id, replayed_load_id) > ?"}
# Written by builds and publishes, not by landing: what they hold of the last build is what it made.
_OF_BUILDS = {"wide_relations", "wide_columns", "published_periods"}


def affected_nodes(home: Home, nodes: dict[str, Any], as_of: datetime) -> list[Any] | None:
    """Return the affected ones of `nodes` (by unique id, from dbt's manifest); None: all.

    `as_of` is naive UTC.
    """
    if not home.work_file.exists():
        return None
    with open_work_file(home) as connection:
        row = connection.execute(_LAST_BUILD).fetchone()
        if row is None or row[0] != project_fingerprint():
            return None
        _, built_as_of, through_load_id = row
        moved = not built_as_of <= as_of < next_boundary(connection)

        @cache
        def has_new_rows(table: str, condition: str) -> bool:
            if table == "builds":
                return moved
            if table in _OF_BUILDS:
                return False
            is_new = _IS_NEW.get(table, "load_id > ?")
            sql = f"select 1 from raw.{quote_identifier(table)} where {is_new} and ({condition}) limit 1"  # noqa: S608
            return connection.execute(sql, [through_load_id]).fetchone() is not None

        return _affected(nodes, has_new_rows)


def next_boundary(connection: duckdb.DuckDBPyConnection) -> datetime:
    """Return until when, by the last build, as_of alone changes no table."""
    row = connection.execute("select next_boundary_at from intermediate.int_next_boundary").fetchone()
    return datetime.max if row is None or row[0] is None else row[0]


def _affected(nodes: dict[str, Any], has_new_rows: Callable[[str, str], bool]) -> list[Any]:
    @cache
    def is_affected(unique_id: str) -> bool:
        if unique_id.startswith("source."):
            return has_new_rows(unique_id.rpartition(".")[2], "true")
        node = nodes[unique_id]
        # Which rows of a raw table a model reads is written beside its query.
        rows_read = node.config.meta.get("rows_read", {})
        for parent in node.depends_on_nodes:
            table = parent.rpartition(".")[2]
            if parent.startswith("source.") and table in rows_read:
                if has_new_rows(table, rows_read[table]):
                    return True
            elif is_affected(parent):
                return True
        return False

    return [
        node
        for unique_id, node in nodes.items()
        if node.resource_type in ("model", "seed", "test")
        and ((node.resource_type == "test" and node.config.severity.lower() == "warn") or is_affected(unique_id))
    ]
