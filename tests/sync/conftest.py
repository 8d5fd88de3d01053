"""A home folder, a fake Polar, and a clock that nobody waits for."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tests.plain_environment  # noqa: F401
from loaders.sources import polar
from loaders.sources.polar_api import Access, Api, Pace
from loaders.sync import SyncOptions, SyncSummary, sync
from loaders.warehouse import Home, open_work_file
from sync.fake_polar import KINDS, TOKEN, FakePolar
from sync.payloads import ORGANIZATION

NOW = datetime(2026, 6, 1, 12, 0, 0, 500, tzinfo=UTC)


class Time:
    """Seconds that pass only where somebody sleeps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        with self._lock:
            return self.seconds

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.seconds += seconds
            self.slept.append(seconds)


class Syncing:
    """A home folder of its own, and syncs into it."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.time = Time()

    def sync(
        self,
        server: FakePolar,
        *,
        now: datetime = NOW,
        token: str = TOKEN,
        attempts: int = 8,
        timeout: float = 10,
        organizations: tuple[str | None, ...] = (ORGANIZATION,),
        **options: Any,
    ) -> SyncSummary:
        def open_api() -> Api:
            access = Access(token, "production", server.url)
            return Api(access, pace, timeout=timeout, attempts=attempts, sleep=self.time.sleep)

        pace = Pace(500, clock=self.time.clock)
        chosen = SyncOptions(clock=lambda: now, **options)
        with open_work_file(self.home) as connection:
            connection.execute("set threads = 1")  # pages are small, and threads would only wait for each other
            return sync(connection, self.home, dict.fromkeys(organizations, open_api), chosen)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with open_work_file(self.home) as connection:
            return connection.execute(sql).fetchall()

    def landed(self) -> dict[str, dict[str, str]]:
        """Return the events and the last landed version of each object, by kind and id; each event must be there once.

        With one opening of the file.
        """
        rows = self.rows(
            "select 'events', payload ->> 'id', payload from raw.events union all"
            " select kind, resource_id, arg_max(payload, (load_id, file_number, record_number)) from raw.resources"
            " group by all"
        )
        found: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
        for kind, key, text in rows:
            assert key not in found[kind], (kind, key)
            found[kind][key] = text
        return found

    def events(self) -> dict[str, str]:
        """Return the landed events by id, each of which must be there once."""
        rows = self.rows("select payload ->> 'id', payload from raw.events")
        assert len(dict(rows)) == len(rows)
        return dict(rows)

    def resources(self, kind: str) -> dict[str, str]:
        """Return the last landed version of each object."""
        return dict(
            self.rows(
                f"select resource_id, arg_max(payload, (load_id, file_number, record_number)) from raw.resources"
                f" where kind = '{kind}' group by resource_id"
            )
        )


@pytest.fixture
def syncing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Syncing:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Syncing(tmp_path)


@pytest.fixture
def server() -> Iterator[FakePolar]:
    with FakePolar() as fake:
        yield fake


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a few records fill several pages and windows."""
    monkeypatch.setattr(polar, "_PAGE_SIZE", 4)
    monkeypatch.setattr(polar, "_WINDOW_ITEMS", 16)


def at(**before: float) -> str:
    """Return the instant so long before NOW, as Polar writes it."""
    return (NOW - timedelta(**before)).isoformat().replace("+00:00", "Z")
