"""A build without dbt: what dbt executed for each node before, executed again in one transaction.

Where the last build was complete, passed, and of this very project, dbt compiles each node to the same statements as
then: all that differs from build to build is in variables of the connection, or asked for by the statements themselves
(`value_of`, `statement_of` in macros/increments.sql). Starting dbt and compiling takes longer than executing
where little is new, so statements are kept beside dbt's own cache in the target folder and repeated. Whatever is in
doubt is dbt's: a node that was never executed so, a statement that fails, a test that does not pass. Then the
transaction is rolled back, as if this build had never begun, and dbt says what is wrong.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from loaders.affected import Node, affected_nodes
from loaders.building import prepare_build, set_variables
from loaders.errors import HomeError
from loaders.project import project_fingerprint
from loaders.warehouse import Home, open_work_file

# Marks of statements that are executed while others are compiled; macros write them.
SAME_IN_PLACE = "/* the same wherever a build works in place */"
RETURNS_NEXT = "/* returns the next statement */"

# What is part of dbt's own transactions, and what it writes before each statement: a comment with the node's name.
_TRANSACTION = {"BEGIN", "COMMIT", "ROLLBACK"}
_COMMENT = re.compile(r"\A\s*/\* \{.*?\} \*/\s*", re.DOTALL)
# What dbt asks for itself: which relations and columns there are. Where a build works in place, they all are.
_CATALOG = re.compile(r"\bfrom\s+(?:system\.)?(?:information_schema\.|duckdb_\w+\(\))", re.IGNORECASE)

# They ask whether the build works in place and is complete: one that is repeated does, and is.
_FIRST, _LAST = (f"operation.meterhouse.meterhouse-on-run-{when}-0" for when in ("start", "end"))
_HOOKS = (_FIRST, _LAST)

_Sequence = list[tuple[str, list[str]]]
Progress = Callable[[int, int, str], None]
Log = Callable[[str, str], None]


@dataclass(frozen=True)
class Finding:
    """A test that only warns found so many rows."""

    name: str
    row_count: int


@dataclass(frozen=True)
class Repeated:
    """What a build without dbt did; everything passed."""

    model_count: int
    test_count: int
    kept_count: int
    findings: list[Finding] = field(default_factory=list)


class Recorder:
    """Takes down what dbt executes, node by node."""

    def __init__(self) -> None:
        self._statements: defaultdict[str, list[str]] = defaultdict(list)

    def notice(self, event: Any) -> None:
        """Take down a statement; `event` is any of dbt's."""
        if event.info.name != "SQLQuery" or not (unique_id := event.data.node_info.unique_id):
            return
        statement = _COMMENT.sub("", event.data.sql).strip()
        if statement and statement not in _TRANSACTION:
            self._statements[unique_id].append(statement)

    def keep(self, home: Home, nodes: Mapping[str, Node]) -> None:
        """Keep what was executed for the next builds, with what is kept of this project already.

        Only after a build that worked in place and passed: what others executed, no later one may repeat.
        """
        kept = _read(home)
        known = kept.statements if kept and kept.project == project_fingerprint() else {}
        for unique_id, statements in self._statements.items():
            if unique_id not in nodes or nodes[unique_id].kind in ("model", "test"):
                known[unique_id] = _repeatable(unique_id, statements)
        parents = {unique_id: [it for it in node.parents if it in nodes] for unique_id, node in nodes.items()}
        order = TopologicalSorter(parents).static_order()
        _write(home, _Kept(project_fingerprint(), {unique_id: nodes[unique_id] for unique_id in order}, known))


@dataclass(frozen=True)
class _Kept:
    """The nodes of a project, parents first, and the statements of those that were executed; None: not repeatable."""

    project: str
    nodes: dict[str, Node]
    statements: dict[str, list[str] | None]


def repeat_build(home: Home, as_of: datetime, log: Log, progress: Progress | None) -> Repeated | None:
    """Build what is affected without dbt; None, and nothing done, where dbt must.

    `as_of` is naive UTC. `log` takes a level and a line.
    """
    kept = _read(home)
    if kept is None or kept.project != project_fingerprint():
        return None
    affected = affected_nodes(home, kept.nodes, as_of)
    if affected is None:
        return None
    # A view is what it was; its text is the project's.
    executed = [unique_id for unique_id in kept.nodes if unique_id in affected and kept.nodes[unique_id].kind != "view"]
    sequence: _Sequence = []
    unknown = []
    for unique_id in (_FIRST, *executed, _LAST):
        statements = kept.statements.get(unique_id)
        if statements is None:
            unknown.append(unique_id)
        else:
            sequence.append((unique_id, statements))
    if unknown:
        log("info", f"dbt is needed for {', '.join(unknown)}")
        return None
    try:
        findings = _repeat(home, as_of, kept, sequence, progress)
    except duckdb.InterruptException:
        # A signal: it ends the run.
        raise
    except (duckdb.Error, HomeError, _InDoubtError) as error:
        log("warn", f"A build without dbt was given up, and nothing of it is left: {error}")
        return None
    is_table = {unique_id: node.is_table for unique_id, node in kept.nodes.items()}
    model_count = sum(is_table[unique_id] for unique_id in affected)
    log("info", f"Built without dbt: {', '.join(kept.nodes[unique_id].name for unique_id in executed)}")
    return Repeated(model_count, len(affected) - model_count, sum(is_table.values()) - model_count, findings)


def _repeat(home: Home, as_of: datetime, kept: _Kept, sequence: _Sequence, progress: Progress | None) -> list[Finding]:
    """Execute statements in one transaction, which closing the connection takes back; return what tests found."""
    findings: list[Finding] = []
    with open_work_file(home) as connection:
        set_variables(connection, prepare_build(connection, as_of))
        connection.execute("begin")
        for number, (unique_id, statements) in enumerate(sequence):
            node = kept.nodes.get(unique_id)
            try:
                answer = _execute(connection, statements)
            except duckdb.InterruptException:
                raise
            except duckdb.Error as error:
                raise _InDoubtError(f"{unique_id}: {error}") from error
            if node is None:
                continue
            if node.kind == "test" and (row_count := _judged(node, answer)):
                findings.append(Finding(node.name, row_count))
            if progress is not None:
                # The first of the sequence is a hook, and so is the last.
                progress(number, len(sequence) - 2, node.name)
        connection.execute("commit")
    return findings


class _InDoubtError(Exception):
    """dbt has to say what this is."""


def _execute(connection: duckdb.DuckDBPyConnection, statements: Iterable[str]) -> dict[str, Any]:
    """Execute a node's statements; return the first row of the last one by column, empty where there is none."""
    row: tuple[Any, ...] | None = None
    for statement in statements:
        row = connection.execute(statement).fetchone()
        if statement.startswith(RETURNS_NEXT) and row is not None:
            connection.execute(row[0])
    names = [column[0] for column in connection.description or []]
    return dict(zip(names, row, strict=False)) if row is not None else {}


def _judged(node: Node, answer: Mapping[str, Any]) -> int:
    """Return how many rows a test that only warns found; raise _InDoubtError where a build must not go on."""
    if not answer["should_warn"] and not answer["should_error"]:
        return 0
    # Which of a model's rules is broken is dbt's to find out.
    if not node.only_warns or node.has_rules:
        raise _InDoubtError(f"{answer['failures']} rows against {node.name}")
    return int(answer["failures"])


def _repeatable(unique_id: str, statements: list[str]) -> list[str] | None:
    """Return what of a node's statements is to be repeated; None where one of them may have shaped another."""
    kept: list[str] = []
    is_next_asked_for = False
    for number, statement in enumerate(statements, 1):
        is_answer = unique_id.startswith("test.") and number == len(statements)
        if is_next_asked_for:
            is_next_asked_for = False
        elif statement.startswith(RETURNS_NEXT):
            kept.append(statement)
            is_next_asked_for = True
        elif is_answer or not _is_question(statement):
            kept.append(statement)
        elif not (statement.startswith(SAME_IN_PLACE) or _CATALOG.search(statement) or unique_id in _HOOKS):
            return None
    return kept


def _is_question(statement: str) -> bool:
    return statement.lower().startswith(("select", "with", "(", "/*"))


def _path(home: Home) -> Path:
    return home.path / "target" / "statements.json"


def _read(home: Home) -> _Kept | None:
    """Return what is kept; None where nothing is, or where it cannot be read: then dbt builds and writes it anew."""
    try:
        kept = json.loads(_path(home).read_bytes())
        nodes = {unique_id: Node(**node) for unique_id, node in kept["nodes"].items()}
        return _Kept(kept["project"], nodes, kept["statements"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(home: Home, kept: _Kept) -> None:
    nodes = {unique_id: vars(node) for unique_id, node in kept.nodes.items()}
    text = json.dumps({"project": kept.project, "nodes": nodes, "statements": kept.statements})
    path = _path(home)
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    part.write_text(text)
    os.replace(part, path)
