"""How runs are ended by force, and how what they leave is compared."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loaders.landing import LoadOptions, land_files
from loaders.replay import Selection, replay
from loaders.warehouse import Home, open_work_file
from tests.loaders.main_job.conftest import ROOT, Published
from tests.parsed_project import shared_parse

# Given, not taken from the clock: so the tables of a run that was ended and mended can be compared to the last value.
LANDED_AT = datetime(2026, 5, 10, tzinfo=UTC)
RAW_TABLES = ("loads", "events", "event_rereads", "resources", "conflicts", "quarantine")
# A run that was ended had a load id of its own, and its instants are those of runs.
OF_RUNS = ("load_id", "root_load_id", "first_load_id", "later_load_id", "replayed_load_id", "started_at", "finished_at")
_PATIENCE = 120.0


def start(*arguments: str | Path, home: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own."""
    with shared_parse(home, arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "loaders.cli", "--home", str(home), *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def wait_for_work(process: subprocess.Popen[str], home: Path) -> None:
    """Return when the run holds the home folder's lock, or has ended: before that there is nothing to disturb."""
    lock = home / "meterhouse.lock"
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and not (lock.exists() and lock.read_text().strip() == str(process.pid)):
        assert time.monotonic() < deadline, "the run never took its lock"
        time.sleep(0.001)


class Killer:
    """Kills runs of one command at seeded moments of their work; how long that takes it learns from the runs."""

    def __init__(self, seed: int, span: float, count: int) -> None:
        self.hits = 0
        self._span = span
        self._moments = random.Random(seed)
        self._parts = [(part + self._moments.random()) / count for part in range(count)]
        self._moments.shuffle(self._parts)

    def __iter__(self) -> Iterator[float]:
        return iter(self._parts)

    def kill(self, part: float, *arguments: str | Path, home: Path) -> bool:
        """Kill the run's process group when this part of its work is done; False where it was quicker."""
        with start(*arguments, home=home) as process:
            wait_for_work(process, home)
            started = time.monotonic()
            try:
                process.communicate(timeout=part * self._span)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                self.hits += 1
                return True
            self._span = min(self._span, time.monotonic() - started)
            return False


def span_of(*arguments: str | Path, home: Path) -> float:
    """Run to the end and return how long the work took."""
    with start(*arguments, home=home) as process:
        wait_for_work(process, home)
        started = time.monotonic()
        _, messages = process.communicate(timeout=_PATIENCE)
        assert process.returncode == 0, messages
        return time.monotonic() - started


def load_again(home: Path, *paths: Path) -> None:
    """Load to the end, in this process: that spares a second of imports."""
    place = Home(home)
    with open_work_file(place) as connection:
        summary = land_files(connection, place, [str(path) for path in paths], LoadOptions(landed_at=LANDED_AT))
    assert [file.error for file in summary.files if file.error] == []


def replay_all(home: Path, organization_id: str) -> None:
    """Replay what waits for an organization."""
    place = Home(home)
    with open_work_file(place) as connection:
        assert replay(connection, place, Selection(), LoadOptions(organization_id=organization_id)).files


def raw_content(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every value of every raw table but what names a run."""
    with open_work_file(Home(home)) as connection:
        columns = {
            table: [name for name, *_ in connection.execute(f"describe raw.{table}").fetchall() if name not in OF_RUNS]
            for table in RAW_TABLES
        }
        return {
            table: connection.execute(f"select {', '.join(names)} from raw.{table} order by all").fetchall()
            for table, names in columns.items()
        }


def published_content(home: Path) -> dict[str, tuple[Any, ...]]:
    """Row count and order-free hash of every published table, without what names a run."""
    published = Published(home / "published.duckdb")
    content = {}
    for table in published.tables():
        if table != "publication":
            names = [row["column_name"] for row in published.rows(f'describe "{table}"')]
            kept = ", ".join(f'"{name}"' for name in names if name not in OF_RUNS)
            sql = f'select count(*) as n, bit_xor(hash(t)), sum(hash(t)) from (select {kept} from "{table}") as t'
            content[table] = tuple(published.rows(sql)[0].values())
    return content
