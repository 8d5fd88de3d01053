"""The only module that opens DuckDB: the home folder, its lock, connection settings, raw tables, quoting.

Everything a run needs lies in one home folder. The work file is opened only while this process holds the folder's
lock, because DuckDB's own file lock vanishes when the process closes the file by other means.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from loaders.disk import sync_to_disk
from loaders.errors import HomeError, LockedError

if TYPE_CHECKING:
    from loaders.file_writer import FileWriter

WORK_FILE = "meterhouse.duckdb"
PUBLISHED_FILE = "published.duckdb"
LOCK_FILE = "meterhouse.lock"

# Raw tables are append-only and grow in load order, so that `load_id > n` is answered from zone maps.
# (load_id, file_number) names the landed file, record_number and byte_offset the place in it.
# zstd writes payloads in half the time and half the room of what DuckDB would choose, and reads no slower.
# raw.wide_relations and raw.wide_columns hold the names that event names and their properties were given: no build
# gives another. through_load_id is the last load that a relation was written through, null where it is not there now.
# original_sha256 is the hash of a record from which fields were redacted before it was stored.
# raw.event_keys holds one row for each of raw.events: eight bytes of its key, to search all history without reading it.
# raw.sync_cursors is the one that is written over: how far each list of Polar's API was read (loaders/sync.py).
# raw.model_changes says of each table that grows with events what a build did to it: made it anew (is_whole), or else
# changed the rows that changes.<model> names: build_id, and the columns that tell them from the table's other rows.
# Schema applied keeps small tables as the last build applied them to events; the next one looks at what differs.
# raw.erased_ids holds salted hashes of ids whose records must not land again; the salt is made with the first of them.
# raw.published_periods keeps what each closed period was first published with; nothing else of it is ever known again.
# raw.publications knows the published file again, to copy it: its size, and that of the last one that was written anew.
RAW_TABLES = """
create schema if not exists raw;

create table if not exists raw.loads (
    load_id bigint not null, file_number integer not null, source varchar not null, kind varchar not null,
    file_name varchar not null, sha256 varchar, byte_count bigint, organization_option varchar,
    started_at timestamp not null, finished_at timestamp not null,
    records bigint not null, landed bigint not null, duplicate bigint not null, conflict bigint not null,
    quarantined bigint not null, blank bigint not null, error varchar
);

create table if not exists raw.events (
    load_id bigint not null, file_number integer not null, record_number bigint not null, byte_offset bigint not null,
    organization_id varchar not null, record_key uuid not null, shape varchar not null, source varchar not null,
    landed_at timestamp not null, payload varchar not null using compression zstd
);

alter table raw.events add column if not exists original_sha256 varchar;

create table if not exists raw.event_keys (key_hash ubigint not null, load_id bigint not null);

create table if not exists raw.event_rereads (
    load_id bigint not null, file_number integer not null, record_number bigint not null, byte_offset bigint not null,
    organization_id varchar not null, record_key uuid not null, shape varchar not null, source varchar not null,
    landed_at timestamp not null, payload varchar not null
);

alter table raw.event_rereads add column if not exists original_sha256 varchar;

create table if not exists raw.resources (
    load_id bigint not null, file_number integer not null, record_number bigint not null, byte_offset bigint not null,
    organization_id varchar not null, kind varchar not null, resource_id varchar not null,
    content_hash varchar not null, modified_at timestamp, webhook_type varchar, webhook_at timestamp,
    landed_at timestamp not null, payload varchar not null
);

alter table raw.resources add column if not exists original_sha256 varchar;

create table if not exists raw.conflicts (
    load_id bigint not null, file_number integer not null, record_number bigint not null, byte_offset bigint not null,
    organization_id varchar not null, record_key uuid not null, first_load_id bigint not null,
    first_content_hash varchar not null, later_content_hash varchar not null,
    landed_at timestamp not null, payload varchar not null
);

alter table raw.conflicts add column if not exists original_sha256 varchar;

create table if not exists raw.quarantine (
    load_id bigint not null, file_number integer not null, record_number bigint not null, byte_offset bigint not null,
    organization_id varchar, kind varchar not null, reason_code varchar not null, field varchar,
    message varchar not null, found varchar,
    sha256 varchar not null, status varchar not null, replayed_load_id bigint, payload blob not null
);

create table if not exists raw.syncs (
    load_id bigint not null, organization_id varchar not null, kind varchar not null,
    covered_from_at timestamp not null, covered_to_at timestamp not null, finished_at timestamp not null,
    is_complete boolean not null
);

create table if not exists raw.sync_cursors (
    organization_id varchar not null, kind varchar not null,
    since_at timestamp, covered_to_at timestamp, swept_at timestamp,
    pass_from_at timestamp, pass_next_at timestamp, pass_is_sweep boolean
);

create table if not exists raw.erased_ids (
    organization_id varchar not null, id_hash varchar not null, erased_at timestamp not null
);

create table if not exists raw.erasure_salt (salt varchar not null);

create table if not exists raw.wide_relations (
    relation_name varchar not null, event_name varchar not null, through_load_id bigint
);

create table if not exists raw.wide_columns (
    relation_name varchar not null, position integer not null, column_name varchar not null,
    pointer varchar not null, property_path varchar not null, value_type varchar not null
);

create table if not exists raw.builds (
    build_id bigint not null, command varchar not null, as_of timestamp not null, started_at timestamp not null,
    finished_at timestamp, is_complete boolean not null, succeeded boolean, through_load_id bigint not null
);
alter table raw.builds add column if not exists project varchar;
alter table raw.builds add column if not exists definitions varchar;

create table if not exists raw.increments (model varchar primary key, definition varchar not null);
alter table raw.increments add column if not exists through_load_id bigint;

create table if not exists raw.model_changes (
    build_id bigint not null, model varchar not null, is_whole boolean not null
);
create schema if not exists changes;

create schema if not exists applied;

create table if not exists raw.published_periods (
    billing_period_key varchar not null, organization_id varchar not null, subscription_key varchar not null,
    currency varchar, period_start_at timestamp not null,
    period_end_at timestamp not null, expected_amount bigint, published_at timestamp not null,
    through_load_id bigint not null
);
alter table raw.published_periods drop column if exists customer_key;

create table if not exists raw.publications (
    fingerprint varchar not null, built_at timestamp not null, meterhouse_version varchar not null,
    byte_count bigint not null, row_count bigint not null,
    byte_count_anew bigint not null, row_count_anew bigint not null
);
alter table raw.publications add column if not exists is_written_apart boolean;
"""

# The first eight bytes of a key. Two keys may share them: what matches is compared whole.
KEY_HASH = "(record_key::uhugeint >> 64)::ubigint"


def quote_identifier(name: str) -> str:
    """Return `name` as a SQL identifier. The one way in which a name may enter SQL text."""
    if "\x00" in name:
        raise ValueError("an identifier cannot hold NUL")
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return `text` as a SQL string, for statements that take no parameters (attach, comment)."""
    if "\x00" in text:
        raise ValueError("a literal cannot hold NUL")
    return "'" + text.replace("'", "''") + "'"


class Home:
    """The folder that holds all state. Making one creates nothing; `ensure` does."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()
        self.work_file = self.path / WORK_FILE
        self.published_file = self.path / PUBLISHED_FILE
        self.lock_file = self.path / LOCK_FILE

    def ensure(self) -> None:
        """Create the folder. Raises HomeError where that fails."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomeError(
                f"{self.path}: the home folder cannot be made ({error.strerror}). "
                "Choose another with --home or METERHOUSE_HOME."
            ) from error


# flock belongs to the open file, not the process: a second open in the same process would wait for itself. dbt runs
# in this process and takes the lock too, so the locks held are counted here.
_held: dict[str, tuple[int, int]] = {}


@contextlib.contextmanager
def locked(home: Home) -> Iterator[None]:
    """Hold the home folder's lock. Re-entrant within the process; raises LockedError at once where another has it.

    The kernel drops the lock when the process ends in any way, so none is ever stale.
    """
    acquire_lock(home)
    try:
        yield
    finally:
        release_lock(home)


def acquire_lock(home: Home) -> None:
    """Take the lock (see `locked`); for callers whose lifetime is not a block, such as a dbt plugin."""
    home.ensure()
    key = str(home.lock_file)
    if key in _held:
        descriptor, count = _held[key]
        _held[key] = (descriptor, count + 1)
        return
    try:
        descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(f"{home.lock_file}: cannot be opened ({error.strerror}). Check who owns the folder.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise LockedError(key, int(holder) if holder.isdigit() else None) from error
    _write_holder(descriptor, f"{os.getpid()}\n")
    _held[key] = (descriptor, 1)


def release_lock(home: Home) -> None:
    """Give the lock back; the last release of a re-entrant lock frees it."""
    key = str(home.lock_file)
    descriptor, count = _held[key]
    if count > 1:
        _held[key] = (descriptor, count - 1)
        return
    del _held[key]
    _write_holder(descriptor, "")
    os.close(descriptor)


def _write_holder(descriptor: int, text: str) -> None:
    # The lock is held all the same: a full disk only keeps others from hearing by whom.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def prepare_connection(connection: duckdb.DuckDBPyConnection) -> None:
    """Set what every connection to the work file needs and put the raw tables in place."""
    # Instants are TIMESTAMP in UTC, and a cast from text with an offset follows the session zone.
    connection.execute("set TimeZone = 'UTC'")
    # Where rows were replaced a checkpoint would write thinned out parts of tables together, old ones too, and each one
    # anew: a third of what a small build costs. Builds do it now and then (see loaders/building.py).
    connection.execute("set max_vacuum_tasks = 0")
    connection.execute(RAW_TABLES)
    _complete_event_keys(connection)


def _complete_event_keys(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `raw.event_keys` anew where it misses events: those of a file from before it existed."""
    counts = "select (select count(*) from raw.event_keys) = (select count(*) from raw.events)"
    if connection.execute(counts).fetchall() == [(True,)]:
        return
    connection.execute(
        f"""
        begin;
        delete from raw.event_keys;
        insert into raw.event_keys select {KEY_HASH}, load_id from raw.events;
        commit;
        """  # noqa: S608
    )


def ensure_work_file(home: Home) -> None:
    """Make the work file where there is none, under the lock; with mode 0600, because it keeps every payload.

    DuckDB writes a new file's headers one by one, and reads no file without them again: what a kill or a full disk
    leaves of it must not have the work file's name. Raises HomeError where it cannot be made.
    """
    if home.work_file.exists():
        return
    begun = home.path / f".{WORK_FILE}.begun"
    try:
        remove_database(begun)
        duckdb.connect(str(begun)).close()
        _put_in_place(begun, home)
    except (duckdb.Error, OSError) as error:
        raise HomeError(
            f"{home.work_file}: cannot be made: {error}. Check the disk and who owns the folder, then run the same "
            "command again."
        ) from error


def _put_in_place(complete: Path, home: Home) -> None:
    """Give a closed DuckDB file the work file's name."""
    complete.chmod(0o600)
    sync_to_disk(complete)
    # A log beside the old name would be taken for the new file's.
    write_ahead_log(home.work_file).unlink(missing_ok=True)
    os.replace(complete, home.work_file)
    sync_to_disk(home.path)


@contextlib.contextmanager
def open_work_file(home: Home, *, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the work file for writing under the lock, with the raw tables in place, and close it at the end.

    Raises HomeError where DuckDB cannot make or open it, or where the disk stops it later on.
    """
    with locked(home):
        ensure_work_file(home)
        config: dict[str, str | bool | int | float | list[str]] = {}
        if memory_limit:
            config["memory_limit"] = memory_limit
        try:
            connection = duckdb.connect(str(home.work_file), config=config)
        except duckdb.Error as error:
            raise HomeError(f"{home.work_file}: cannot be opened: {error}") from error
        try:
            home.work_file.chmod(0o600)
            prepare_connection(connection)
            yield connection
        except (duckdb.OperationalError, duckdb.FatalException) as error:
            what = f"{home.work_file}: the database stopped: {error}"
            raise HomeError(f"{what}\nFree some space or check the disk, then run the same command again.") from error
        finally:
            connection.close()


@contextlib.contextmanager
def open_rewritten(home: Home) -> Iterator["FileWriter"]:
    """Open an empty work file, in a process of its own; at the end it takes the present one's place.

    What was deleted or overwritten in a DuckDB file stays in its free blocks, so erasing means writing a new file. The
    old one is as it was until the new one is complete; it must be closed by the end of the block. Raises HomeError
    where the disk stops it.
    """
    from loaders.file_writer import FileWriter, WriterError

    with locked(home):
        copy = home.path / f".{WORK_FILE}.rewritten"
        remove_database(copy)
        try:
            with FileWriter() as writer:
                writer.execute(f"attach {quote_literal(str(copy))} as rewritten (recovery_mode no_wal_writes)")
                copy.chmod(0o600)
                writer.execute("use rewritten")
                writer.execute(RAW_TABLES)
                yield writer
                writer.execute("checkpoint rewritten; use memory; detach rewritten")
            _put_in_place(copy, home)
        except (duckdb.OperationalError, duckdb.FatalException, WriterError, OSError) as error:
            raise HomeError(
                f"{copy}: the work file could not be written anew: {error}. Nothing was changed. Free as much space as "
                "the work file has, then run the same command again."
            ) from error
        finally:
            remove_database(copy)


def write_ahead_log(path: Path) -> Path:
    """Where DuckDB looks for what was written to a database file and is not in it yet."""
    return path.with_name(f"{path.name}.wal")


def remove_database(path: Path) -> None:
    """Remove a database file with its log and its temporary folder, as far as they are there."""
    path.unlink(missing_ok=True)
    write_ahead_log(path).unlink(missing_ok=True)
    shutil.rmtree(path.with_name(f"{path.name}.tmp"), ignore_errors=True)


@contextlib.contextmanager
def open_published_copy(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a published file read-only, with no way out of it: a reader needs no other file.

    Raises HomeError where there is none, it cannot be read, or it is not alone what was published.
    """
    if not path.exists():
        raise HomeError(f"{path}: nothing is published yet. Run 'meterhouse run'.")
    if write_ahead_log(path).exists():
        # It would be read as part of the file.
        raise HomeError(
            f"{write_ahead_log(path)}: another program has opened the published file for writing, and left this behind "
            "or still writes. Close it and run 'meterhouse publish', which writes the file anew."
        )
    try:
        connection = duckdb.connect(str(path), read_only=True, config={"enable_external_access": "false"})
    except duckdb.Error as error:
        raise HomeError(f"{path}: cannot be opened: {error}") from error
    try:
        connection.execute("set lock_configuration = true")
        yield connection
    finally:
        connection.close()
