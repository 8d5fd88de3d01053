"""Writing the published file: a checked copy of the marts, swapped in atomically.

Readers open the published file only, so that they never meet the work file's lock. It is written beside the old one,
in a storage format that DuckDB 1.1 and every later version reads, checked by reading it back, and moved over the old
one; a reader that has the old file open keeps it until it closes.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from loaders import __version__
from loaders.errors import HomeError, PublishError
from loaders.warehouse import Home, open_published_copy, open_work_file, quote_identifier, quote_literal

# What is published: every table of the marts, and the reference data that users join.
MARTS = "marts"
REFERENCE_TABLES = ("currencies",)


@dataclass(frozen=True)
class Publication:
    """What was published: the instant (UTC), the build it comes from, and how many tables."""

    path: Path
    published_at: datetime
    built_at: datetime
    as_of: datetime
    table_count: int


def publish(home: Home, *, now: datetime | None = None) -> Publication:
    """Publish the last build. Raises PublishError where it did not pass or the copy does not check out.

    The last good file stays until the new one is complete and checked.
    """
    published_at = (now or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
    with open_work_file(home) as connection:
        as_of, built_at = _passed_build(connection)
        _remove_leftovers(home)
        copy = home.path / f".{home.published_file.name}.{os.getpid()}.tmp"
        try:
            tables = _write_copy(connection, copy)
            _write_publication(connection, published_at, built_at, as_of)
            connection.execute("checkpoint published")
            connection.execute("detach published")
            _check_copy(connection, copy, tables)
            _swap(copy, home.published_file)
        except (duckdb.Error, OSError) as error:
            raise PublishError(f"{copy}: the copy could not be written: {error}. The last file stays.") from error
        finally:
            _remove_leftovers(home)
    return Publication(home.published_file, published_at, built_at, as_of, len(tables) + 1)


def is_published(home: Home) -> bool:
    """Tell whether the published file is there and comes from the last build."""
    if not home.published_file.exists():
        return False
    with open_work_file(home) as connection:
        _, built_at = _passed_build(connection)
    try:
        with open_published_copy(home.published_file) as reader:
            row = reader.execute("select built_at, meterhouse_version from publication").fetchone()
    except (duckdb.Error, HomeError):
        return False
    return row == (built_at, __version__)


def _passed_build(connection: duckdb.DuckDBPyConnection) -> tuple[datetime, datetime]:
    """Return as_of and end of the last build. Raises PublishError unless it was complete and everything passed."""
    row = connection.execute(
        "select command, is_complete, succeeded, as_of, finished_at from raw.builds order by build_id desc limit 1"
    ).fetchone()
    if row is None:
        raise PublishError("there is no build to publish. Run 'meterhouse build' first.")
    command, is_complete, succeeded, as_of, built_at = row
    if built_at is None:
        raise PublishError(
            "the last build did not end: its tables may be from two builds. Run 'meterhouse build' again."
        )
    if not succeeded:
        raise PublishError("the last build's models or tests failed. Mend the cause and run 'meterhouse build' again.")
    if not is_complete:
        raise PublishError(f"the last build ('{command}') covered only part of the project. Run 'meterhouse build'.")
    return as_of, built_at


def _remove_leftovers(home: Home) -> None:
    """Remove the copy of a publish that was killed or failed; we hold the lock, so nobody else is writing it."""
    for path in home.path.glob(f".{home.published_file.name}.*.tmp*"):
        path.unlink(missing_ok=True)


def _write_copy(connection: duckdb.DuckDBPyConnection, copy: Path) -> dict[str, int]:
    """Write every table with its comments to a new file attached as `published`; return the rows of each."""
    # 1.1 is the oldest engine that dashboards bundle.
    connection.execute(f"attach {quote_literal(str(copy))} as published (storage_version 'v1.0.0')")
    counts = {}
    for schema, table in _published_tables(connection):
        source = f"{quote_identifier(schema)}.{quote_identifier(table)}"
        target = f"published.main.{quote_identifier(table)}"
        connection.execute(f"create table {target} as from {source}")
        _copy_comments(connection, schema, table, target)
        counts[table] = _count(connection, target)
        if counts[table] != _count(connection, source):
            raise PublishError(f"{table}: the copy has {counts[table]} rows, the model has another number.")
    return counts


def _published_tables(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    rows = connection.execute(
        "select schema_name, table_name from duckdb_tables() where not internal and (schema_name = ? "
        "or (schema_name = 'reference' and list_contains(?, table_name))) order by table_name",
        [MARTS, list(REFERENCE_TABLES)],
    ).fetchall()
    return [(schema, table) for schema, table in rows]


def _copy_comments(connection: duckdb.DuckDBPyConnection, schema: str, table: str, target: str) -> None:
    """Carry the documentation over, so that a database browser shows it."""
    comment = connection.execute(
        "select comment from duckdb_tables() where schema_name = ? and table_name = ?", [schema, table]
    ).fetchone()
    if comment and comment[0]:
        connection.execute(f"comment on table {target} is {quote_literal(comment[0])}")
    columns = connection.execute(
        "select column_name, comment from duckdb_columns() "
        "where schema_name = ? and table_name = ? and comment is not null",
        [schema, table],
    ).fetchall()
    for column, text in columns:
        connection.execute(f"comment on column {target}.{quote_identifier(column)} is {quote_literal(text)}")


def _write_publication(
    connection: duckdb.DuckDBPyConnection, published_at: datetime, built_at: datetime, as_of: datetime
) -> None:
    connection.execute(
        "create table published.main.publication as select ?::timestamp as published_at, ?::timestamp as built_at, "
        "?::timestamp as as_of, (select max(data_horizon_at) from intermediate.int_organizations_covered) "
        "as data_horizon_at, ? as meterhouse_version, true as tests_passed",
        [published_at, built_at, as_of, __version__],
    )
    connection.execute(
        "comment on table published.main.publication is 'One row: when this file was published, from which build.'"
    )


def _check_copy(connection: duckdb.DuckDBPyConnection, copy: Path, counts: dict[str, int]) -> None:
    """Read every row of every table back from the closed file. Raises PublishError where anything is off."""
    if copy.with_name(copy.name + ".wal").exists():
        raise PublishError(f"{copy}: the copy was not written out completely. Check the disk and publish again.")
    with open_published_copy(copy) as reader:
        for table, expected in counts.items():
            # Hashing reads every value, which a count alone would not.
            row = reader.execute(
                f"select count(*), bit_xor(hash({quote_identifier(table)})) from {quote_identifier(table)}"  # noqa: S608
            ).fetchone()
            if row is None or row[0] != expected:
                raise PublishError(f"{table}: {expected} rows were written and {row and row[0]} read back.")


def _swap(copy: Path, target: Path) -> None:
    copy.chmod(0o640)
    _sync(copy)
    # An old write-ahead log beside the target would be applied to the new file.
    target.with_name(target.name + ".wal").unlink(missing_ok=True)
    os.replace(copy, target)
    try:
        _sync(target.parent)
    except OSError as error:
        what = f"{target}: the new file is in place, but the disk did not confirm it ({error.strerror})"
        raise PublishError(f"{what}. Check the disk and publish again.") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    row = connection.execute(f"select count(*) from {relation}").fetchone()  # noqa: S608
    return row[0] if row else 0
