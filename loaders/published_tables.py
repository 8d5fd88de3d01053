"""The tables of a published file: written anew or changed in a copy of the last one, then read back and compared.

Another process writes the file, which it has attached as `published` (see `attach_copy`): here is the work file, and
rows are sent there as they are published.
Keys are UUIDs in the work file and text here: 32 hexadecimal digits, those of events with their hyphens.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from loaders.changes import Changes, changed_rows, changes_since
from loaders.file_writer import INCOMING, FileWriter
from loaders.warehouse import quote_identifier, quote_literal

# What is published: every table of the marts, and the reference data that users join.
MARTS = "marts"
REFERENCE_TABLES = ("currencies",)
PUBLICATION = "publication"
# The member_key of usage without a member, as the macro `unattributed` has it.
UNATTRIBUTED = "ffffffff-ffff-ffff-ffff-ffffffffffff"

# From this part of its rows on a table is written anew, and of all rows the file: that leaves no holes.
_LARGE_PART = 1 / 3

# Some marts are views of tables that the work file holds anyway; in the published file they are tables.
_TABLES = """
select t.schema_name, t.table_name, t.comment,
    list((c.column_name, c.data_type, c.comment) order by c.column_index)
from (
    select database_name, schema_name, table_name, comment from duckdb_tables() where not internal
    union all
    select database_name, schema_name, view_name, comment from duckdb_views() where not internal
) as t
inner join duckdb_columns() as c
    on t.database_name = c.database_name and t.schema_name = c.schema_name and t.table_name = c.table_name
where t.database_name = $database
group by all order by t.table_name
"""


# Where a question is asked: the work file here, or the copy there.
_Place = duckdb.DuckDBPyConnection | FileWriter


class CopyDiffersError(Exception):
    """What was read back is not what the models hold."""


@dataclass(frozen=True)
class Table:
    """A table as it stands in one of the two files: its columns are names, types and comments in order."""

    schema: str
    name: str
    comment: str | None
    columns: tuple[tuple[str, str, str | None], ...]

    @property
    def model(self) -> str:
        """The table in the work file, as SQL."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}"

    @property
    def source(self) -> str:
        """What is published of the work file's table, as SQL."""
        return f"(select {self.published()} from {self.model})"  # noqa: S608

    def published(self, names: Iterable[str] | None = None) -> str:
        """The work file's columns, or those of these names, as they are published, as SQL."""
        types = {name: data_type for name, data_type, _ in self.columns}
        columns = [(quote_identifier(name), types[name]) for name in names or types]
        return ", ".join(f"{key_text(it)} as {it}" if data_type == "UUID" else it for it, data_type in columns)

    @property
    def target(self) -> str:
        """The table in the published file, as SQL."""
        return f"published.main.{quote_identifier(self.name)}"

    @property
    def shape(self) -> list[tuple[str, str]]:
        """Names and types as they are published, in order."""
        return [(name, "VARCHAR" if data_type == "UUID" else data_type) for name, data_type, _ in self.columns]


@dataclass(frozen=True)
class Step:
    """What a table needs: all rows written (`changes` is None), those that match, or none (no keys)."""

    table: Table
    row_count: int
    changes: Changes | None = None

    @property
    def is_change(self) -> bool:
        """Whether anything is written."""
        return self.changes is None or bool(self.changes.keys)


def key_text(column: str) -> str:
    """A key as text, as the macro `key_text` writes it: SQL of a column, quoted or not, whose name says whose it is."""
    name = column.rpartition(".")[2].strip('"')
    if name.endswith("event_key"):
        return f"cast({column} as varchar)"
    text = f"replace(cast({column} as varchar), '-', '')"
    if name == "member_key":
        return f"case when {column} = cast('{UNATTRIBUTED}' as uuid) then 'unattributed' else {text} end"
    return text


def attach_copy(writer: FileWriter, path: Path, *, read_only: bool = False) -> None:
    """Attach a file that is to be published as `published`, and make it where there is none.

    A file that is not whole is thrown away, so it needs no log; 1.1 is the oldest engine that dashboards bundle.
    """
    options = "read_only" if read_only else "storage_version 'v1.0.0', recovery_mode no_wal_writes"
    # A checkpoint would write thinned out parts of tables together, and each one anew.
    writer.execute("set max_vacuum_tasks = 0")
    writer.execute(f"attach {quote_literal(str(path))} as published ({options})")


def source_tables(connection: duckdb.DuckDBPyConnection) -> list[Table]:
    """The tables of the work file that are published."""
    ((database,),) = connection.execute("select current_database()").fetchall()
    return [
        table
        for table in _tables(connection, database)
        if table.schema == MARTS or (table.schema == "reference" and table.name in REFERENCE_TABLES)
    ]


def _tables(place: _Place, database: str) -> list[Table]:
    rows = _rows(place, _TABLES, {"database": database})
    return [Table(schema, name, comment, tuple(map(tuple, columns))) for schema, name, comment, columns in rows]


def plan_whole(connection: duckdb.DuckDBPyConnection, tables: list[Table]) -> list[Step]:
    """Every table written anew."""
    return [_whole(connection, table) for table in tables]


def plan_changes(
    connection: duckdb.DuckDBPyConnection, writer: FileWriter, tables: list[Table], since: int
) -> list[Step] | None:
    """What the copy of a file from build `since` needs to hold what the tables hold now; None where that is too much.

    Comments are not in the plan: see `write`.
    """
    copied = {table.name: table for table in _tables(writer, "published")}
    steps = [_plan(connection, writer, table, copied.get(table.name), since) for table in tables]
    written = sum(step.row_count for step in steps if step.is_change)
    return steps if written <= count_rows(connection) * _LARGE_PART else None


def count_rows(connection: duckdb.DuckDBPyConnection) -> int:
    """The rows of all tables that are published."""
    return sum(_count(connection, table.model) for table in source_tables(connection))


def _plan(
    connection: duckdb.DuckDBPyConnection, writer: FileWriter, table: Table, copied: Table | None, since: int
) -> Step:
    if copied is None or copied.shape != table.shape:
        return _whole(connection, table)
    changes = changes_since(connection, table.name, {name for name, _ in table.shape}, since)
    if changes is None:
        is_equal = _count(connection, table.model) == _count(writer, table.target) and (
            _digest(connection, table.source) == _digest(writer, table.target)
        )
        return Step(table, 0, Changes(is_whole=False)) if is_equal else _whole(connection, table)
    if changes.is_whole:
        return _whole(connection, table)
    if not changes.keys:
        return Step(table, 0, changes)
    return _plan_rows(connection, table, changes)


def _plan_rows(connection: duckdb.DuckDBPyConnection, table: Table, changes: Changes) -> Step:
    rows = _rows_to_write(table)
    changed = changed_rows(table.model, changes, table.published())
    connection.execute(f"create or replace temp table {rows} as {changed}")
    count = _count(connection, rows)
    if count > _count(connection, table.model) * _LARGE_PART:
        return _whole(connection, table)
    return Step(table, count, changes)


def _whole(connection: duckdb.DuckDBPyConnection, table: Table) -> Step:
    return Step(table, _count(connection, table.model))


def _rows_to_write(table: Table) -> str:
    return f"temp.{quote_identifier('rows of ' + table.name)}"


def write(connection: duckdb.DuckDBPyConnection, writer: FileWriter, steps: list[Step]) -> None:
    """Carry out a plan in `published`, in the writer's transaction: tables, rows, comments; others are dropped."""
    copied = {table.name: table for table in _tables(writer, "published")}
    for name in copied.keys() - {step.table.name for step in steps} - {PUBLICATION}:
        writer.execute(f"drop table published.main.{quote_identifier(name)}")
    for step in steps:
        table = step.table
        if step.changes is None:
            columns = ", ".join(f"{quote_identifier(name)} {data_type}" for name, data_type in table.shape)
            writer.execute(f"create or replace table {table.target} ({columns})")
            writer.send(f"insert into {table.target} from {INCOMING}", connection, f"from {table.source}")
            _write_comments(writer, table, None)
        else:
            if step.changes.keys:
                _write_rows(connection, writer, table, step.changes)
            _write_comments(writer, table, copied[table.name])


def _write_rows(connection: duckdb.DuckDBPyConnection, writer: FileWriter, table: Table, changes: Changes) -> None:
    changed = _changed_keys(table, changes)
    keys = f"select {table.published(changes.keys)} from {changes.relation}"  # noqa: S608
    writer.send(f"create or replace temp table {changed.relation} as from {INCOMING}", connection, keys)
    gone = changed_rows(table.target, changed, "rowid")
    writer.execute(f"delete from {table.target} where rowid in ({gone})")  # noqa: S608
    writer.send(f"insert into {table.target} from {INCOMING}", connection, f"from {_rows_to_write(table)}")


def _changed_keys(table: Table, changes: Changes) -> Changes:
    """The changes by the keys that the published rows have: a table of the writer's."""
    return replace(changes, relation=f"temp.{quote_identifier('changed ' + table.name)}")


def _write_comments(writer: FileWriter, table: Table, copied: Table | None) -> None:
    """Carry the documentation over, so that a database browser shows it."""
    if table.comment != (copied and copied.comment):
        writer.execute(f"comment on table {table.target} is {_text(table.comment)}")
    known = {name: comment for name, _, comment in copied.columns} if copied else {}
    for name, _, comment in table.columns:
        if comment != known.get(name):
            writer.execute(f"comment on column {table.target}.{quote_identifier(name)} is {_text(comment)}")


def _text(comment: str | None) -> str:
    return "null" if comment is None else quote_literal(comment)


def check(connection: duckdb.DuckDBPyConnection, writer: FileWriter, steps: list[Step]) -> None:
    """Compare `published` with the models: the number of every table's rows, and every value that was written.

    Raises CopyDiffersError where anything is off.
    """
    for step in steps:
        table = step.table
        if (read := _count(writer, table.target)) != (expected := _count(connection, table.model)):
            raise CopyDiffersError(f"{table.name}: the model has {expected} rows and {read} were read back")
        if step.is_change and _written(connection, step) != _read_back(writer, step):
            raise CopyDiffersError(f"{table.name}: what was read back is not what the model holds")


def _written(connection: duckdb.DuckDBPyConnection, step: Step) -> tuple[int, int]:
    return _digest(connection, step.table.source if step.changes is None else _rows_to_write(step.table))


def _read_back(writer: FileWriter, step: Step) -> tuple[int, int]:
    target = step.table.target
    if step.changes is None:
        return _digest(writer, target)
    return _digest(writer, f"({changed_rows(target, _changed_keys(step.table, step.changes))})")


def _digest(place: _Place, relation: str) -> tuple[int, int]:
    """Number of rows and sum of their hashes: no order matters, and a row that is there twice counts twice."""
    ((count, hashes),) = _rows(place, f"select count(*), sum(hash(t)) from {relation} as t")  # noqa: S608
    return count, hashes or 0


def _count(place: _Place, relation: str) -> int:
    count: int
    ((count,),) = _rows(place, f"select count(*) from {relation}")  # noqa: S608
    return count


def _rows(place: _Place, sql: str, parameters: dict[str, Any] | None = None) -> list[Any]:
    result = place.execute(sql, parameters)
    return result if isinstance(result, list) else result.fetchall()
