"""What publishing costs beside a plain copy of the published file: 100,000 changed rows in a table of usage events.

Both are measured from this process, in turns, to the disk's confirmation; the best of some rounds counts.

    BENCH_SCALE=0.1         a tenth of everything (default 1: 50 million rows; see benchmarks/run.py)
    BENCH_ROUNDS=3          rounds
    BENCH_PUBLISHES=200     also publishes so often with 1 % of a twenty-fifth of the rows changed, and shows the growth
    BENCH_DATA=FOLDER       where files are made (default benchmarks/.data)
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from loaders.publish import Publication, publish  # noqa: E402
from loaders.warehouse import Home, open_work_file  # noqa: E402

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PUBLISHES = int(os.environ.get("BENCH_PUBLISHES", "0"))
DATA = Path(os.environ.get("BENCH_DATA", HERE / ".data")).resolve() / "publishing"
ROWS = int(50_000_000 * SCALE)
CHANGED_ROWS = int(100_000 * min(1.0, SCALE * 5))

# As wide as the mart, and as hard to compress.
_ROWS = """
select
    1 + i // 100000 as load_id, 1::integer as file_number, i % 100000 as record_number,
    md5(i::varchar) as usage_event_key, 'organization' as organization_id, md5((7 * i)::varchar) as event_id,
    'e' || i as external_id, ['api.call', 'llm.run', 'storage'][1 + i % 3] as event_name,
    timestamp '2026-01-01' + to_seconds(i) as occurred_at, timestamp '2026-01-01' + to_seconds(i + 5) as received_at,
    'customer-' || hash(i) % 5000 as customer_key, 'member-' || hash(i) % 20000 as member_key,
    (hash(i) % 100000)::decimal(38, 12) / 7 as cost_amount, 'usd' as cost_currency,
    (hash(i) % 3000)::bigint as llm_total_tokens, $generation::integer as depth,
    '{"model":"gpt-' || i % 5 || '","units":' || hash(i) % 1000 || '}' as metadata
from range($first::bigint, $until::bigint) as t(i)
"""


class History:
    """A work file with one large mart, and builds that change rows of it."""

    def __init__(self, folder: Path, rows: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.home = Home(folder)
        self.rows = rows
        self._builds = 0
        with open_work_file(self.home) as work:
            work.execute("create schema marts; create schema intermediate")
            work.execute(
                "create table intermediate.int_billing_periods_settled (billing_period_key varchar, "
                "organization_id varchar, subscription_key varchar, period_start_at timestamp, "
                "period_end_at timestamp, is_closed boolean); create table intermediate.int_metered_quantities "
                "(billing_period_key varchar, customer_key varchar, currency varchar, expected_amount bigint)"
            )
            work.execute(
                "create table intermediate.int_organizations_covered as select timestamp '2026-01-01' data_horizon_at"
            )
            work.execute(f"create table marts.usage_events as {_ROWS}", {"first": 0, "until": rows, "generation": 0})
            work.execute("create table changes.usage_events (build_id bigint, load_id bigint, record_number bigint)")
            self._finish_build(work)

    def append_and_mend(self, count: int) -> None:
        """A build: nine tenths of `count` new rows, the rest changed in a tenth of all loads, far apart."""
        new = count - count // 10
        loads = max(1, self.rows // 100_000 // 10)
        with open_work_file(self.home) as work:
            parameters = {"first": self.rows, "until": self.rows + new, "generation": 0}
            work.execute(f"insert into marts.usage_events {_ROWS}", parameters)
            work.execute(
                "insert into changes.usage_events select ?, load_id, record_number from marts.usage_events "
                "where rowid >= ? or (load_id % 10 = 5 and record_number < ?)",
                [self._builds + 1, self.rows, count // 10 // loads],
            )
            self.rows += new
            self._replace(work)
            self._finish_build(work)

    def change_anywhere(self, one_in: int) -> None:
        """A build that changes one row in so many, other ones each time."""
        with open_work_file(self.home) as work:
            work.execute(
                "insert into changes.usage_events select ?, load_id, record_number from marts.usage_events "
                "where hash(load_id, record_number, ?) % ? = 0",
                [self._builds + 1, self._builds, one_in],
            )
            self._replace(work)
            self._finish_build(work)

    def _replace(self, work: duckdb.DuckDBPyConnection) -> None:
        work.execute(
            "update marts.usage_events as e set depth = depth + 1 from changes.usage_events as c "
            "where e.load_id = c.load_id and e.record_number = c.record_number and c.build_id = ?",
            [self._builds + 1],
        )

    def _finish_build(self, work: duckdb.DuckDBPyConnection) -> None:
        self._builds += 1
        now = datetime.now(UTC).replace(tzinfo=None)
        work.execute(
            "insert into raw.builds values (?, 'build', ?, ?, ?, true, true, 0, 'project', 'definitions')",
            [self._builds, now, now, now],
        )
        work.execute("insert into raw.model_changes values (?, 'usage_events', false)", [self._builds])


def measure(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of a call, its processes included, after the disk has written what came before."""
    os.sync()
    started, before = time.monotonic(), os.times()
    run()
    cpu = sum(os.times()[:4]) - sum(before[:4])
    return time.monotonic() - started, cpu


def copy(source: Path, target: Path) -> None:
    """What publishing is measured by: the bytes copied, and on the disk."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def compare() -> None:
    """Publishing changed rows beside copying the file."""
    history = History(DATA / "home", ROWS)
    anew = measure(lambda: publish(history.home))
    publishes, copies = [], []
    for _ in range(ROUNDS):
        history.append_and_mend(CHANGED_ROWS)
        copies.append(measure(lambda: copy(history.home.published_file, DATA / "copy.duckdb")))
        publishes.append(measure(lambda: _publish_copy(history.home)))
    size = history.home.published_file.stat().st_size / 1e6
    print(f"\nPublishing {CHANGED_ROWS:,} changed rows of {history.rows:,} ({size:,.0f} MB; best of {ROUNDS} rounds)")
    print(f"{'':<30}{'wall s':>9}{'cpu s':>9}")
    best = [min(costs, key=lambda cost: cost[1]) for costs in (copies, publishes)]
    rows = ("a copy of the file", best[0]), ("publishing the changes", best[1]), ("writing it anew", anew)
    for name, cost in rows:
        times = [part / base for part, base in zip(cost, best[0], strict=True)]
        print(f"{name:<30}{cost[0]:>9.2f}{cost[1]:>9.2f}   {times[0]:.2f} times its wall, {times[1]:.2f} its cpu")


def _publish_copy(home: Home) -> Publication:
    publication = publish(home)
    assert publication.changed_count is not None, "the file was written anew"
    return publication


def grow() -> None:
    """How a file grows that is a copy of a copy of a copy."""
    history = History(DATA / "home", ROWS // 25)
    publish(history.home)
    first = history.home.published_file.stat().st_size
    largest, anew = 1.0, 0
    for _ in range(PUBLISHES):
        history.change_anywhere(100)
        anew += publish(history.home).changed_count is None
        largest = max(largest, history.home.published_file.stat().st_size / first)
    print(f"\n{PUBLISHES} publishes of 1 % changed rows of {history.rows:,}: written anew {anew} times,")
    print(f"at most {largest:.2f} times the size of the first file ({first / 1e6:,.0f} MB)")


def main() -> None:
    """Make the tables, measure, print, remove."""
    DATA.mkdir(parents=True, exist_ok=True)
    try:
        compare()
        if PUBLISHES:
            grow()
    finally:
        shutil.rmtree(DATA, ignore_errors=True)


if __name__ == "__main__":
    main()
