"""Landing: one transaction per file holds its rows, quarantine, conflicts and ledger row, or none of them.

A page of Polar's API and a segment of received webhooks land as a file does: each is a `Source` of lines with an
`Origin`, and what is to be remembered of it (a `Mark`) goes into the same transaction.
Landing again what was landed changes nothing: a known file is skipped, a known record counts as a duplicate. So a
run that was killed at any moment is mended by running it again.
"""

import contextlib
import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from typing import Any, Protocol, TypeVar

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loaders import records
from loaders.errors import HomeError, UnreadableFileError
from loaders.plain_events import PlainJudge, may_be_plain
from loaders.privacy import Guard
from loaders.sources.files import (
    STANDARD_INPUT,
    SourceFile,
    expand_paths,
    remove_stale_spools,
    shown_name,
    total_size,
)
from loaders.sources.lines import Lines, read_ahead
from loaders.sources.spool import SegmentSource, Spool, segment_name
from loaders.warehouse import KEY_HASH, Home

_BATCH_RECORDS = 50_000
_BATCH_BYTES = 32 << 20
# DuckDB's row group. Batches of an Arrow table go to its threads, and a thread whose batches end within a row group
# copies what it has of it once more: batches of 8192 lines cost a quarter more.
_ROW_GROUP = 122_880
# Lines that are compared with what is known and inserted together, for which history is searched once: whole row
# groups, until there are four of them or so many bytes. The first one is awaited by idle threads and goes alone.
_GROUP_LINES, _GROUP_BYTES = 4 * _ROW_GROUP, 128 << 20
# Where lines are so long that no row group fills.
_LARGEST_GROUP_BYTES = 192 << 20
# What DuckDB may keep in memory while landing: it would otherwise keep all that it writes, up to most of the machine's.
LANDING_MEMORY = "512MB"
# They keep ahead of DuckDB's inserting; one does not.
_JUDGING_THREADS = 2

_PLACE = [("record_number", pa.int64()), ("byte_offset", pa.int64())]
_EVENT_SCHEMA = pa.schema(
    [
        *_PLACE,
        ("organization_id", pa.large_string()),
        ("record_key", pa.large_string()),
        ("shape", pa.large_string()),
        ("source", pa.large_string()),
        ("bytes_sha256", pa.large_string()),
        ("original_sha256", pa.large_string()),
        ("payload", pa.large_string()),
    ]
)
_RESOURCE_SCHEMA = pa.schema(
    [
        *_PLACE,
        ("organization_id", pa.large_string()),
        ("kind", pa.large_string()),
        ("resource_id", pa.large_string()),
        ("content_hash", pa.large_string()),
        ("modified_at", pa.timestamp("us")),
        ("webhook_type", pa.large_string()),
        ("webhook_at", pa.timestamp("us")),
        ("bytes_sha256", pa.large_string()),
        ("original_sha256", pa.large_string()),
        ("payload", pa.large_string()),
    ]
)
_QUARANTINE_SCHEMA = pa.schema(
    [
        *_PLACE,
        ("organization_id", pa.large_string()),
        ("kind", pa.large_string()),
        ("reason_code", pa.large_string()),
        ("field", pa.large_string()),
        ("message", pa.large_string()),
        ("found", pa.large_string()),
        ("sha256", pa.large_string()),
        ("payload", pa.large_binary()),
    ]
)

_Numbers = npt.NDArray[np.int64]
_Record = TypeVar("_Record", records.Judged, tuple[int, records.Judged])

_STAGE_TABLES = """
create or replace temp table staged_events (
    record_number bigint, byte_offset bigint, organization_id varchar, record_key uuid, shape varchar, source varchar,
    bytes_sha256 varchar, original_sha256 varchar, payload varchar
);
create or replace temp table nameless_events as from staged_events;
create or replace temp table staged_resources (
    record_number bigint, byte_offset bigint, organization_id varchar, kind varchar, resource_id varchar,
    content_hash varchar, modified_at timestamp, webhook_type varchar, webhook_at timestamp, bytes_sha256 varchar,
    original_sha256 varchar, payload varchar
);
create or replace temp table staged_quarantine (
    record_number bigint, byte_offset bigint, organization_id varchar, kind varchar, reason_code varchar,
    field varchar, message varchar, found varchar, sha256 varchar, payload blob
);
"""


# Of `batch_keys`: those that history has, with their loads, and those that occur twice.
_KEY_MATCHES = """
select distinct key_hash, load_id from raw.event_keys semi join batch_keys using (key_hash)
union all
select key_hash, null from batch_keys group by key_hash having count(*) > 1
"""
_KNOWN_FILES = """
from raw.loads as l
where l.error is null and l.byte_count = $byte_count and l.kind = $kind
    and l.organization_option is not distinct from $organization
"""
_WAITING = """(
    select count(*) from raw.quarantine as q
    where q.load_id = l.load_id and q.file_number = l.file_number
        and q.status = 'open' and q.reason_code = 'missing_organization'
)"""


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user chose, and the clock. `landed_at` is what the rows say instead of the load's start."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    kind: str = "auto"
    organization_id: str | None = None
    landed_at: datetime | None = None


class FileSummary(msgspec.Struct, kw_only=True):
    """What became of one file: records = landed + duplicate + conflict + quarantined.

    `needs_organization` says that every record waits in quarantine for an organization, also where the file is skipped.
    """

    path: str
    records: int = 0
    landed: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0
    blank: int = 0
    skipped: bool = False
    error: str | None = None
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    needs_organization: bool = False


class LoadSummary(msgspec.Struct):
    """What became of one command's files."""

    load_id: int
    files: list[FileSummary]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a source's bytes are from: the ledger's `source`, the name to show, and the kind the name suggests.

    A name that is given once (`has_own_name`) is how the source is known again, whatever this run is told to make of
    it; other sources are known by their bytes and the options.
    """

    source: str
    name: str
    hint: str | None = None
    has_own_name: bool = False


class Source(Protocol):
    """Bytes to land, read once to their end. `sha256`, `byte_count` and `blank_count` are true once they are."""

    blank_count: int

    @property
    def sha256(self) -> str: ...

    @property
    def byte_count(self) -> int: ...

    @property
    def stored_size(self) -> int: ...

    def __enter__(self) -> "Source": ...

    def __exit__(self, *_: object) -> None: ...

    def hash_ahead(self) -> str: ...

    def blocks(self) -> Iterator[Lines]: ...


class Mark(Protocol):
    """What a source remembers of how far it has landed: written in the landing's transaction, read back after it."""

    def write(self) -> None: ...

    def is_written(self) -> bool: ...


class Progress(Protocol):
    """Hears how far a load is, in stored bytes. The total is what is known at the start; a pipe has no size."""

    def start(self, total: int) -> None: ...

    def advance(self, count: int) -> None: ...


def land_files(
    connection: duckdb.DuckDBPyConnection,
    home: Home,
    paths: list[str],
    options: LoadOptions,
    *,
    progress: Progress | None = None,
) -> LoadSummary:
    """Land every file that `paths` name, each in a transaction of its own; an unreadable file stops no other.

    Raises HomeError where the machine stops it (disk full, damaged work file): what was acknowledged stays, the rest
    lands when the command is run again.
    """
    remove_stale_spools(home.path)
    load = Load(connection, home, started_at=options.clock())
    summary = LoadSummary(load.load_id, [])
    files = expand_paths(paths, home=home.path)
    if progress is not None:
        progress.start(total_size(files))
    on_bytes = None if progress is None else progress.advance
    for path in files:
        summary.files.append(load.land(_file_origin(path), partial(_open_file, path, home, on_bytes), options))
    return summary


def _file_origin(path: str) -> Origin:
    if path == STANDARD_INPUT:
        return Origin(source="stdin", name=path)
    return Origin(source="files", name=shown_name(path), hint=records.hint_from_path(path))


def _open_file(path: str, home: Home, on_bytes: Callable[[int], None] | None) -> Source:
    return SourceFile(path, home=home.path, on_bytes=on_bytes)


def land_spool(
    connection: duckdb.DuckDBPyConnection, home: Home, options: LoadOptions
) -> tuple[LoadSummary, list[FileSummary]]:
    """Land the webhooks that wait in the spool, and return what became of them and which segments are damaged.

    A segment is removed only when its ledger row has been read back. Raises HomeError as `land_files` does.
    """
    spool = Spool(home.path)
    options = msgspec.structs.replace(options, kind="webhooks", landed_at=None)
    load = Load(connection, home, started_at=options.clock())
    summary, damaged = LoadSummary(load.load_id, []), []
    for path in spool.seal_all():
        origin = Origin(source="webhooks", name=segment_name(path), has_own_name=True)
        entry = load.land(origin, partial(SegmentSource, path), options)
        summary.files.append(entry)
        if entry.error is None and not spool.remove(path):
            damaged.append(entry)
    return summary, damaged


class Load:
    """What one command lands: each file, page or segment in a transaction of its own, under one load_id."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, home: Home, *, started_at: datetime) -> None:
        self._connection = connection
        self._home = home
        self._started_at = started_at
        self._file_number = 0
        self._guard = Guard(connection)
        self.load_id = _next_load_id(connection)
        connection.execute(_STAGE_TABLES)  # each file leaves them empty, as it found them
        # Rows are in load order all the same, file by file; keeping the lines' order would leave one thread to insert.
        connection.execute("set preserve_insertion_order = false")

    def land(
        self,
        origin: Origin,
        open_source: Callable[[], Source],
        options: LoadOptions,
        *,
        mark: Mark | None = None,
    ) -> FileSummary:
        """Land one source, or skip it where it landed before, or note why it cannot be read.

        The mark is set in the transaction that lands the source. Raises HomeError where the machine stops it.
        """
        with self._landing(origin, options) as file:
            return file.land(open_source, mark)

    def note(self, origin: Origin, options: LoadOptions, mark: Mark) -> None:
        """Set a mark that no records come with, and write a ledger row for it: a load is what the ledger knows."""
        self.land(origin, _Nothing, options, mark=mark)

    def note_error(self, origin: Origin, options: LoadOptions, message: str) -> None:
        """Write a ledger row for a source that could not be had at all, and why."""
        with self._landing(origin, options) as file:
            file.note_error(message)

    @contextlib.contextmanager
    def _landing(self, origin: Origin, options: LoadOptions) -> Iterator["_FileLanding"]:
        self._file_number += 1
        try:
            yield _FileLanding(
                self._connection,
                self._home,
                origin,
                self.load_id,
                self._file_number,
                options,
                self._started_at,
                self._guard,
            )
        except duckdb.Error as error:
            what = f"{self._home.work_file}: the database stopped while {origin.name} was landing: {error}"
            raise HomeError(f"{what}\nFree some space or check the disk, then run the same command again.") from error


class _Nothing:
    """A source without bytes, which no ledger row makes known: it lands each time."""

    blank_count = 0
    sha256 = hashlib.sha256(b"").hexdigest()
    byte_count = 0
    stored_size = -1

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None: ...

    def hash_ahead(self) -> str:
        return self.sha256

    def blocks(self) -> Iterator[Lines]:
        yield from ()


def _next_load_id(connection: duckdb.DuckDBPyConnection) -> int:
    return int(_fetch_one(connection, "select coalesce(max(load_id), 0) + 1 from raw.loads", [])[0])


def _fetch_one(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(sql, parameters).fetchone()
    if row is None:
        raise ValueError("the query must return a row")
    return row


class _FileLanding:
    """The landing of one file, from its bytes to its acknowledged ledger row."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        home: Home,
        origin: Origin,
        load_id: int,
        file_number: int,
        options: LoadOptions,
        started_at: datetime,
        guard: Guard,
    ) -> None:
        self._connection = connection
        self._home = home
        self._origin = origin
        self._options = options
        self._place = {"load_id": load_id, "file_number": file_number}
        self._started_at = _naive_utc(started_at)
        self._landed_at = _naive_utc(options.landed_at or started_at)
        self._entry = FileSummary(path=origin.name)
        self._occurrences: dict[tuple[str, str], int] = {}
        self._open_quarantine: set[str] = set()
        self._staged: set[str] = set()
        self._has_nameless = False
        self._guard = guard

    def land(self, open_source: Callable[[], Source], mark: Mark | None) -> FileSummary:
        """Land the file, or skip it where it landed before, or note why it cannot be read."""
        try:
            with open_source() as source:
                if self._landed_before(source):
                    self._entry.skipped = True
                    if mark is not None:
                        self._in_transaction(mark.write, mark)
                else:
                    self._land_source(source, mark)
        except UnreadableFileError as error:
            return self.note_error(str(error))
        return self._entry

    def note_error(self, message: str) -> FileSummary:
        """Write a ledger row that says why nothing landed."""
        self._entry = FileSummary(path=self._origin.name, error=message)
        self._in_transaction(lambda: self._write_ledger(None))
        return self._entry

    def _landed_before(self, source: Source) -> bool:
        """Hash ahead only where the ledger knows a file of this size: other files are read once."""
        if self._origin.has_own_name:
            return self._landed_under_its_name(source)
        known = {
            "byte_count": source.stored_size,
            "kind": self._options.kind,
            "organization": self._options.organization_id,
        }
        if not _fetch_one(self._connection, f"select count(*) {_KNOWN_FILES}", known)[0]:
            return False
        known["sha256"] = source.hash_ahead()
        waiting = f"select l.records, {_WAITING} {_KNOWN_FILES} and l.sha256 = $sha256"
        row = self._connection.execute(waiting, known).fetchone()
        self._entry.needs_organization = row is not None and 0 < row[0] == row[1]
        return row is not None

    def _landed_under_its_name(self, source: Source) -> bool:
        known = (
            "select count(*) from raw.loads "
            "where source = $source and file_name = $name and sha256 = $sha256 and error is null"
        )
        origin = {"source": self._origin.source, "name": self._origin.name, "sha256": source.hash_ahead()}
        return bool(_fetch_one(self._connection, known, origin)[0])

    def _land_source(self, source: Source, mark: Mark | None) -> None:
        def work() -> None:
            self._read_open_quarantine()
            self._stage(source)
            self._name_by_position(source.sha256)
            self._move_staged()
            self._entry.blank = source.blank_count
            self._entry.needs_organization = 0 < self._entry.records == self._entry.reasons.get("missing_organization")
            if mark is not None:
                mark.write()
            self._write_ledger(source)

        self._in_transaction(work, mark)

    def _in_transaction(self, work: Callable[[], None], mark: Mark | None = None) -> None:
        self._connection.execute("begin")
        try:
            work()
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # what stopped the work matters, not that undoing it failed too
                self._connection.execute("rollback")
            raise
        self._commit(mark)

    def _commit(self, mark: Mark | None = None) -> None:
        """Commit, and believe only what is there then: COMMIT may say OK and write nothing, or fail after it wrote."""
        failure: duckdb.Error | None = None
        try:
            self._connection.execute("commit")
        except duckdb.Error as error:
            failure = error
        is_written = self._entry.skipped or self._is_in_ledger()
        if not is_written or not (mark is None or mark.is_written()):
            what = f"{self._home.work_file}: {self._entry.path} was not committed ({failure or 'no reason given'})"
            raise HomeError(f"{what}. Free some space or check the disk, then run the same command again.")

    def _is_in_ledger(self) -> bool:
        row = self._connection.execute(
            "select records from raw.loads where load_id = $load_id and file_number = $file_number", self._place
        ).fetchone()
        return row == (self._entry.records,)

    # From bytes to staged rows

    def _read_open_quarantine(self) -> None:
        rows = self._connection.execute("select distinct sha256 from raw.quarantine where status = 'open'").fetchall()
        self._open_quarantine = {row[0] for row in rows}

    def _stage(self, source: Source) -> None:
        context = self._context()
        judge = PlainJudge(context, self._home.path / "compiled") if may_be_plain(context) else None

        def look_at(lines: Lines) -> _Block:
            return _Block(lines, judge and judge.find(lines))

        with (
            ThreadPoolExecutor(_JUDGING_THREADS) as pool,
            contextlib.closing(read_ahead(pool.submit(look_at, lines) for lines in source.blocks())) as blocks,
        ):
            for group in _grouped(block.result() for block in blocks):
                lines = [block.lines for block in group]
                tables = [self._guard.passed(block.plain) for block in group if block.plain is not None]
                if len(tables) == len(group):
                    self._land_lines(lines, tables, context)
                else:
                    self._land_units(lines, context)

    def _land_units(self, group: list[Lines], context: records.Context) -> None:
        """Judge lines one by one, in Python, and land what they hold."""
        for batch in _batches(_examine_all(group, context)):
            self._stage_batch(batch)
        self._set_nameless_aside()
        self._move_staged()

    def _land_lines(self, group: list[Lines], tables: list[pa.Table], context: records.Context) -> None:
        """Land the plain lines of a group without Python seeing them, the others as `_land_units` does.

        Which of two events of one key was first is a matter of their numbers, not of the path they take: plain ones
        whose key may be known are staged with the others.
        """
        starts = [0, *accumulate(map(len, group))]
        plain = np.concatenate([table["line"].to_numpy() + start for table, start in zip(tables, starts, strict=False)])
        numbers = self._examine_rest(group, plain, context)
        with _registered(self._connection, _arrow_group(tables, numbers[plain]), "plain_lines"):
            self._set_nameless_aside()
            self._match_plain_keys()
            self._insert_plain_lines()
        if "staged_events" in self._staged:
            self._staged.discard("staged_events")
            self._move_matched_events("select load_id from key_matches")
            self._connection.execute("delete from staged_events")
        self._move_staged()

    def _examine_rest(self, group: list[Lines], plain: _Numbers, context: records.Context) -> _Numbers:
        """Judge in Python what is not plain, and return the record number of each line that holds one record."""
        is_plain = np.zeros(sum(map(len, group)), bool)
        is_plain[plain] = True
        before, surplus = self._entry.records, np.zeros(len(is_plain), np.int64)
        numbered = _examine_some(group, np.flatnonzero(~is_plain).tolist(), context, before, surplus)
        for batch in _batches(numbered):
            self._stage_batch([judged for _, judged in batch], [number for number, _ in batch])
        self._entry.records = before + len(is_plain) + int(surplus.sum())
        return before + 1 + np.arange(len(is_plain)) + np.cumsum(surplus)

    def _match_plain_keys(self) -> None:
        """Find which of the keys at hand occur twice or are known, and in which load: a hash may match by chance.

        The narrow `raw.event_keys` is all that is read of history, and the few matches say where to look.
        """
        self._connection.execute(
            f"""
            create or replace temp table batch_keys as
            select key_hash from plain_lines
            union all
            select {KEY_HASH} as key_hash from staged_events
            """  # noqa: S608
        )
        self._connection.execute(f"create or replace temp table key_matches as {_KEY_MATCHES}")

    def _insert_plain_lines(self) -> None:
        """Insert the plain events whose keys match nothing, and stage the others."""
        unmatched = "plain_lines"
        if _fetch_one(self._connection, "select count(*) from key_matches", [])[0]:
            self._stage_matched_lines()
            unmatched += " where key_hash not in (select key_hash from key_matches)"
        self._entry.landed += self._execute_count(
            f"""
            insert into raw.events by name
            select
                $load_id as load_id, $file_number as file_number, record_number, byte_offset, organization_id,
                record_key, shape, source, $landed_at as landed_at, payload
            from {unmatched}
            """  # noqa: S608
        )
        self._insert_keys(f"select key_hash from {unmatched}")  # noqa: S608
        if self._open_quarantine:
            landed = f"select sha256(payload) from {unmatched}"  # noqa: S608
            self._mark_replayed(landed, {})

    def _stage_matched_lines(self) -> None:
        count = self._execute_count(
            """
            insert into staged_events by name
            select
                record_number, byte_offset, organization_id, record_key, shape, source, payload,
                case when $is_awaited then sha256(payload) end as bytes_sha256
            from plain_lines
            where key_hash in (select key_hash from key_matches)
            """,
            {"is_awaited": bool(self._open_quarantine)},
        )
        if count:
            self._staged.add("staged_events")

    def _insert_keys(self, hashes: str) -> None:
        self._connection.execute(
            f"insert into raw.event_keys by name select key_hash, $load_id as load_id from ({hashes})",  # noqa: S608
            {"load_id": self._place["load_id"]},
        )

    def _move_staged(self) -> None:
        """Move what is staged into the raw tables."""
        moves = {
            "staged_events": self._move_events,
            "staged_resources": self._move_resources,
            "staged_quarantine": self._move_quarantine,
        }
        for table in [table for table in moves if table in self._staged]:
            moves[table]()
            self._connection.execute(f"delete from {table}")  # noqa: S608
        self._staged.clear()

    def _set_nameless_aside(self) -> None:
        """Keep the events that have no key before the file has been read to its end."""
        if self._has_nameless:
            self._connection.execute("insert into nameless_events from staged_events where record_key is null")
            self._connection.execute("delete from staged_events where record_key is null")

    def _context(self) -> records.Context:
        kind = self._options.kind
        return records.Context(
            # Not the load's start: a pipe may have been open for long before it gave its last event.
            now=self._options.clock(),
            kind=None if kind == "auto" else kind,
            hint=self._origin.hint,
            organization_id=self._options.organization_id,
        )

    def _stage_batch(self, batch: list[records.Judged], numbers: list[int] | None = None) -> None:
        """Stage judged records under their numbers; without any they follow the last one."""
        if numbers is None:
            numbers = list(range(self._entry.records + 1, self._entry.records + 1 + len(batch)))
        events: list[tuple[Any, ...]] = []
        resources: list[tuple[Any, ...]] = []
        quarantine: list[tuple[Any, ...]] = []
        for record_number, judged in zip(numbers, batch, strict=True):
            verdict = judged.verdict
            if self._guard.is_of_erased(verdict, judged.raw):
                # It was known, and is to be forgotten: of its bytes nothing may stay.
                self._entry.duplicate += 1
            elif isinstance(verdict, records.Event):
                events.append((record_number, judged.byte_offset, *self._event_values(verdict, judged.raw)))
            elif isinstance(verdict, records.Resource):
                resources.append((record_number, judged.byte_offset, *self._resource_values(verdict, judged.raw)))
            else:
                quarantine.append((record_number, judged.byte_offset, *self._quarantine_values(verdict, judged.raw)))
        self._entry.records += len(batch)
        self._insert("staged_events", _EVENT_SCHEMA, events)
        self._insert("staged_resources", _RESOURCE_SCHEMA, resources)
        self._insert("staged_quarantine", _QUARANTINE_SCHEMA, quarantine)

    def _event_values(self, event: records.Event, raw: bytes) -> tuple[Any, ...]:
        record_key = event.record_key
        if event.occurrence_of is not None:
            content = (event.organization_id, event.occurrence_of)
            self._occurrences[content] = occurrence = self._occurrences.get(content, 0) + 1
            record_key = records.occurrence_key(*content, occurrence)
        self._has_nameless |= record_key is None
        sha256 = self._bytes_sha256(raw)
        original, payload = self._redacted(event.payload, raw)
        return event.organization_id, record_key, event.shape, event.source, sha256, original, payload

    def _redacted(self, payload: str, raw: bytes) -> tuple[str | None, str]:
        """Return a payload as it may be stored; where that is less than it was, after the hash of the record."""
        redacted = self._guard.redacted(payload)
        return (None, payload) if redacted is None else (hashlib.sha256(raw).hexdigest(), redacted)

    def _resource_values(self, resource: records.Resource, raw: bytes) -> tuple[Any, ...]:
        return (
            resource.organization_id,
            resource.kind,
            resource.resource_id,
            resource.content_hash,
            resource.modified_at and _naive_utc(resource.modified_at),
            resource.webhook_type,
            resource.webhook_at and _naive_utc(resource.webhook_at),
            self._bytes_sha256(raw),
            *self._redacted(resource.payload, raw),
        )

    def _quarantine_values(self, rejected: records.Rejected, raw: bytes) -> tuple[Any, ...]:
        self._entry.quarantined += 1
        self._entry.reasons[rejected.reason_code] = self._entry.reasons.get(rejected.reason_code, 0) + 1
        kept = self._guard.redact_rejected(rejected, raw)
        return (
            rejected.organization_id,
            rejected.kind,
            rejected.reason_code,
            rejected.field,
            rejected.message,
            rejected.found,
            hashlib.sha256(raw).hexdigest(),
            kept,
        )

    def _bytes_sha256(self, raw: bytes) -> str | None:
        """Return the hash only where it can matter: when records wait in quarantine to be landed again."""
        return hashlib.sha256(raw).hexdigest() if self._open_quarantine else None

    def _insert(self, table: str, schema: pa.Schema, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            self._staged.add(table)
            columns = [
                pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            with _registered(self._connection, pa.Table.from_arrays(columns, schema=schema)):
                self._connection.execute(f"insert into {table} by name select * from arrow_batch")  # noqa: S608

    def _name_by_position(self, sha256: str) -> None:
        """Stage the events that have nothing of their own, with a key: the file's hash is known only now."""
        if not self._has_nameless:
            return
        rows = self._connection.execute("select record_number, organization_id from nameless_events").fetchall()
        keys = [records.position_key(organization, sha256, number) for number, organization in rows]
        named = pa.table({"record_number": [number for number, _ in rows], "named_key": keys})
        with _registered(self._connection, named):
            self._connection.execute(
                "insert into staged_events by name select * exclude (named_key) replace (named_key::uuid as record_key)"
                " from nameless_events inner join arrow_batch using (record_number)"
            )
        self._connection.execute("delete from nameless_events")
        self._staged.add("staged_events")

    # From staged rows to raw tables

    def _move_events(self) -> None:
        self._move_matched_events(
            f"with batch_keys as (select {KEY_HASH} as key_hash from staged_events)"  # noqa: S608
            f" select load_id from ({_KEY_MATCHES})"
        )

    def _move_matched_events(self, matches: str) -> None:
        """Land the staged events whose keys are new; compare the others with what landed first."""
        loads = self._connection.execute(f"select distinct load_id from ({matches})").fetchall()  # noqa: S608
        new_events = "staged_events"
        if loads:
            self._find_known_events([load_id for (load_id,) in loads if load_id is not None])
            new_events = "staged_events anti join known_events using (record_number)"
        landed = self._execute_count(
            f"""
            insert into raw.events by name
            select
                $load_id as load_id, $file_number as file_number, record_number, byte_offset, organization_id,
                record_key, shape, source, $landed_at as landed_at, payload, original_sha256
            from {new_events}
            """  # noqa: S608
        )
        self._insert_keys(f"select {KEY_HASH} as key_hash from {new_events}")  # noqa: S608
        conflicting: list[int] = []
        if loads:
            conflicting = self._compare_known_events()
            known = _fetch_one(self._connection, "select count(*) from known_events", [])[0]
            self._entry.conflict += len(conflicting)
            self._entry.duplicate += known - len(conflicting)
        self._entry.landed += landed
        self._mark_staged_replayed("staged_events", conflicting)

    def _find_known_events(self, loads: list[int]) -> None:
        """Find each staged event whose key is taken, and by whom; of history only `loads` are read."""
        # Literals, so that the zone maps of load_id leave the other loads unread.
        within = f"first.load_id in ({', '.join(map(str, loads))})" if loads else "false"
        self._connection.execute(
            f"""
            create or replace temp table known_events as
            with landed as (
                select staged.record_number, staged.record_key, first.load_id, first.payload
                from staged_events as staged inner join raw.events as first on first.record_key = staged.record_key
                where {within}
            )
            select record_number, load_id, payload from landed
            union all by name
            select repeated.record_number, $load_id as load_id, first.payload
            from (
                select record_number, record_key, min(record_number) over (partition by record_key) as first_number
                from staged_events
            ) as repeated
            inner join staged_events as first on first.record_number = repeated.first_number
            where repeated.record_number > repeated.first_number
                and repeated.record_key not in (select record_key from landed)
            """,  # noqa: S608
            {"load_id": self._place["load_id"]},
        )

    def _compare_known_events(self) -> list[int]:
        """Return the numbers of the records that contradict what landed first. Equal texts never come to Python."""
        self._connection.execute(
            """
            create or replace temp table respelled_events as
            select
                staged.record_number, staged.byte_offset, staged.organization_id, staged.record_key, staged.shape,
                staged.source, staged.payload, staged.original_sha256, known.load_id as first_load_id,
                known.payload as first_payload
            from known_events as known inner join staged_events as staged using (record_number)
            where staged.payload != known.payload
            """
        )
        return _Comparison(self._connection, self._place, self._landed_at, self._guard).settle()

    def _move_resources(self) -> None:
        version = "organization_id, kind, resource_id, content_hash"
        landed = self._execute_count(
            f"""
            insert into raw.resources by name
            select
                $load_id as load_id, $file_number as file_number, $landed_at as landed_at,
                staged.* exclude (bytes_sha256)
            from staged_resources as staged anti join raw.resources using ({version})
            qualify row_number() over (partition by {version} order by record_number) = 1
            order by record_number
            """  # noqa: S608
        )
        self._entry.landed += landed
        self._entry.duplicate += _fetch_one(self._connection, "select count(*) from staged_resources", [])[0] - landed
        self._mark_staged_replayed("staged_resources", [])

    def _move_quarantine(self) -> None:
        self._connection.execute(
            """
            insert into raw.quarantine by name
            select $load_id as load_id, $file_number as file_number, 'open' as status, *
            from staged_quarantine order by record_number
            """,
            self._place,
        )

    def _mark_staged_replayed(self, table: str, conflicting: list[int]) -> None:
        if self._open_quarantine:
            settled = f"""
            select bytes_sha256 from {table} where record_number not in (select unnest($conflicting::bigint[]))
            """  # noqa: S608
            self._mark_replayed(settled, {"conflicting": conflicting})

    def _mark_replayed(self, hashes: str, parameters: dict[str, Any]) -> None:
        """Close what earlier files left in quarantine and this one landed."""
        self._connection.execute(
            f"""
            update raw.quarantine set status = 'replayed', replayed_load_id = $load_id
            where status = 'open' and (load_id != $load_id or file_number != $file_number) and sha256 in ({hashes})
            """,  # noqa: S608
            {**self._place, **parameters},
        )

    def _execute_count(self, sql: str, parameters: dict[str, Any] | None = None) -> int:
        if parameters is None:
            parameters = {**self._place, "landed_at": self._landed_at}
        return int(_fetch_one(self._connection, sql, parameters)[0])

    def _write_ledger(self, source: Source | None) -> None:
        entry = self._entry
        row = {
            **self._place,
            "source": self._origin.source,
            "kind": self._options.kind,
            "file_name": entry.path,
            "sha256": source and source.sha256,
            "byte_count": source and source.byte_count,
            "organization_option": self._options.organization_id,
            "started_at": self._started_at,
            "finished_at": _naive_utc(self._options.clock()),
            "error": entry.error,
            **{name: getattr(entry, name) for name in COUNTS},
        }
        columns = ", ".join(row)
        values = ", ".join(f"${name}" for name in row)
        self._connection.execute(f"insert into raw.loads ({columns}) values ({values})", row)  # noqa: S608


COUNTS = ("records", "landed", "duplicate", "conflict", "quarantined", "blank")


class _Comparison:
    """Settles records whose key is known and whose text differs: a later read, another writing, or a conflict."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, place: dict[str, int], landed_at: datetime, guard: Guard
    ) -> None:
        self._connection = connection
        self._place = place
        self._landed_at = landed_at
        self._guard = guard
        self._known_knowledge: dict[str, set[str | None]] = {}
        self._known_conflicts: dict[str, set[str]] = {}
        self._rereads: list[dict[str, Any]] = []
        self._conflicts: list[dict[str, Any]] = []

    def settle(self) -> list[int]:
        """Store what is new in `respelled_events` and return the numbers of the conflicting records."""
        self._read_stored()
        rows = self._connection.execute(
            """
            select
                record_number, byte_offset, organization_id, record_key::varchar, shape, source, payload,
                original_sha256, first_load_id, first_payload
            from respelled_events order by record_number
            """
        )
        conflicting = []
        while batch := rows.fetchmany(_BATCH_RECORDS):
            conflicting += [row[0] for row in batch if self._conflicts_with_first(row)]
        self._append("raw.event_rereads", self._rereads)
        self._append("raw.conflicts", self._conflicts)
        return conflicting

    def _read_stored(self) -> None:
        keys = "where record_key in (select record_key from respelled_events)"
        rereads = f"select record_key::varchar, payload from raw.event_rereads {keys}"  # noqa: S608
        for record_key, payload in self._connection.execute(rereads).fetchall():
            knowledge = records.read_event_content(payload).later_knowledge_hash
            self._known_knowledge.setdefault(record_key, {None}).add(knowledge)
        conflicts = f"select record_key::varchar, later_content_hash from raw.conflicts {keys}"  # noqa: S608
        for record_key, content_hash in self._connection.execute(conflicts).fetchall():
            self._known_conflicts.setdefault(record_key, set()).add(content_hash)

    def _conflicts_with_first(self, row: tuple[Any, ...]) -> bool:
        number, byte_offset, organization_id, record_key, shape, source, payload, original_sha256 = row[:8]
        first_load_id, first_payload = row[8:]
        # What landed before its fields were redacted says the same without them.
        first = records.read_event_content(self._guard.redacted(first_payload) or first_payload)
        later = records.read_event_content(payload)
        common = {
            "record_number": number,
            "byte_offset": byte_offset,
            "organization_id": organization_id,
            "record_key": record_key,
            "payload": payload,
            "original_sha256": original_sha256,
        }
        if later.content_hash != first.content_hash:
            hashes = {"first_content_hash": first.content_hash, "later_content_hash": later.content_hash}
            stored = self._known_conflicts.setdefault(record_key, set())
            if later.content_hash not in stored:
                self._conflicts.append({**common, **hashes, "first_load_id": first_load_id})
                stored.add(later.content_hash)
            return True
        knowledge = self._known_knowledge.setdefault(record_key, {None})
        knowledge.add(first.later_knowledge_hash)
        if later.later_knowledge_hash not in knowledge:
            self._rereads.append({**common, "shape": shape, "source": source})
            knowledge.add(later.later_knowledge_hash)
        return False

    def _append(self, table: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            with _registered(self._connection, pa.Table.from_pylist(rows)):
                self._connection.execute(
                    f"insert into {table} by name select *, $load_id as load_id, $file_number as file_number,"  # noqa: S608
                    " $landed_at as landed_at from arrow_batch",
                    {**self._place, "landed_at": self._landed_at},
                )


class _Stream:
    """What DuckDB reads under a name: the table of the moment.

    A transaction keeps every object that was registered in it until it ends, and a file is one transaction: what is
    registered must not be the data itself.
    """

    def __init__(self) -> None:
        self.table: pa.Table | None = None

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        if self.table is None:
            raise ValueError("nothing is registered at this moment")
        return self.table.__arrow_c_stream__(requested_schema)


class _registered:
    """Make an Arrow table readable under a name for the duration of a block."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: pa.Table, name: str = "arrow_batch") -> None:
        self._connection = connection
        self._stream = _Stream()
        self._stream.table = table
        self._name = name

    def __enter__(self) -> None:
        self._connection.register(self._name, self._stream)

    def __exit__(self, *_: object) -> None:
        self._connection.unregister(self._name)
        self._stream.table = None


class _Block(msgspec.Struct):
    """Lines, and a table of the plain ones among them unless Python is to judge all."""

    lines: Lines
    plain: pa.Table | None

    def split(self, count: int) -> tuple["_Block", "_Block | None"]:
        """Return the first `count` lines and the others, if there are any."""
        if len(self.lines) <= count:
            return self, None
        first, rest = self.lines.split(count)
        if self.plain is None:
            return _Block(first, None), _Block(rest, None)
        place = int(np.searchsorted(self.plain["line"].to_numpy(), count))
        plain = self.plain.slice(place)
        plain = plain.set_column(0, "line", pc.subtract(plain["line"], count))
        return _Block(first, self.plain.slice(0, place)), _Block(rest, plain)


def _grouped(blocks: Iterable[_Block]) -> Iterator[list[_Block]]:
    """Yield blocks of one sort together: those with plain lines, or those that Python judges."""
    group: list[_Block] = []
    count, size, limit = 0, 0, _ROW_GROUP
    for block in blocks:
        if group and (size >= _LARGEST_GROUP_BYTES or (block.plain is None) != (group[-1].plain is None)):
            yield group
            group, count, size, limit = [], 0, 0, _GROUP_LINES
        rest: _Block | None = block
        while rest is not None:
            part, rest = rest.split(_ROW_GROUP - count % _ROW_GROUP)
            group.append(part)
            count += len(part.lines)
            size += part.lines.byte_count
            if count % _ROW_GROUP == 0 and (count >= limit or size >= _GROUP_BYTES):
                yield group
                group, count, size, limit = [], 0, 0, _GROUP_LINES
    if group:
        yield group


def _arrow_group(tables: list[pa.Table], numbers: _Numbers) -> pa.Table:
    """Return the plain lines of several blocks as one table with their record numbers, for DuckDB's threads."""
    table = pa.concat_tables(tables).combine_chunks()  # of the texts only the views
    table = table.set_column(0, "record_number", pa.array(numbers))
    return pa.Table.from_batches(table.to_batches(max_chunksize=_ROW_GROUP), table.schema)


def _examine_all(group: list[Lines], context: records.Context) -> Iterator[records.Judged]:
    for lines in group:
        for index in range(len(lines)):
            byte_offset, raw = lines.line(index)
            yield from records.examine(raw, byte_offset, context)


def _examine_some(
    group: list[Lines], chosen: list[int], context: records.Context, records_before: int, surplus: Any
) -> Iterator[tuple[int, records.Judged]]:
    """Judge the chosen lines of a group; note in `surplus` where a line holds more or fewer records than one."""
    starts = [0, *accumulate(map(len, group))]
    number = records_before
    previous = 0
    for line in chosen:
        number += line - previous
        previous = line + 1
        block = bisect_right(starts, line) - 1
        byte_offset, raw = group[block].line(line - starts[block])
        before = number
        for judged in records.examine(raw, byte_offset, context):
            number += 1
            yield number, judged
        surplus[line] = number - before - 1


def _batches(judged: Iterable[_Record]) -> Iterator[list[_Record]]:
    """Yield bounded batches of judged records, which may stand in pairs with their numbers."""
    batch: list[_Record] = []
    size = 0
    for record in judged:
        batch.append(record)
        size += len((record[1] if isinstance(record, tuple) else record).raw)
        if len(batch) >= _BATCH_RECORDS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _naive_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
