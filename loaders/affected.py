"""What of the project a build must make anew: all that may differ from what the last build left.

A model is affected where a raw table it reads has new rows, where as_of passed a boundary that a model it is made of
compares with, or where a model it is made of is affected. A test is, where a model or raw table it reads is; tests that
only warn always run, for what they find is told by every build. In doubt everything is affected.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
_OF_BUILDS = {"wide_relations", "wide_columns", "wide_events", "wide_values", "published_periods"}


@dataclass(frozen=True)
class Node:
    """What is to be known of a model, view, seed or test (its `kind`): what it reads, by dbt's unique ids.

    `rows_read` says of a raw table which of its rows a model reads, where that is not all. Of a test, `only_warns` says
    that its findings stop no publish, and `has_rules` that it holds several rules of a model.
    """

    kind: str
    name: str
    parents: Sequence[str]
    rows_read: Mapping[str, str] = field(default_factory=dict)
    only_warns: bool = False
    has_rules: bool = False

    @property
    def is_table(self) -> bool:
        """Whether a build makes it, so that it can be left as it was."""
        return self.kind != "test"


def nodes_of(manifest: Any) -> dict[str, Node]:
    """Return what a build runs, by unique id, from dbt's manifest."""
    return {
        unique_id: Node(
            kind="view" if node.config.materialized == "view" else node.resource_type.value,
            name=node.name,
            parents=list(node.depends_on_nodes),
            # Which rows of a raw table a model reads is written beside its query.
            rows_read=node.config.meta.get("rows_read", {}),
            only_warns=node.resource_type == "test" and node.config.severity.lower() == "warn",
            has_rules=getattr(node, "test_metadata", None) is not None,
        )
        for unique_id, node in manifest.nodes.items()
        if node.resource_type in ("model", "seed", "test")
        # dbt keeps the tests of models that are switched off, and leaves them out of every build.
        and (getattr(node, "attached_node", None) or unique_id) in manifest.nodes
    }


def stands_on_tested_build(home: Home) -> bool:
    """Tell whether the last build was complete, of this project, and passed, so that the next one can start from it."""
    if not home.work_file.exists():
        return False
    with open_work_file(home) as connection:
        return _tested_build(connection) is not None


def affected_nodes(home: Home, nodes: Mapping[str, Node], as_of: datetime) -> set[str] | None:
    """Return the unique ids of the affected ones of `nodes`; None: all.

    `as_of` is naive UTC.
    """
    if not home.work_file.exists():
        return None
    with open_work_file(home) as connection:
        tested = _tested_build(connection)
        if tested is None:
            return None
        built_as_of, through_load_id = tested
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


def _tested_build(connection: duckdb.DuckDBPyConnection) -> tuple[datetime, int] | None:
    """Return the last build's as_of and last load; None where it is no ground for the next one to start from."""
    row = connection.execute(_LAST_BUILD).fetchone()
    return None if row is None or row[0] != project_fingerprint() else row[1:]


def next_boundary(connection: duckdb.DuckDBPyConnection) -> datetime:
    """Return until when, by the last build, as_of alone changes no table."""
    row = connection.execute("select next_boundary_at from intermediate.int_next_boundary").fetchone()
    return datetime.max if row is None or row[0] is None else row[0]


def _affected(nodes: Mapping[str, Node], has_new_rows: Callable[[str, str], bool]) -> set[str]:
    @cache
    def is_affected(unique_id: str) -> bool:
        if unique_id.startswith("source."):
            return has_new_rows(unique_id.rpartition(".")[2], "true")
        node = nodes[unique_id]
        for parent in node.parents:
            table = parent.rpartition(".")[2]
            if parent.startswith("source.") and table in node.rows_read:
                if has_new_rows(table, node.rows_read[table]):
                    return True
            elif is_affected(parent):
                return True
        return False

    return {unique_id for unique_id, node in nodes.items() if node.only_warns or is_affected(unique_id)}
