"""Polar's lists as pages of bytes, complete although they move while they are read.

A list is read by page number, in an order that leaves ties open, while rows come and go. So it is read in small closed
windows of time, oldest first: what fits on one page is read in one instant, and a window of several pages that moved is
split amid its rows until it does. What cannot be split is read again until nothing new is found.
"""

import contextlib
import hashlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode

import msgspec
import numpy as np

from loaders import records
from loaders.errors import ApiError, RefusedError
from loaders.sources.lines import PADDING, Lines
from loaders.sources.polar_api import Api, Query

# In this order: what describes usage comes before it, and what says which orders changed before them.
KINDS = ("products", "meters", "customers", "subscriptions", "refunds", "orders", "events")
# Lists that can be asked for a span of time; the bounds are exclusive, those of events to the millisecond.
_SPANS = {"events": ("start_timestamp", "end_timestamp"), "orders": ("created_after", "created_before")}
_SORTINGS = {"events": "timestamp", "subscriptions": "started_at"}
_PAGE_SIZE = 100  # Polar gives no more
_CONNECTIONS = 8
_WINDOWS_AHEAD, _PAGES_AHEAD = 8, 16
# Of a list that keeps moving: so many readings at most, and so many in a row that bring nothing new are enough. Where
# ties come in any order, a reading finds two thirds of what is missing: a thousand pages of one millisecond take some
# fifteen, and after all of them a row that was there at the first is missing once in 20 thousand million.
_READINGS, _QUIET_READINGS = 24, 8

_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTHS = tuple(
    timedelta(minutes=minutes) for minutes in (28 * 1440, 7 * 1440, 1440, 360, 60, 10, 1)
)  # each a multiple of the next: a window of another length ends where one of these did
_WINDOW_ITEMS = 2_000


class Window(msgspec.Struct, frozen=True):
    """A half-open span of time on whole milliseconds; without an end the whole list."""

    start: datetime | None = None
    end: datetime | None = None

    def parts(self, instants: list[datetime]) -> "list[Window]":
        """Return two parts with as many of the instants each, or nothing where a millisecond or a list is no span."""
        if self.start is None or self.end is None or self.end - self.start <= _MILLISECOND:
            return []
        middle = whole_millisecond(sorted(instants)[len(instants) // 2] if instants else self.start)
        # Of many events in one millisecond, that millisecond becomes a window of its own.
        cut = min(max(middle, self.start), self.end - _MILLISECOND)
        cut = cut if cut > self.start else self.start + _MILLISECOND
        return [Window(self.start, cut), Window(cut, self.end)]


class PageSource:
    """The bytes of one answer, as landing takes them."""

    blank_count = 0

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.byte_count = self.stored_size = len(body)
        self.sha256 = hashlib.sha256(body).hexdigest()

    def __enter__(self) -> "PageSource":
        return self

    def __exit__(self, *_: object) -> None: ...

    def hash_ahead(self) -> str:
        return self.sha256

    def blocks(self) -> Iterator[Lines]:
        """Yield the one document that the answer is."""
        content = self._body.strip()
        yield Lines(content + PADDING, self._body.index(content), np.array([0]), np.array([len(content)]))


class Arrival(msgspec.Struct):
    """An answer: where it is from, its bytes, whether it begins a window, and up to where the list is complete then."""

    name: str
    body: bytes
    page: records.Page
    is_first: bool = True
    through_at: datetime | None = None


def whole_millisecond(instant: datetime) -> datetime:
    """Return the instant without its fraction of a millisecond: Polar compares no finer."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class _Workers:
    """Threads that ask. Nobody waits for them at the end: a silent server would hold up who pressed Ctrl-C."""

    def __init__(self, count: int) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._count = count
        self._is_over = threading.Event()
        for _ in range(count):
            threading.Thread(target=self._work, name="polar", daemon=True).start()

    def submit(
        self, function: Callable[_Parameters, _Result], *arguments: _Parameters.args, **options: _Parameters.kwargs
    ) -> "Future[_Result]":
        future: Future[_Result] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*arguments, **options))
                except BaseException as error:  # noqa: BLE001  (raised again where the result is awaited)
                    future.set_exception(error)

        self._tasks.put(run)
        return future

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None and not self._is_over.is_set():
            task()

    def stop(self) -> None:
        """Begin no task any more."""
        self._is_over.set()
        for _ in range(self._count):
            self._tasks.put(None)


class Organization:
    """One organization's lists, read by several threads at once and handed on in order by the calling one."""

    def __init__(self, api: Api, organization_id: str, server: str) -> None:
        self._api = api
        self._organization_id = organization_id
        self._server = server
        self._pool = _Workers(_CONNECTIONS)

    def __enter__(self) -> "Organization":
        return self

    def __exit__(self, *_: object) -> None:
        self._api.stop()
        self._pool.stop()

    def windows(self, kind: str, start: datetime | None, end: datetime) -> list[Window]:
        """Return windows of even length that hold the span, from the list's earliest item in it on.

        They end on multiples of their length: the next sync has the same ones, whose pages then have landed before.
        """
        first = self._get(kind, self._query(kind, Window(start, end), 1, limit=1))
        if not first.page.items:
            return []
        earliest = _item_instant(first.page.items[0], _sorting(kind)) or start
        if earliest is None:
            raise ApiError(f"{first.name}: the first item has no {_sorting(kind)}. Meterhouse cannot read this list.")
        earliest = whole_millisecond(earliest)
        span = max(end - earliest, _MILLISECOND)
        length = next(
            (it for it in _LENGTHS if first.page.total_count * (it / span) <= _WINDOW_ITEMS),
            _LENGTHS[-1],
        )
        cuts = []
        cut = earliest - (earliest - _EPOCH) % length
        if start is not None:
            cut = max(cut, start)
        while cut < end:
            cuts.append(cut)
            cut += length - (cut - _EPOCH) % length
        return [Window(*pair) for pair in zip(cuts, [*cuts[1:], end], strict=True)]

    def read(self, kind: str, windows: Iterable[Window] = (Window(),)) -> Iterator[Arrival]:
        """Yield the pages of the windows, in order. An arrival with `through_at` ends what is complete up to there."""
        ahead: deque[tuple[Window, Future[Arrival]]] = deque()
        for window in windows:
            ahead.append((window, self._submit(kind, window, 1)))
            if len(ahead) > _WINDOWS_AHEAD:
                yield from self._read_window(kind, *ahead.popleft())
        while ahead:
            yield from self._read_window(kind, *ahead.popleft())

    def read_orders(self, order_ids: list[str]) -> Iterator[Arrival | None]:
        """Yield single orders by id, None for one that is there no more."""
        ahead: deque[Future[Arrival | None]] = deque()
        for order_id in order_ids:
            ahead.append(self._pool.submit(self._get_order, order_id))
            if len(ahead) > _PAGES_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _read_window(self, kind: str, window: Window, first: "Future[Arrival]") -> Iterator[Arrival]:
        reading = _Reading(_sorting(kind))
        for arrival in self._read_once(kind, window, first):
            reading.add(arrival.page)
            if reading.is_over and reading.is_whole():
                arrival.through_at = window.end
            yield arrival
        if reading.is_whole():
            return
        parts = window.parts(reading.instants)
        if parts:
            yield from self.read(kind, parts)
        else:
            yield from self._read_again(kind, window, reading)

    def _read_again(self, kind: str, window: Window, reading: "_Reading") -> Iterator[Arrival]:
        known, texts, quiet = set(reading.identities), set(reading.texts), 0
        for number in range(1, _READINGS + 1):
            reading = _Reading(_sorting(kind))
            for arrival in self._read_once(kind, window, self._submit(kind, window, 1)):
                reading.add(arrival.page)
                if reading.is_over:
                    quiet = 0 if reading.identities - known else quiet + 1
                    known |= reading.identities
                    if reading.is_whole(known) or quiet >= _QUIET_READINGS or number == _READINGS:
                        arrival.through_at = window.end
                        yield arrival
                        return
                if not reading.texts <= texts:  # a page of nothing new is not worth a transaction
                    yield arrival
                    texts |= reading.texts

    def _read_once(self, kind: str, window: Window, first: "Future[Arrival]") -> Iterator[Arrival]:
        """Yield the pages up to the last one, which a page's own word tells, not its length: a page may be short."""
        ahead = deque([first])
        number = submitted = 1
        try:
            while True:
                arrival = ahead.popleft().result()
                last = arrival.page.max_page
                while submitted < min(last, number + _PAGES_AHEAD):
                    submitted += 1
                    ahead.append(self._submit(kind, window, submitted))
                yield arrival
                if number >= last or not ahead:
                    return
                number += 1
        finally:
            for future in ahead:
                future.cancel()

    def _submit(self, kind: str, window: Window, page: int) -> "Future[Arrival]":
        return self._pool.submit(self._get, kind, self._query(kind, window, page))

    def _query(self, kind: str, window: Window, page: int, limit: int | None = None) -> Query:
        query: Query = {"organization_id": self._organization_id}
        if kind in _SPANS:
            after, before = _SPANS[kind]
            if window.start is not None:
                query[after] = _written(window.start - _MILLISECOND)
            if window.end is not None:
                query[before] = _written(window.end)
        return {**query, "sorting": [_sorting(kind)], "page": page, "limit": limit or _PAGE_SIZE}

    def _get(self, kind: str, query: Query) -> Arrival:
        def read(body: bytes) -> Arrival | None:
            page = records.read_page(body)
            return None if page is None else Arrival(name, body, page, is_first=query["page"] == 1)

        name = self._name(kind, query)
        return self._api.get(f"/v1/{kind}/", query, read)

    def _get_order(self, order_id: str) -> Arrival | None:
        def read(body: bytes) -> Arrival | None:
            is_whole = body.lstrip().startswith(b"{") and records.is_one_document(body)
            return Arrival(name, body, records.Page([body], 1, 1)) if is_whole else None

        name = f"polar://{self._server}/{self._organization_id}/orders/{order_id}"
        try:
            return self._api.get(f"/v1/orders/{order_id}", {}, read)
        except RefusedError as error:
            if error.status != 404:
                raise
            return None

    def _name(self, kind: str, query: Query) -> str:
        shown = {name: value for name, value in query.items() if name not in ("organization_id", "limit", "sorting")}
        return f"polar://{self._server}/{self._organization_id}/{kind}?{urlencode(shown, doseq=True, safe=':')}"


class _Reading:
    """What one reading of a window's pages showed: whether rows moved between two pages."""

    def __init__(self, field: str) -> None:
        self.identities: set[str] = set()
        self.texts: set[bytes] = set()
        self.instants: list[datetime] = []
        self._field = field
        self.is_over = False
        self._totals: list[int] = []
        self._has_repeated = False

    def add(self, page: records.Page) -> None:
        on_page = {_identity(item) for item in page.items}
        self._has_repeated |= bool(self.identities & on_page)
        self.identities |= on_page
        self.texts |= {hashlib.blake2b(item, digest_size=16).digest() for item in page.items}
        self.instants += [instant for item in page.items if (instant := _item_instant(item, self._field))]
        self._totals.append(page.total_count)
        self.is_over = len(self._totals) >= page.max_page

    def is_whole(self, known: set[str] | None = None) -> bool:
        """Tell whether no row can have slipped from a page that was to be read to one that had been.

        One page is one instant. Of several, either nothing moved, or rows only came and all that the list counts are
        here. (It may count more than there are: then one of its pages is short.)
        """
        if len(self._totals) == 1:
            return True
        is_still = len(set(self._totals)) == 1 and not self._has_repeated
        only_grew = self._totals == sorted(self._totals)
        return is_still or (only_grew and len(known or self.identities) >= self._totals[-1])


class _Item(msgspec.Struct):
    id: str = ""


def _identity(item: bytes) -> str:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        if identity := msgspec.json.decode(item, type=_Item).id:
            return identity
    return hashlib.sha256(item).hexdigest()


def _item_instant(item: bytes, field: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(msgspec.json.decode(item)[field])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        return None
    return instant.astimezone(UTC) if instant.tzinfo else None


def _sorting(kind: str) -> str:
    return _SORTINGS.get(kind, "created_at")


def _written(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def list_organizations(api: Api) -> list[str]:
    """Return the organizations that the token may read."""

    def read(body: bytes) -> records.Page | None:
        return records.read_page(body)

    identities: list[str] = []
    number = 1
    while True:
        page = api.get("/v1/organizations/", {"page": number, "limit": _PAGE_SIZE, "sorting": ["created_at"]}, read)
        identities += [identity for item in page.items if (identity := _identity(item)) not in identities]
        if number >= page.max_page:
            return identities
        number += 1
