"""Writing the published file: a checked copy of the marts, swapped in atomically.

Readers open the published file only, so that they never meet the work file's lock. The next one is a copy of the last
one in which the tables and rows are replaced that builds have changed since, or is written anew where that is in doubt
or no cheaper. It is written beside the old one, in a storage format that DuckDB 1.1 and every later version reads,
checked by reading it back, and moved over the old one; a reader that has the old file open keeps it until it closes.
Another process writes it, which never sees what is not published (see loaders/file_writer.py).
"""

import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from loaders import __version__
from loaders.changes import forget_changes
from loaders.database_file import DamagedFileError, copy_checked, fingerprint_of
from loaders.disk import sync_to_disk
from loaders.errors import PublishError
from loaders.file_writer import FileWriter, WriterError
from loaders.published_tables import (
    PUBLICATION,
    CopyDiffersError,
    Step,
    attach_copy,
    check,
    count_rows,
    key_text,
    plan_changes,
    plan_whole,
    source_tables,
    write,
)
from loaders.warehouse import Home, open_work_file, quote_literal, write_ahead_log

# A copy keeps holes where rows were replaced, and parts that are small. It may be half as large again as a file that
# was written anew, and small files some more: they are no burden.
_GROWTH = 1.5
_GROWTH_BYTES = 16 << 20

# What is published of a period for the first time since it closed. Later publishes may say otherwise: that is what
# period_restatements compares with.
_CLOSED_PERIODS = f"""
insert into raw.published_periods
select
    {key_text("p.billing_period_key")}, p.organization_id, {key_text("p.subscription_key")}, q.currency,
    p.period_start_at, p.period_end_at,
    case when count(*) = count(q.expected_amount) then sum(q.expected_amount)::bigint end,
    $published_at, b.through_load_id
from intermediate.int_billing_periods_settled as p
inner join intermediate.int_metered_quantities as q on p.billing_period_key = q.billing_period_key
inner join raw.builds as b on b.build_id = $build_id
where
    p.is_closed
    and {key_text("p.billing_period_key")} not in (select billing_period_key from raw.published_periods)
group by all
"""  # noqa: S608

# A published file by what it is known again by, where the build it comes from is one of this work file.
_LAST_FILE = """
select b.build_id, p.byte_count, p.row_count, p.byte_count_anew, p.row_count_anew
from raw.publications as p inner join raw.builds as b on p.built_at = b.finished_at
where
    p.fingerprint = ? and p.meterhouse_version = ? and b.is_complete and b.succeeded
    -- A file of an older version may hold what its process held.
    and p.is_written_apart
"""


# No model makes this table: what the others have from their YAML, it has from here.
_PUBLICATION_COLUMNS = {
    "published_at": "When the file was written, UTC.",
    "built_at": "When the build that it holds ended, UTC.",
    "as_of": "The instant by which periods and orders were judged open, closed and due, UTC.",
    "data_horizon_at": (
        "Until when anything is known, UTC: an organization's last complete sync, else its latest event; of several "
        "organizations the latest."
    ),
    "meterhouse_version": "The version that wrote it.",
    "tests_passed": "Always true: a build whose tests fail is not published.",
}


@dataclass(frozen=True)
class Publication:
    """What was published: the instant (UTC), the build it comes from, and how many tables.

    `changed_count` of them were changed in a copy of the last file; None where the file was written anew.
    """

    path: Path
    published_at: datetime
    built_at: datetime
    as_of: datetime
    table_count: int
    changed_count: int | None = None


@dataclass(frozen=True)
class _Build:
    """The build that is published, and when."""

    published_at: datetime
    build_id: int
    as_of: datetime
    built_at: datetime


@dataclass(frozen=True)
class _Size:
    """Bytes and rows of a file, and those of the file written anew that it is, step by step, a copy of."""

    byte_count: int
    row_count: int
    byte_count_anew: int
    row_count_anew: int

    @property
    def is_bloated(self) -> bool:
        expected = self.byte_count_anew * self.row_count / max(1, self.row_count_anew)
        return self.byte_count > expected * _GROWTH + _GROWTH_BYTES


@dataclass(frozen=True)
class _LastFile:
    """The published file as it was left: what it is known again by, the build in it, and its size."""

    fingerprint: str
    build_id: int
    size: _Size


def publish(home: Home, *, now: datetime | None = None) -> Publication:
    """Publish the last build. Raises PublishError where it did not pass or the copy does not check out.

    The last good file stays until the new one is complete and checked.
    """
    published_at = (now or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
    with open_work_file(home) as connection:
        build = _passed_build(connection, published_at)
        _remove_leftovers(home)
        copy = home.path / f".{home.published_file.name}.{os.getpid()}.tmp"
        try:
            last = _last_file(connection, home.published_file)
            steps = _change_copy(connection, home.published_file, last, copy, build) if last else None
            if steps is None:
                last, steps = None, _write_anew(connection, copy, build)
            fingerprint = _remember(connection, copy, build, last)
            _swap(copy, home.published_file)
        except (duckdb.Error, WriterError, OSError, CopyDiffersError) as error:
            raise PublishError(f"{copy}: the copy could not be written: {error}. The last file stays.") from error
        finally:
            _remove_leftovers(home)
        _remember_closed_periods(connection, build)
        _forget(connection, build, fingerprint)
    changed = sum(step.is_change for step in steps) if last else None
    return Publication(home.published_file, published_at, build.built_at, build.as_of, len(steps) + 1, changed)


def is_published(home: Home) -> bool:
    """Tell whether the published file is, byte for byte, what the last build was published as.

    What another program wrote into it, or left in a write-ahead log beside it, is no part of that.
    """
    if write_ahead_log(home.published_file).exists():
        return False
    with open_work_file(home) as connection:
        build = _passed_build(connection, datetime.now(UTC))
        last = _last_file(connection, home.published_file)
    return last is not None and last.build_id == build.build_id


def _passed_build(connection: duckdb.DuckDBPyConnection, published_at: datetime) -> _Build:
    """Return the last build. Raises PublishError unless it was complete and everything passed."""
    row = connection.execute(
        "select build_id, command, is_complete, succeeded, as_of, finished_at "
        "from raw.builds order by build_id desc limit 1"
    ).fetchone()
    if row is None:
        raise PublishError("there is no build to publish. Run 'meterhouse build' first.")
    build_id, command, is_complete, succeeded, as_of, built_at = row
    if built_at is None:
        raise PublishError(
            "the last build did not end: its tables may be from two builds. Run 'meterhouse build' again."
        )
    if not succeeded:
        raise PublishError("the last build's models or tests failed. Mend the cause and run 'meterhouse build' again.")
    if not is_complete:
        raise PublishError(f"the last build ('{command}') covered only part of the project. Run 'meterhouse build'.")
    return _Build(published_at, build_id, as_of, built_at)


def _remove_leftovers(home: Home) -> None:
    """Remove the copy of a publish that was killed or failed; we hold the lock, so nobody else is writing it."""
    for path in home.path.glob(f".{home.published_file.name}.*.tmp*"):
        path.unlink(missing_ok=True)


def _last_file(connection: duckdb.DuckDBPyConnection, path: Path) -> _LastFile | None:
    """Return what is known of the published file; None where it is missing, foreign, changed, or of another version."""
    try:
        fingerprint = fingerprint_of(path)
    except (OSError, DamagedFileError):
        return None
    row = connection.execute(_LAST_FILE, [fingerprint, __version__]).fetchone()
    return _LastFile(fingerprint, row[0], _Size(*row[1:])) if row else None


def _change_copy(
    connection: duckdb.DuckDBPyConnection, path: Path, last: _LastFile, copy: Path, build: _Build
) -> list[Step] | None:
    """Copy the last file and change what changed since; None, and no copy, where it has to be written anew."""
    if last.size.is_bloated:
        return None
    try:
        if copy_checked(path, copy) == last.fingerprint:
            with FileWriter() as writer:
                attach_copy(writer, copy)
                steps = plan_changes(connection, writer, source_tables(connection), last.build_id)
                if steps is not None:
                    _write_and_check(connection, writer, copy, steps, build)
                    return steps
    except (DamagedFileError, CopyDiffersError, WriterError, duckdb.Error):
        # Whatever is wrong with the old file or with what builds recorded, the models are there to write it anew.
        pass
    copy.unlink(missing_ok=True)
    return None


def _write_anew(connection: duckdb.DuckDBPyConnection, copy: Path, build: _Build) -> list[Step]:
    with FileWriter() as writer:
        attach_copy(writer, copy)
        steps = plan_whole(connection, source_tables(connection))
        _write_and_check(connection, writer, copy, steps, build)
    return steps


def _write_and_check(
    connection: duckdb.DuckDBPyConnection, writer: FileWriter, copy: Path, steps: list[Step], build: _Build
) -> None:
    """Write the steps to the attached copy, close it, and compare what the closed file holds."""
    writer.execute("begin")
    write(connection, writer, steps)
    _write_publication(connection, writer, build)
    writer.execute("commit")
    # Without merging thinned out parts (see `attach_copy`); see _GROWTH.
    writer.execute("checkpoint published")
    writer.execute("detach published")
    if write_ahead_log(copy).exists():
        raise CopyDiffersError("it was not written out completely")
    attach_copy(writer, copy, read_only=True)
    check(connection, writer, steps)


def _write_publication(connection: duckdb.DuckDBPyConnection, writer: FileWriter, build: _Build) -> None:
    table = f"published.main.{PUBLICATION}"
    horizon = connection.execute(
        "select max(data_horizon_at)::varchar from intermediate.int_organizations_covered"
    ).fetchall()
    writer.execute(
        f"create or replace table {table} as select ?::timestamp as published_at, ?::timestamp as built_at, "
        "?::timestamp as as_of, ?::timestamp as data_horizon_at, ? as meterhouse_version, true as tests_passed",
        [str(build.published_at), str(build.built_at), str(build.as_of), horizon[0][0], __version__],
    )
    writer.execute(f"comment on table {table} is 'One row: when this file was published, from which build.'")
    for column, comment in _PUBLICATION_COLUMNS.items():
        writer.execute(f"comment on column {table}.{column} is {quote_literal(comment)}")


def _remember(connection: duckdb.DuckDBPyConnection, copy: Path, build: _Build, last: _LastFile | None) -> str:
    """Note what the file is known again by, before it is in place: a kill in between leaves a note of no file."""
    fingerprint, byte_count = fingerprint_of(copy), copy.stat().st_size
    row_count = count_rows(connection)
    anew = (last.size.byte_count_anew, last.size.row_count_anew) if last else (byte_count, row_count)
    connection.execute(
        "insert into raw.publications values (?, ?, ?, ?, ?, ?, ?, true)",
        [fingerprint, build.built_at, __version__, byte_count, row_count, *anew],
    )
    return fingerprint


def _swap(copy: Path, target: Path) -> None:
    copy.chmod(0o640)
    sync_to_disk(copy)
    # An old write-ahead log beside the target would be applied to the new file.
    write_ahead_log(target).unlink(missing_ok=True)
    os.replace(copy, target)
    try:
        sync_to_disk(target.parent)
    except OSError as error:
        what = f"{target}: the new file is in place, but the disk did not confirm it ({error.strerror})"
        raise PublishError(f"{what}. Check the disk and publish again.") from error


def _remember_closed_periods(connection: duckdb.DuckDBPyConnection, build: _Build) -> None:
    """Keep what has just been published of periods that closed. After a kill before this the next publish does it."""
    connection.execute(_CLOSED_PERIODS, {"published_at": build.published_at, "build_id": build.build_id})


def _forget(connection: duckdb.DuckDBPyConnection, build: _Build, fingerprint: str) -> None:
    """Remove what only older files need. A file that is put back from before then is written anew.

    The new file is in place: where this fails, the next publish does it.
    """
    with contextlib.suppress(duckdb.Error):
        connection.execute("begin")
        connection.execute("delete from raw.publications where fingerprint != ?", [fingerprint])
        forget_changes(connection, build.build_id)
        connection.execute("commit")
