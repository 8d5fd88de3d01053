"""Syncing: what to read of Polar's lists, how far each was read, and landing what arrives.

Each page lands in a transaction of its own, and with it the cursor where the list is complete up to there. So a run
that is killed between any two requests has lost nothing, and the next one reads a part again and doubles nothing.
A row of raw.syncs is written when a pass over a list has ended: only then is its time known to be covered.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import duckdb
import msgspec

from loaders.errors import ApiError, RefusedError
from loaders.landing import COUNTS, FileSummary, Load, LoadOptions, Origin
from loaders.sources.polar import KINDS, Arrival, Organization, PageSource, list_organizations, whole_millisecond
from loaders.sources.polar_api import Api
from loaders.warehouse import Home

# An event is seen in the list some time after Polar took it: a sync does not vouch for its last minutes.
SETTLING = timedelta(minutes=15)
_WINDOWED = ("orders", "events")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a clock may be ahead of Polar's by: much less than what no sync vouches for, much more than an answer takes.
_CLOCK_TOLERANCE = timedelta(minutes=1)


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user chose, and the clock."""

    since: datetime | None = None
    full: bool = False
    reread: timedelta = timedelta(days=3)
    sweep_every: timedelta | None = timedelta(days=7)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class KindSummary(msgspec.Struct, kw_only=True):
    """What became of one list of one organization: records = landed + duplicate + conflict + quarantined."""

    organization_id: str
    kind: str
    pages: int = 0
    records: int = 0
    landed: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0
    blank: int = 0
    skipped: int = 0
    covered_from_at: datetime | None = None
    covered_to_at: datetime | None = None
    is_complete: bool = False
    error: str | None = None
    reasons: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, page: FileSummary, *, is_empty: bool) -> None:
        """Count a page. All empty ones are alike: nothing is to be said of one that landed before."""
        self.pages += 1
        self.skipped += page.skipped and not is_empty
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(page, name))
        for reason, count in page.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count


class SyncSummary(msgspec.Struct):
    """What became of one command's lists."""

    load_id: int
    kinds: list[KindSummary]
    errors: list[str] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)

    def add_error(self, message: str) -> None:
        """Note what stopped a list, once where it stops several."""
        if message not in self.errors:
            self.errors.append(message)


class Watcher(Protocol):
    """Hears what is read: how many items a list has, and how many of them have landed."""

    def expect(self, count: int, name: str) -> None: ...

    def advance(self, count: int) -> None: ...


class _Cursor(msgspec.Struct, kw_only=True):
    """How far a list was read. `pass_*` speak of a pass that has not ended; all instants are naive UTC.

    `since_at` is where the user let history begin, `covered_to_at` the end of the last pass that ended.
    """

    since_at: datetime | None = None
    covered_to_at: datetime | None = None
    swept_at: datetime | None = None
    pass_from_at: datetime | None = None
    pass_next_at: datetime | None = None
    pass_is_sweep: bool | None = None


_COLUMNS = _Cursor.__struct_fields__


class _CursorMark:
    """Puts a cursor in the place of the old one."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, organization_id: str, kind: str, cursor: _Cursor) -> None:
        self._connection = connection
        self._list = {"organization_id": organization_id, "kind": kind}
        self._cursor = cursor

    def write(self) -> None:
        where = "where organization_id = $organization_id and kind = $kind"
        self._connection.execute(f"delete from raw.sync_cursors {where}", self._list)  # noqa: S608
        row = {**self._list, **msgspec.structs.asdict(self._cursor)}
        columns, values = ", ".join(row), ", ".join(f"${name}" for name in row)
        self._connection.execute(f"insert into raw.sync_cursors ({columns}) values ({values})", row)  # noqa: S608

    def is_written(self) -> bool:
        return read_cursor(self._connection, **self._list) == self._cursor


class _EndMark(_CursorMark):
    """The cursor after a pass, and the row that lets models rely on what it covered."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        organization_id: str,
        kind: str,
        cursor: _Cursor,
        row: tuple[int, datetime, datetime, datetime],
    ) -> None:
        super().__init__(connection, organization_id, kind, cursor)
        self._row = row

    def write(self) -> None:
        super().write()
        load_id, covered_from_at, covered_to_at, finished_at = self._row
        self._connection.execute(
            "insert into raw.syncs (load_id, organization_id, kind, covered_from_at, covered_to_at, finished_at,"
            " is_complete) values (?, ?, ?, ?, ?, ?, true)",
            [load_id, *self._list.values(), covered_from_at, covered_to_at, finished_at],
        )


def read_cursor(connection: duckdb.DuckDBPyConnection, organization_id: str, kind: str) -> _Cursor:
    """Return how far a list was read; an empty cursor where it never was."""
    row = connection.execute(
        f"select {', '.join(_COLUMNS)} from raw.sync_cursors where organization_id = ? and kind = ?",  # noqa: S608
        [organization_id, kind],
    ).fetchone()
    return _Cursor() if row is None else _Cursor(**dict(zip(_COLUMNS, row, strict=True)))


def sync(
    connection: duckdb.DuckDBPyConnection,
    home: Home,
    accesses: "dict[str | None, Callable[[], Api]]",
    options: SyncOptions,
    *,
    watcher: Watcher | None = None,
) -> SyncSummary:
    """Land what is new in the lists of each organization; one that cannot be read stops no other.

    `accesses` opens the way to each organization, under None the one whose organizations are to be asked for.
    Raises HomeError where the machine stops it: what was acknowledged stays. What stopped a list is in the ledger too.
    """
    load = Load(connection, home, started_at=options.clock())
    summary = SyncSummary(load.load_id, [])
    done: set[str] = set()
    for named, open_api in accesses.items():
        with open_api() as api:
            try:
                organizations, are_seen = _organizations(api, named)
            except ApiError as error:
                _note_error(load, f"polar://{api.access.server}/organizations", "auto", named, error, options)
                summary.add_error(str(error))
                continue
            ahead = _clock_ahead(api, options)
        if ahead:
            what = f"this machine's clock is {ahead.total_seconds():,.0f} s ahead of Polar's"
            summary.warnings.append(f"{what}: synced up to Polar's time. Set the clock.")
        for organization_id in organizations:
            if organization_id not in done:
                done.add(organization_id)
                with open_api() as api, Organization(api, organization_id, api.access.server) as lists:
                    one = _OrganizationSync(connection, load, lists, organization_id, api, options, ahead, watcher)
                    one.run(summary)
                    if not are_seen and one.found_nothing:
                        what = f"organization {organization_id}: Polar shows no record of it"
                        summary.warnings.append(f"{what}, as of one that the token may not read. Check the id.")
    return summary


def _organizations(api: Api, named: str | None) -> tuple[list[str], bool]:
    """Return the named organization, or all that the token may read, and whether the token is known to read them.

    Of one that it may not read, the lists seem empty.
    """
    try:
        visible = list_organizations(api)
    except RefusedError as error:
        if error.status != 403:
            raise
        if named is None:
            raise ApiError(f"{error} Or name the organization with --organization-id.") from error
        return [named.lower()], False  # no token must have the scope organizations:read
    if named is None:
        return visible, True
    if named.lower() not in visible:
        what = f"the token may not read this organization; it may read {', '.join(visible) or 'none'}"
        raise ApiError(f"{named}: {what}. Check --organization-id (POLAR_ORGANIZATION_ID) and the token.")
    return [named.lower()], True


def _clock_ahead(api: Api, options: SyncOptions) -> timedelta:
    """Return by how much this machine's clock is ahead: a sync must not vouch for what has not happened yet."""
    ahead = timedelta() if api.answered_at is None else options.clock() - api.answered_at
    return ahead if ahead > _CLOCK_TOLERANCE else timedelta()


def _note_error(
    load: Load, name: str, kind: str, organization_id: str | None, error: ApiError, options: SyncOptions
) -> None:
    load_options = LoadOptions(clock=options.clock, kind=kind, organization_id=organization_id)
    load.note_error(Origin(source="polar", name=name), load_options, str(error))


class _OrganizationSync:
    """The sync of one organization's lists, one after another."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        load: Load,
        lists: Organization,
        organization_id: str,
        api: Api,
        options: SyncOptions,
        ahead: timedelta,
        watcher: Watcher | None,
    ) -> None:
        self._connection = connection
        self._load = load
        self._lists = lists
        self._organization_id = organization_id
        self._server = api.access.server
        self._options = options
        self._watcher = watcher
        self._ahead = ahead
        self._started_at = whole_millisecond(self._now())
        self._entries: list[KindSummary] = []

    @property
    def found_nothing(self) -> bool:
        """Whether all lists could be read and none had an item."""
        return all(entry.is_complete and not entry.records + entry.skipped for entry in self._entries)

    def run(self, summary: SyncSummary) -> None:
        """Read list after list. What one is refused stops no other; what is wrong with the server stops all."""
        is_whole = True
        for kind in KINDS:
            entry = KindSummary(organization_id=self._organization_id, kind=kind)
            self._entries.append(entry)
            summary.kinds.append(entry)
            try:
                if kind in _WINDOWED:
                    # Of events the end says that all is known up to there: not before orders are, nor without them.
                    self._read_pass(kind, entry, may_end=is_whole or kind != "events")
                else:
                    self._read_whole(kind, entry)
            except ApiError as error:
                entry.error = str(error)
                summary.add_error(entry.error)
                _note_error(self._load, self._name(kind), kind, self._organization_id, error, self._options)
                is_whole = False
                if not isinstance(error, RefusedError) or error.status == 401:
                    break

    def _read_whole(self, kind: str, entry: KindSummary) -> None:
        cursor = self._cursor(kind)
        for arrival in self._lists.read(kind):
            self._land(kind, arrival, entry)
        ended = msgspec.structs.replace(cursor, covered_to_at=_naive(self._started_at))
        self._end(kind, entry, ended, _EPOCH, self._started_at)

    def _read_pass(self, kind: str, entry: KindSummary, *, may_end: bool) -> None:
        cursor, now = self._cursor(kind), self._started_at
        plan = _plan(cursor, self._options, now)
        windows = self._lists.windows(kind, plan.start, now)
        covered_from = plan.covered_from or _EPOCH  # of a list read from its beginning, all that was before it is empty
        cursor = msgspec.structs.replace(
            cursor, since_at=plan.since_at, pass_from_at=_naive(covered_from), pass_is_sweep=plan.is_sweep
        )
        if kind == "orders":
            self._read_changed_orders(plan.start, entry)
        for arrival in self._lists.read(kind, windows):
            if arrival.through_at is None:
                self._land(kind, arrival, entry)
            else:
                cursor = msgspec.structs.replace(cursor, pass_next_at=_naive(arrival.through_at))
                self._land(kind, arrival, entry, cursor)
        if not may_end:
            return
        covered_to = max(covered_from, now - SETTLING)
        ended = _Cursor(
            since_at=cursor.since_at,
            covered_to_at=_naive(covered_to),
            swept_at=_naive(now) if plan.is_sweep else cursor.swept_at,
        )
        self._end(kind, entry, ended, covered_from, covered_to)

    def _read_changed_orders(self, start: datetime | None, entry: KindSummary) -> None:
        """Read the orders again that may have changed since and are too old for the pass: they tell no one."""
        if start is not None:
            for arrival in self._lists.read_orders(list(self._changed_orders(start))):
                if arrival is not None:
                    self._land("orders", arrival, entry)

    def _changed_orders(self, start: datetime) -> Iterator[str]:
        """Yield the orders from before `start` that are open, or of which a refund landed since the last pass."""
        rows = self._connection.execute(
            """
            with latest as (
                select resource_id, payload from raw.resources
                where organization_id = $organization_id and kind = 'orders'
                qualify row_number() over (
                    partition by resource_id order by modified_at desc nulls last, load_id desc, record_number desc
                ) = 1
            ),
            refunded as (
                select payload ->> 'order_id' as order_id from raw.resources
                where organization_id = $organization_id and kind = 'refunds' and load_id > (
                    select coalesce(max(load_id), 0) from raw.syncs
                    where organization_id = $organization_id and kind = 'orders'
                )
            )
            select resource_id from latest
            where (
                payload ->> 'status' in ('draft', 'pending')
                or resource_id in (select order_id from refunded where order_id is not null)
            )
            and coalesce(try_cast(payload ->> 'created_at' as timestamptz) < $start, true)
            order by resource_id
            """,
            {"organization_id": self._organization_id, "start": start},
        ).fetchall()
        return (row[0] for row in rows)

    def _cursor(self, kind: str) -> _Cursor:
        return read_cursor(self._connection, self._organization_id, kind)

    def _land(self, kind: str, arrival: Arrival, entry: KindSummary, cursor: _Cursor | None = None) -> None:
        if self._watcher is not None:
            if arrival.is_first:
                self._watcher.expect(arrival.page.total_count, kind)
            self._watcher.advance(len(arrival.page.items))
        mark = None if cursor is None else _CursorMark(self._connection, self._organization_id, kind, cursor)
        origin = Origin(source="polar", name=arrival.name)
        landed = self._load.land(origin, partial(PageSource, arrival.body), self._load_options(kind), mark=mark)
        entry.add(landed, is_empty=not arrival.page.items)

    def _end(self, kind: str, entry: KindSummary, cursor: _Cursor, start: datetime, end: datetime) -> None:
        """Write that the list is covered from start to end."""
        row = (self._load.load_id, _naive(start), _naive(end), _naive(self._now()))
        mark = _EndMark(self._connection, self._organization_id, kind, cursor, row)
        origin = Origin(source="polar", name=self._name(kind))
        self._load.note(origin, self._load_options(kind), mark)
        entry.is_complete = True
        entry.covered_from_at, entry.covered_to_at = start, end

    def _name(self, kind: str) -> str:
        return f"polar://{self._server}/{self._organization_id}/{kind}"

    def _now(self) -> datetime:
        return self._options.clock() - self._ahead

    def _load_options(self, kind: str) -> LoadOptions:
        return LoadOptions(clock=self._options.clock, kind=kind, organization_id=self._organization_id)


class _Plan(msgspec.Struct, kw_only=True):
    """From when a pass reads (None: from the list's beginning), and from when its end will vouch for all of it."""

    start: datetime | None
    covered_from: datetime | None
    since_at: datetime | None
    is_sweep: bool


def _plan(cursor: _Cursor, options: SyncOptions, now: datetime) -> _Plan:
    """Decide what a pass reads.

    A pass that did not end goes on from where it was, less what is always read again. `--since` makes no pass shorter
    but the very first: a later start would leave a gap that no later pass closes.
    """
    since_at = _since_at(cursor, options)
    is_sweep = options.full or cursor.covered_to_at is None or _is_sweep_due(cursor, options, now)
    limit = options.since or now
    start = since_at
    if cursor.covered_to_at is not None and not is_sweep:
        start = min(_aware(cursor.covered_to_at) - options.reread, limit)
    begun, going_on = start, start
    if cursor.pass_from_at is not None and not options.full:
        begun_before = _aware(cursor.pass_from_at)
        reached = cursor.pass_next_at and _aware(cursor.pass_next_at)
        resumed = max(begun_before, reached - options.reread) if reached else begun_before
        if cursor.pass_is_sweep:
            going_on = min(resumed, limit, resumed if is_sweep or start is None else start)
            begun, is_sweep = min(begun_before, going_on), True
        elif start is not None and not is_sweep:
            going_on, begun = min(start, resumed), min(start, begun_before)
    return _Plan(start=going_on, covered_from=begun, since_at=since_at and _naive(since_at), is_sweep=is_sweep)


def _since_at(cursor: _Cursor, options: SyncOptions) -> datetime | None:
    """Return where history begins by the user's will; None: with Polar's first record."""
    if options.full or cursor == _Cursor():
        return options.since
    if cursor.since_at is None:
        return None
    return min(_aware(cursor.since_at), options.since or _aware(cursor.since_at))


def _is_sweep_due(cursor: _Cursor, options: SyncOptions, now: datetime) -> bool:
    if options.sweep_every is None or cursor.swept_at is None:
        return False
    return now - _aware(cursor.swept_at) >= options.sweep_every


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC)


def _naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
