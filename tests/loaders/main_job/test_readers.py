"""Many readers of the published file while it is published again and again, and what other writers leave beside it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from loaders.publish import publish
from loaders.report import DASHBOARDS
from loaders.warehouse import Home
from tests.loaders.main_job.conftest import AS_OF, Published, World, meterhouse
from tests.loaders.main_job.test_old_readers import environment

READERS = 8

# One reader, as a dashboard is one: it knows nothing of Meterhouse. Each number that the queries give is of the same
# publication, and never an older one than before. It ends when the file of its second argument is there.
_READ = """
import json, pathlib, sys, time
import duckdb
path, end, queries = sys.argv[1], pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
last, reads, seen = None, 0, set()
deadline = time.monotonic() + float(sys.argv[4])
while not end.exists():
    assert time.monotonic() < deadline, "nobody ended this reader"
    connection = duckdb.connect(path, read_only=True, config={"threads": 1})
    first = connection.execute("select published_at from publication").fetchone()
    numbers = {query: connection.execute(query).fetchone()[0] for query in queries}
    assert connection.execute("select published_at from publication").fetchone() == first, "another file"
    connection.close()
    assert len(set(numbers.values())) == 1, f"a mixture: {numbers}"
    state = (first[0], numbers[queries[0]])
    assert last is None or last <= state, f"backward: {last}, {state}"
    last, reads = state, reads + 1
    seen.add(state)
    time.sleep(float(sys.argv[5]))
print(reads, len(seen))
"""


@contextmanager
def reading(
    published: Path, queries: list[str], folder: Path, seconds: float, pause: float
) -> Iterator[list[tuple[int, int]]]:
    """Have eight processes read until the block ends; then how often each read, and how many publications it saw."""
    end = folder / "end"
    command = [sys.executable, "-c", _READ, str(published), str(end), json.dumps(queries), str(seconds), str(pause)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(READERS)
    ]
    counts: list[tuple[int, int]] = []
    try:
        yield counts
        end.touch()
        for process in processes:
            said, complaint = process.communicate(timeout=60)
            assert process.returncode == 0, complaint
            reads, seen = map(int, said.split())
            counts.append((reads, seen))
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    shutil.copytree(world.home, tmp_path / "home")
    return tmp_path / "home"


def numbered(home: Path, number: int, tables: list[str]) -> None:
    """Give every row of every mart this number, as a build that passed would: in no time, and seen in each table."""
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        for table in tables:
            work.execute(f'alter table marts."{table}" add column if not exists number bigint')
            work.execute(f'update marts."{table}" set number = {number}')
        work.execute(
            "insert into raw.builds by name select * replace (build_id + 1 as build_id, "
            "finished_at + interval 1 second as finished_at) from raw.builds order by build_id desc limit 1"
        )


def small_marts(home: Path) -> list[str]:
    """Leave some small marts in the work file, so that a publish takes a moment; return their names."""
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        sizes = work.execute(
            "select table_name, estimated_size from duckdb_tables() where schema_name = 'marts' order by all"
        ).fetchall()
        kept = [name for name, size in sizes if 1 <= size <= 1000][:12]
        for name, _ in sizes:
            if name not in kept:
                work.execute(f'drop table marts."{name}"')
        for (name,) in work.execute("select view_name from duckdb_views() where schema_name = 'marts'").fetchall():
            work.execute(f'drop view marts."{name}"')
    return kept


@pytest.mark.parametrize("count", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_readers_meet_no_error_no_mixture_and_no_older_file(home: Path, tmp_path: Path, count: int) -> None:
    """Publications in which every row of every table differs from the last one's."""
    published, tables = home / "published.duckdb", small_marts(home)
    assert len(tables) == 12
    numbered(home, 0, tables)
    publish(Home(home))
    queries = [f'select min(number) + max(number) from "{table}"' for table in tables]
    with reading(published, queries, tmp_path, seconds=300, pause=0.05) as counts:
        for number in range(1, count + 1):
            numbered(home, number, tables)
            publish(Home(home))
    assert list(Published(published).rows(queries[0])[0].values()) == [2 * count]
    assert sum(seen for _, seen in counts) >= 2 * READERS, "hardly anybody read while it was published"


def run_with_an_event_more(home: Path, number: int) -> subprocess.CompletedProcess[str]:
    (organization,) = Published(home / "published.duckdb").rows("select min(organization_id) as id from customers")
    # As Polar reads it back: where recorded usage is landed, a submission is none.
    event = {
        "id": f"0a0a0a00-0000-4000-8000-{number:012}", "source": "user", "organization_id": organization["id"],
        "name": "read.while.published", "external_customer_id": f"reader-{number % 5}",
        "timestamp": "2026-05-01T00:00:00Z", "metadata": {},
    }  # fmt: skip
    file = home.parent / f"{number}.jsonl"
    file.write_text(json.dumps(event) + "\n")
    return meterhouse("run", file, "--as-of", AS_OF, home=home)


def count_events(home: Path) -> int:
    (row,) = Published(home / "published.duckdb").rows("select count(*) as n from usage_events")
    return int(row["n"])


@pytest.mark.slow
def test_readers_meet_no_error_while_runs_publish(home: Path, tmp_path: Path) -> None:
    """Fifty whole runs, each with a new event: the file is a changed copy of the last one most of the time."""
    queries = [
        "select count(*) from usage_events",
        "select sum(event_count)::bigint from usage_daily",
        "select sum(event_count)::bigint from usage_costs",
        "select sum(usage_event_count)::bigint from customers",
        "select count(distinct usage_event_key) from billing_outcomes",
    ]
    before = count_events(home)
    with reading(home / "published.duckdb", queries, tmp_path, seconds=3000, pause=0.5) as counts:
        runs = [run_with_an_event_more(home, number) for number in range(50)]
    assert count_events(home) == before + 50
    assert sum(seen for _, seen in counts) > 50
    assert sum("of them changed" in run.stderr for run in runs) >= 40


# As Apache Superset asks: SQLAlchemy, no pool, all dashboards' queries in turn. Those that count events agree.
_DASHBOARDS = """
import pathlib, sys, time
import sqlalchemy
from sqlalchemy.pool import NullPool
path, end, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
queries = {file.stem: file.read_text() for file in sorted(folder.glob("*.sql"))}
engine = sqlalchemy.create_engine(f"duckdb:///{path}?access_mode=read_only", poolclass=NullPool)
last, publications = None, set()
deadline = time.monotonic() + 900
while not end.exists():
    assert time.monotonic() < deadline, "nobody ended this reader"
    with engine.connect() as connection:
        answers = {name: connection.exec_driver_sql(sql).mappings().all() for name, sql in queries.items()}
    (fresh,) = answers["freshness"]
    for name in ("usage_by_day", "top_customers"):
        assert sum(row["event_count"] for row in answers[name]) == fresh["usage_event_count"], f"a mixture: {name}"
    assert last is None or last <= fresh["published_at"], "backward"
    last = fresh["published_at"]
    publications.add(last)
print(len(publications))
"""


@pytest.mark.slow
def test_dashboards_are_answered_by_sqlalchemy_while_runs_publish(home: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "environment", "duckdb-engine", "sqlalchemy", "duckdb==1.4.4")
    end, before = tmp_path / "end", count_events(home)
    command = [python, "-c", _DASHBOARDS, home / "published.duckdb", end, DASHBOARDS]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for number in range(6):
            run_with_an_event_more(home, number)
        assert count_events(home) == before + 6
        end.touch()
        said, complaint = reader.communicate(timeout=120)
    finally:
        reader.kill()
        reader.wait()
    assert reader.returncode == 0, complaint[-3000:]
    assert int(said) >= 4


# What a program does that opens the file for writing: it takes the orders away, and ends before it has written out all.
_WRITE = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("delete from orders")
if sys.argv[2] == "killed":
    os._exit(9)
connection.close()
"""


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_what_another_program_wrote_goes_with_the_next_run(world: World, home: Path, end: str) -> None:
    """DuckDB reads a log beside the file as a part of it, also where it may only read: orders would be gone for all."""
    published, log = home / "published.duckdb", home / "published.duckdb.wal"
    subprocess.run([sys.executable, "-c", _WRITE, published, end], timeout=60)
    assert log.exists() is (end == "killed")
    assert Published(published).rows("select count(*) as n from orders") == [{"n": 0}]
    if end == "killed":
        told = meterhouse("report", home=home, expect=1).stderr
        assert told.startswith(f"error: {log}: another program has opened the published file for writing")
        assert "the last build is not published" in meterhouse("status", home=home).stdout

    run = meterhouse("run", "--as-of", AS_OF, home=home)

    assert "Nothing is new" in run.stderr
    assert "Published" in run.stderr
    assert not log.exists()
    assert Published(published).content() == world.published.content()


def test_a_log_that_cannot_be_read_goes_with_the_next_publish(world: World, home: Path) -> None:
    log = home / "published.duckdb.wal"
    log.write_bytes(b"left behind by a reader that opened the file for writing")
    meterhouse("publish", home=home)
    assert not log.exists()
    assert Published(home / "published.duckdb").content() == world.published.content()
