"""Replay: records that wait in quarantine land once they are valid, as if their file had been valid from the start.

A replayed record keeps its place: the ledger row that a replay writes names the file the record came in, and its number
in there is the one it always had. So its key is that of loading the file again, and neither can double the other. The
rejected bytes stay in `raw.quarantine` as history, also where a corrected copy lands in their place.
"""

import contextlib
from collections.abc import Iterable, Iterator
from datetime import UTC
from itertools import groupby
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from loaders import records
from loaders.errors import DataError, HomeError
from loaders.landing import (
    _STAGE_TABLES,
    FileSummary,
    LoadOptions,
    Origin,
    _fetch_one,
    _FileLanding,
    _next_load_id,
    _registered,
)
from loaders.privacy import Guard
from loaders.sources.files import SourceFile, shown_name
from loaders.warehouse import Home

_BATCH_RECORDS = 10_000
_BATCH_BYTES = 32 << 20
_OCCURRENCES_AT_ONCE = 8

_OPEN = """
select
    l.sha256 as file_sha256, q.record_number, q.load_id, q.file_number, q.byte_offset, l.file_name, l.kind as file_kind,
    q.kind, q.organization_id, q.payload
from raw.quarantine as q
inner join raw.loads as l on l.load_id = q.load_id and l.file_number = q.file_number
where q.status = 'open'
    and ($load_id::bigint is null or q.load_id = $load_id)
    and ($reason_code::varchar is null or q.reason_code = $reason_code)
    and ($record::bigint[] is null or [q.load_id, q.file_number, q.record_number] = $record)
"""
_BY_FILE = """
order by min(q.load_id) over (partition by l.sha256), l.sha256, q.record_number, q.load_id, q.file_number
"""
# A file loaded under two options has each of its bad records here twice: it is one record, and lands once.
_EACH_ONCE = """
qualify row_number() over (partition by l.sha256, q.record_number order by q.load_id, q.file_number) = 1
order by q.load_id, q.file_number, q.record_number
"""


# A keyless event is named by its organization and content, and by how often the file had held that before.
_Content = tuple[str, str]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which open records to replay; `record` is load, file and record number. None sets no limit."""

    load_id: int | None = None
    reason_code: str | None = None
    record: tuple[int, int, int] | None = None


class ReplaySummary(msgspec.Struct, kw_only=True):
    """What a replay did. `load_id` is None where nothing became valid, and then nothing was written.

    `still_open` counts the selected records that are not valid yet, by the reason that bars them now.
    """

    load_id: int | None = None
    files: list[FileSummary] = msgspec.field(default_factory=list)
    still_open: dict[str, int] = msgspec.field(default_factory=dict)


class _Waiting(msgspec.Struct, frozen=True):
    """An open record: the place it came from, and what its verdict depended on."""

    file_sha256: str
    record_number: int
    load_id: int
    file_number: int
    byte_offset: int
    file_name: str
    file_kind: str
    kind: str
    organization_id: str | None
    payload: bytes


def replay(
    connection: duckdb.DuckDBPyConnection, home: Home, selection: Selection, options: LoadOptions
) -> ReplaySummary:
    """Land the selected records that are valid now, all in one transaction; the others stay open as they are.

    What had landed meanwhile counts as a duplicate, what contradicts it as a conflict; both leave the quarantine, so
    that a second replay finds nothing to do. `options.organization_id` stands in where neither the record nor its first
    load named one. Raises HomeError where the machine stops it.
    """
    _require_record(connection, selection)
    # A cursor of its own reads on while the connection writes.
    rows = connection.cursor().execute(_OPEN + _BY_FILE, _parameters(selection))
    return _Replay(connection, home, options).run(_fetch(rows))


def replay_corrected(
    connection: duckdb.DuckDBPyConnection, home: Home, selection: Selection, options: LoadOptions, path: str
) -> ReplaySummary:
    """Land the lines of the file at `path` in place of the selected records, in order of load, file and record number.

    All of them or none: after a part, the rest would no longer stand beside their partners. Raises DataError where the
    numbers differ or a line is no valid record, UnreadableFileError where the file cannot be read.
    """
    _require_record(connection, selection)
    with SourceFile(path, home=home.path) as source:
        lines = [raw for units in source.units() for _, raw in units]
    waiting = list(_fetch(connection.execute(_OPEN + _EACH_ONCE, _parameters(selection))))
    if len(lines) != len(waiting):
        raise DataError(_unequal(path, len(lines), len(waiting)))
    corrected = [msgspec.structs.replace(old, payload=line) for old, line in zip(waiting, lines, strict=True)]
    for number, record in enumerate(corrected, start=1):
        verdict = _judge(record, options).verdict
        if isinstance(verdict, records.Rejected):
            where = f"{shown_name(path)}: record {number} (for {_name(record)})"
            what = f"is still bad ({verdict.reason_code}): {verdict.message}"
            raise DataError(f"{where} {what}\nNothing was replayed. Mend it and run the same command again.")
    corrected.sort(key=lambda record: (record.file_sha256, record.record_number))
    return _Replay(connection, home, options).run(corrected)


def _require_record(connection: duckdb.DuckDBPyConnection, selection: Selection) -> None:
    if selection.record is None:
        return
    sql = "select count(*) from raw.quarantine where load_id = ? and file_number = ? and record_number = ?"
    if _fetch_one(connection, sql, selection.record)[0] == 0:
        name = ".".join(map(str, selection.record))
        raise DataError(f"{name}: no such rejected record. See the ids: meterhouse quarantine list --all")


def _parameters(selection: Selection) -> dict[str, Any]:
    record = None if selection.record is None else list(selection.record)
    return {"load_id": selection.load_id, "reason_code": selection.reason_code, "record": record}


def _fetch(rows: duckdb.DuckDBPyConnection) -> Iterator[_Waiting]:
    while batch := rows.fetchmany(1000):
        for row in batch:
            yield _Waiting(*row)


def _unequal(path: str, corrected: int, waiting: int) -> str:
    return (
        f"{shown_name(path)}: it holds {corrected} records, and {waiting} open ones are selected.\n"
        "Give one line for each record that 'meterhouse quarantine list' shows, in that order (once where a file was "
        "loaded twice), select fewer with --load-id and --reason, or name a single one with --record."
    )


def _name(record: _Waiting) -> str:
    return f"{record.load_id}.{record.file_number}.{record.record_number}"


def _judge(record: _Waiting, options: LoadOptions) -> records.Judged:
    """Judge a record as the landing of its file did, by today's rules and clock.

    What holds records stays where it is: a list inside a list was refused for being no object, and opened here it would
    land what its file never gave.
    """
    context = records.Context(
        now=options.clock(),
        kind=None if record.file_kind == "auto" else record.file_kind,
        # What the file's name, or the envelope around the record, suggested then.
        hint=None if record.kind in ("auto", "webhooks") else record.kind,
        organization_id=record.organization_id or options.organization_id,
    )
    found = list(records.examine(record.payload, record.byte_offset, context))
    if len(found) == 1 and found[0].raw == record.payload:
        return found[0]
    message = "This holds records and is none: load them from a file of their own."
    return records.Judged(
        record.byte_offset, record.payload, records.Rejected(record.kind, "not_an_object", None, message, None)
    )


class _Replay:
    """One replay: one transaction and load, with a ledger row for each file that its records came in."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, home: Home, options: LoadOptions) -> None:
        self._connection = connection
        self._home = home
        self._options = options
        self._guard = Guard(connection)
        self._load_id = _next_load_id(connection)
        self._summary = ReplaySummary()

    def run(self, waiting: Iterable[_Waiting]) -> ReplaySummary:
        """Land what is valid of the records, which come file by file."""
        last: _ReplayedFile | None = None
        try:
            self._connection.execute("begin")
            for _, of_file in groupby(waiting, key=lambda record: record.file_sha256):
                last = self._replay_file(of_file) or last
            if last is None:
                self._connection.execute("rollback")  # an empty load would be a ledger row that says nothing
                return self._summary
        except BaseException as error:
            with contextlib.suppress(duckdb.Error):  # what stopped the work matters, not that undoing it failed too
                self._connection.execute("rollback")
            if isinstance(error, duckdb.Error):
                raise HomeError(
                    f"{self._home.work_file}: the database stopped during the replay: {error}\n"
                    "Free some space or check the disk, then run the same command again."
                ) from error
            raise
        last.commit()
        self._summary.load_id = self._load_id
        return self._summary

    def _replay_file(self, waiting: Iterable[_Waiting]) -> "_ReplayedFile | None":
        file: _ReplayedFile | None = None
        for batch in _batches(self._valid(waiting)):
            if file is None:
                file_number = len(self._summary.files) + 1
                file = _ReplayedFile(
                    self._connection, self._home, batch[0][0], self._load_id, file_number, self._options, self._guard
                )
            file.stage(batch)
        if file is not None:
            file.finish()
            self._summary.files.append(file.summary)
        return file

    def _valid(self, waiting: Iterable[_Waiting]) -> Iterator[tuple[_Waiting, records.Judged]]:
        """Yield each record of the file once that one of its open rows shows to be valid; count the others."""
        for _, rows in groupby(waiting, key=lambda record: record.record_number):
            judged = [(record, _judge(record, self._options)) for record in rows]
            bad = [found.verdict.reason_code for _, found in judged if isinstance(found.verdict, records.Rejected)]
            if len(bad) < len(judged):
                yield next(pair for pair in judged if not isinstance(pair[1].verdict, records.Rejected))
                continue
            for reason_code in bad:
                self._summary.still_open[reason_code] = self._summary.still_open.get(reason_code, 0) + 1


def _batches(pairs: Iterable[tuple[_Waiting, records.Judged]]) -> Iterator[list[tuple[_Waiting, records.Judged]]]:
    batch: list[tuple[_Waiting, records.Judged]] = []
    size = 0
    for pair in pairs:
        batch.append(pair)
        size += len(pair[1].raw)
        if len(batch) >= _BATCH_RECORDS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _ReplayedFile(_FileLanding):
    """The landing of one file's records that became valid, within the replay's transaction."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        home: Home,
        origin: _Waiting,
        load_id: int,
        file_number: int,
        options: LoadOptions,
        guard: Guard,
    ) -> None:
        connection.execute(_STAGE_TABLES)
        self._sha256 = origin.file_sha256
        options = msgspec.structs.replace(
            options, kind=origin.file_kind, landed_at=_first_seen(connection, origin).replace(tzinfo=UTC)
        )
        replayed = Origin(source="quarantine", name=origin.file_name)
        super().__init__(connection, home, replayed, load_id, file_number, options, options.clock(), guard)
        self._numbers: list[int] = []
        self._occurrences_taken: dict[_Content, int] = {}
        self._landed_places: dict[tuple[_Content, int], str] = {}

    @property
    def summary(self) -> FileSummary:
        """What became of the file's records."""
        return self._entry

    def stage(self, batch: list[tuple[_Waiting, records.Judged]]) -> None:
        """Stage valid records under the keys that their places in the file give them."""
        self._look_up_occurrences([judged.verdict for _, judged in batch])
        for waiting, judged in batch:
            if isinstance(judged.verdict, records.Event):
                self._name_event(judged.verdict, waiting.record_number)
        self._numbers += [waiting.record_number for waiting, _ in batch]
        self._stage_batch([judged for _, judged in batch])

    def finish(self) -> None:
        """Move the staged records into the raw tables, close their quarantine, write the ledger row."""
        self._restore_numbers()
        self._move_events()
        self._move_resources()
        self._close_quarantine()
        self._write_ledger(None)
        # No byte_count: the file itself was not read, and must not count as landed under these options.
        self._connection.execute(
            "update raw.loads set sha256 = $sha256 where load_id = $load_id and file_number = $file_number",
            {**self._place, "sha256": self._sha256},
        )

    def commit(self) -> None:
        """Commit the replay; raises HomeError where the ledger row does not show it."""
        self._commit()

    def _name_event(self, event: records.Event, record_number: int) -> None:
        if event.occurrence_of is not None:
            content = event.organization_id, event.occurrence_of
            event.record_key = self._landed_places.get((content, record_number)) or self._next_occurrence(content)
            event.occurrence_of = None
        elif event.record_key is None:
            event.record_key = records.position_key(event.organization_id, self._sha256, record_number)

    def _next_occurrence(self, content: _Content) -> str:
        self._occurrences_taken[content] = occurrence = self._occurrences_taken[content] + 1
        return records.occurrence_key(*content, occurrence)

    def _look_up_occurrences(self, verdicts: list[records.Verdict]) -> None:
        """Learn which occurrences of the batch's contents other records of this file have taken, by whatever load.

        Only what landed is known: a copy that another file had brought before left no trace but a count.
        """
        contents = {
            (verdict.organization_id, verdict.occurrence_of)
            for verdict in verdicts
            if isinstance(verdict, records.Event) and verdict.occurrence_of is not None
        } - self._occurrences_taken.keys()
        self._occurrences_taken.update(dict.fromkeys(contents, 0))
        lowest, highest = 1, _OCCURRENCES_AT_ONCE
        while contents:
            keys = {
                records.occurrence_key(*content, occurrence): (content, occurrence)
                for content in contents
                for occurrence in range(lowest, highest + 1)
            }
            landed = self._landed_keys(list(keys))
            for key, record_number in landed:
                content, occurrence = keys[key]
                self._landed_places[content, record_number] = key
                self._occurrences_taken[content] = max(occurrence, self._occurrences_taken[content])
            contents = {keys[key][0] for key, _ in landed}
            lowest, highest = highest + 1, 2 * highest

    def _landed_keys(self, keys: list[str]) -> list[tuple[str, int]]:
        with _registered(self._connection, pa.table({"key": keys})):
            return self._connection.execute(
                """
                select replace(e.record_key::varchar, '-', ''), e.record_number
                from raw.events as e
                inner join raw.loads as l on l.load_id = e.load_id and l.file_number = e.file_number
                where l.sha256 = $sha256 and e.record_key in (select key::uuid from arrow_batch)
                """,
                {"sha256": self._sha256},
            ).fetchall()

    def _restore_numbers(self) -> None:
        """Give the staged records their numbers in the file; until now they are numbered in the order of staging."""
        numbers = pa.table({"staged_number": range(1, len(self._numbers) + 1), "record_number": self._numbers})
        with _registered(self._connection, numbers):
            for table in ("staged_events", "staged_resources"):
                self._connection.execute(
                    f"update {table} set record_number = numbers.record_number from arrow_batch as numbers"  # noqa: S608
                    f" where {table}.record_number = numbers.staged_number"
                )

    def _close_quarantine(self) -> None:
        """Close every open row of these records, also those of another load of the same file."""
        self._connection.execute(
            """
            update raw.quarantine set status = 'replayed', replayed_load_id = $load_id
            where status = 'open'
                and (load_id, file_number) in (
                    select (l.load_id, l.file_number) from raw.loads as l where l.sha256 = $sha256
                )
                and record_number in (
                    select record_number from staged_events union all select record_number from staged_resources
                )
            """,
            {"load_id": self._place["load_id"], "sha256": self._sha256},
        )


def _first_seen(connection: duckdb.DuckDBPyConnection, origin: _Waiting) -> Any:
    """Return when the file's load saw its records: `landed_at` is when the warehouse first saw one, not when it obeyed.

    A load whose every record was refused kept no `--landed-at`; its start stands in.
    """
    place = {"load_id": origin.load_id, "file_number": origin.file_number}
    rows = connection.execute(
        """
        select coalesce(
            (select max(landed_at) from raw.events where load_id = $load_id),
            (select max(landed_at) from raw.resources where load_id = $load_id),
            (select started_at from raw.loads where load_id = $load_id and file_number = $file_number)
        )
        """,
        place,
    ).fetchall()
    return rows[0][0]
