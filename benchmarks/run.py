"""`make bench`: what landing costs beside DuckDB, polars and dlt on the same file, what builds cost, and how both grow.

Each contestant is a process of its own, measured by the operating system: wall and processor seconds, peak memory.
They take turns, and the best of some rounds counts: on a busy machine only ratios from one run mean anything.

    BENCH_SCALE=0.1     a tenth of everything (default 1: 2 million events, about 0.5 GB; 50 million of history)
    BENCH_ROUNDS=3      rounds for the contestants
    BENCH_LARGE=0       leaves out the 5 GB file and the long histories
    BENCH_LARGEST=10000000  builds onto histories up to so many events (default 50 million; it takes half an hour)
    BENCH_PARTS=builds  only one part: landing, growth, builds or engine (default: all; with a comma some)
    BENCH_DLT=0         leaves out dlt, which is installed into an environment of its own
    BENCH_DATA=FOLDER   where files are made and kept (default benchmarks/.data)
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

import builds
import duckdb
from generate import write_events

HERE = Path(__file__).resolve().parent
SCALE = float(os.environ.get("BENCH_SCALE", "1"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
HAS_LARGE = os.environ.get("BENCH_LARGE", "1") != "0"
PARTS = os.environ.get("BENCH_PARTS", "landing,growth,builds,engine").split(",")
HAS_DLT = os.environ.get("BENCH_DLT", "1") != "0"
DATA = Path(os.environ.get("BENCH_DATA", HERE / ".data")).resolve()

EVENTS = int(2_000_000 * SCALE)
SAMPLE = int(100_000 * min(1.0, SCALE * 5))
NEW_EVENTS = int(100_000 * SCALE)
HISTORIES = (int(1_000_000 * SCALE), int(50_000_000 * SCALE))
# A company's months: a longer history is more of them. See benchmarks/builds.py.
BUILT_HISTORIES = tuple(
    int(count * SCALE)
    for count in (1_000_000, 10_000_000, 50_000_000)
    if count <= int(os.environ.get("BENCH_LARGEST", "50_000_000" if HAS_LARGE else "1_000_000"))
)
SMALL_FILES = 500
# The process has a gigabyte beside what DuckDB may keep: it stays below 8 GB.
ENGINE_MEMORY = "6GB"

_HISTORY = """
insert into raw.events
select
    1 + i // 100000, 1, i, i * 300, 'organization', md5(i::varchar)::uuid, 'submitted', 'user',
    timestamp '2026-01-01' + to_seconds(i), '{"name":"api.call","external_id":"' || i || '"}', null
from range($count::bigint) as t(i);
"""


@dataclass
class Cost:
    """What one process took: seconds and megabytes."""

    wall: float
    cpu: float
    peak: float


def measure(command: list[str], **environment: str) -> Cost:
    """Run a command to its end and return what the operating system says it took. It must succeed."""
    started = time.monotonic()
    with (DATA / "output.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=HERE.parent, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{(DATA / 'output.log').read_text()[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def contestant(name: str, file: Path, *, python: str = sys.executable, keep: bool = False) -> Cost:
    """Run a contestant, in an empty folder unless what the last one left is to be kept."""
    folder = DATA / "work"
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    os.sync()
    return measure([python, str(HERE / "contestants.py"), name, str(folder), str(file)])


def best(costs: list[Cost]) -> Cost:
    """Return the quickest: what else the machine does only ever adds."""
    return min(costs, key=lambda cost: cost.wall)


def print_row(name: str, count: int, cost: Cost, beside: str = "") -> None:
    print(
        f"{name:<44}{count:>11,}{cost.wall:>9.2f}{cost.cpu:>9.2f}{cost.cpu / count * 1e6:>10.2f}"
        f"{count / cost.wall:>12,.0f}{cost.peak:>9,.0f}  {beside}",
        flush=True,
    )


def print_head(title: str) -> None:
    print(f"\n{title}")
    print(f"{'':<44}{'events':>11}{'wall s':>9}{'cpu s':>9}{'us/event':>10}{'events/s':>12}{'peak MB':>9}", flush=True)


def dlt_python() -> str:
    """Return the interpreter of an environment with dlt, made on first use: the project's own stays as locked."""
    folder = DATA / "dlt-venv"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--quiet", *project["optional-dependencies"]["bench"]],
            check=True,
        )
        (folder / "complete").touch()
    return str(python)


def compare() -> None:
    """Landing beside the others, on one file; dlt on a sample, for it takes minutes for the whole."""
    file = write_events(DATA / f"events-{EVENTS}.jsonl", EVENTS, seed=1)
    print_head(f"One file of {file.stat().st_size / 1e6:,.0f} MB (best of {ROUNDS} rounds)")
    costs: dict[str, list[Cost]] = {"meterhouse": [], "duckdb_typed": [], "polars_ndjson": [], "sha256": []}
    again: list[Cost] = []
    for _ in range(ROUNDS):
        for name, found in costs.items():
            found.append(contestant(name, file))
            if name == "meterhouse":
                again.append(contestant(name, file, keep=True))
    ours, bare = best(costs["meterhouse"]), best(costs["duckdb_typed"])
    print_row("meterhouse load", EVENTS, ours)
    print_row("DuckDB, typed create table as", EVENTS, bare, f"landing has {bare.wall / ours.wall:.2f} of its events/s")
    polars = best(costs["polars_ndjson"])
    print_row("polars.read_ndjson into DuckDB", EVENTS, polars, f"landing has {polars.wall / ours.wall:.2f} times its")
    print_row("meterhouse load, the same file again", EVENTS, best(again))
    print_row("SHA-256 of the file", EVENTS, best(costs["sha256"]))
    if HAS_DLT:
        compare_dlt(ours)


def compare_dlt(ours: Cost) -> None:
    python = dlt_python()
    sample = write_events(DATA / f"events-{SAMPLE}.jsonl", SAMPLE, seed=1)
    for name, title in (("dlt_nested", "dlt into DuckDB, nested"), ("dlt_lean", "dlt into DuckDB, key and payload")):
        cost = contestant(name, sample, python=python)
        times = (cost.cpu / SAMPLE) / (ours.cpu / EVENTS), (cost.wall / SAMPLE) / (ours.wall / EVENTS)
        print_row(title, SAMPLE, cost, f"landing is {times[0]:.0f} times cheaper (cpu), {times[1]:.0f} times faster")


def grow() -> None:
    """Landing a file ten times as large, many small ones, and new events onto a long history."""
    print_head("How it grows")
    large = write_events(DATA / f"events-{10 * EVENTS}.jsonl", 10 * EVENTS, seed=2)
    print_row(f"one file of {large.stat().st_size / 1e6:,.0f} MB", 10 * EVENTS, contestant("meterhouse", large))
    large.unlink()
    small = write_small_files()
    cost = contestant("meterhouse", small)
    print_row(
        f"{SMALL_FILES} files of 20 events", SMALL_FILES * 20, cost, f"{cost.wall / SMALL_FILES * 1e3:.1f} ms a file"
    )
    walls = [land_onto(history) for history in HISTORIES]
    print(f"{'':<44}{HISTORIES[1]:,} cost {walls[1] / walls[0]:.2f} times what {HISTORIES[0]:,} cost")


def write_small_files() -> Path:
    folder = DATA / "small"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number in range(SMALL_FILES):
        write_events(folder / f"{number:04d}.jsonl", 20, seed=1000 + number)
    return folder


def land_onto(history: int) -> float:
    """Land new events onto so many known ones, thrice; return the best wall seconds."""
    shutil.rmtree(DATA / "work", ignore_errors=True)
    fill_history(DATA / "work" / "home", history)
    costs = []
    for seed in (11, 12, 13):
        new = write_events(DATA / f"new-{NEW_EVENTS}-{seed}.jsonl", NEW_EVENTS, seed=seed)
        costs.append(contestant("meterhouse", new, keep=True))
    print_row(f"{NEW_EVENTS:,} new events onto {history:,}", NEW_EVENTS, best(costs))
    return best(costs).wall


def fill_history(folder: Path, count: int) -> None:
    """Put events into a home folder as if they had been landed, 100,000 a load."""
    program = (
        "import sys; from loaders.warehouse import Home, open_work_file\n"
        "with open_work_file(Home(sys.argv[1])) as c: c.execute(sys.argv[2], {'count': int(sys.argv[3])})\n"
        "with open_work_file(Home(sys.argv[1])): pass\n"
    )
    measure([sys.executable, "-c", program, str(folder), _HISTORY, str(count)])


def meterhouse(home: Path, *arguments: str, **environment: str) -> Cost:
    command = [sys.executable, "-m", "loaders.cli", "--home", str(home), *arguments]
    return measure(command, **environment)


def build_onto_histories() -> None:
    """What a build and a publish cost where 100,000 events came in, onto ever longer histories; then what a run may."""
    print_head("Builds, tests included (the first one makes everything, the others change it in place)")
    walls = []
    for count in BUILT_HISTORIES:
        history = builds.fill_history(DATA / "work" / f"history-{count}", count)
        print_row(f"first build of {count:,}", count, meterhouse(history.home, "build", "--as-of", builds.AS_OF))
        can_publish = has_room_to_publish(history.home)
        if can_publish:
            meterhouse(history.home, "publish")
            show_dashboards(history.home, count)
        built, published, copied = [], [], []
        for _ in range(ROUNDS):
            builds.land_new(history, NEW_EVENTS)
            built.append(meterhouse(history.home, "build", "--as-of", builds.AS_OF))
            if can_publish:
                copied.append(copy_published(history.home))
                published.append(meterhouse(history.home, "publish"))
        print_row(f"build of {NEW_EVENTS:,} new events onto {count:,}", NEW_EVENTS, best(built))
        if can_publish:
            size = history.home.joinpath("published.duckdb").stat().st_size
            beside = f"{best(published).wall / best(copied).wall:.1f} times a copy of its {size / 1e6:,.0f} MB"
            print_row("publish of it", NEW_EVENTS, best(published), beside)
        walls.append(best(built).wall)
        if count == BUILT_HISTORIES[0]:
            show_floor(history)
        shutil.rmtree(history.home)
    print(f"{'':<44}{BUILT_HISTORIES[-1]:,} cost {walls[-1] / walls[0]:.2f} times what {BUILT_HISTORIES[0]:,} cost")


def has_room_to_publish(home: Path) -> bool:
    """Tell whether the disk has room for two published files, each half as large as the work file, and say if not."""
    has_room = shutil.disk_usage(home).free > home.joinpath("meterhouse.duckdb").stat().st_size
    if not has_room:
        print("publish of it: not measured, the disk has no room for two of it")
    return has_room


def copy_published(home: Path) -> Cost:
    """Copy the published file as a publish must, to the disk's confirmation."""
    target = DATA / "work" / "copy.duckdb"
    program = (
        "import os, shutil, sys; shutil.copyfile(*sys.argv[1:]); "
        "descriptor = os.open(sys.argv[2], os.O_RDONLY); os.fsync(descriptor)"
    )
    cost = measure([sys.executable, "-c", program, str(home / "published.duckdb"), str(target)])
    target.unlink()
    return cost


def show_dashboards(home: Path, count: int) -> None:
    """What a dashboard waits for: each query of `dashboards/` on the published file, read-only, on two threads."""
    medians = {}
    for file in sorted(HERE.parent.joinpath("dashboards").glob("*.sql")):
        seconds = []
        # A connection of its own, as a dashboard's first look has it: its first answer counts among the others.
        with duckdb.connect(str(home / "published.duckdb"), read_only=True, config={"threads": 2}) as connection:
            for _ in range(7):
                started = time.perf_counter()
                connection.execute(file.read_text()).fetchall()
                seconds.append(time.perf_counter() - started)
        medians[file.stem] = statistics.median(seconds)
    answers = ", ".join(f"{name} {seconds * 1e3:.0f}" for name, seconds in medians.items())
    print(f"dashboards on {count:,}, median ms: {answers}", flush=True)


def show_floor(history: builds.History) -> None:
    """What a scheduler's run costs at least: with a thousand new events, and with none."""
    imports = best([measure([sys.executable, "-c", "import dbt.cli.main"]) for _ in range(ROUNDS)])
    print_row("python -c 'import dbt.cli.main'", 1, imports)
    runs = []
    for _ in range(ROUNDS):
        builds.land_new(history, 1000)
        runs.append(meterhouse(history.home, "run", "--as-of", builds.AS_OF))
    beside = f"{best(runs).wall / imports.wall:.1f} times that import, tests and publish included"
    print_row("run with 1,000 new events", 1000, best(runs), beside)
    nothing = best([meterhouse(history.home, "run", "--as-of", builds.AS_OF) for _ in range(ROUNDS)])
    print_row("run with nothing new", 1, nothing)


def build_beside_hand_written() -> None:
    """A full build, tests included, beside what no build can avoid, on the same events."""
    count = int(10_000_000 * SCALE)
    print_head(f"A full build: {builds.ENGINE_CUSTOMERS:,} customers, {builds.ENGINE_METERS} meters")
    home = DATA / "work" / "engine"
    history = builds.fill_history(home, count, customers=builds.ENGINE_CUSTOMERS, meters=builds.ENGINE_METERS)
    by_hand = measure(
        [sys.executable, str(HERE / "hand_written.py"), str(home / "meterhouse.duckdb"), str(home / "by_hand.duckdb")]
    )
    print_row("parse, usage_events and meter_usage by hand", count, by_hand)
    built = meterhouse(history.home, "build", "--as-of", builds.AS_OF, METERHOUSE_MEMORY_LIMIT=ENGINE_MEMORY)
    print_row("build and tests", count, built, f"{built.cpu / by_hand.cpu:.1f} times its processor time")


def main() -> None:
    """Make the files, run everyone, print the tables, remove what was landed."""
    DATA.mkdir(parents=True, exist_ok=True)
    try:
        if "landing" in PARTS:
            compare()
        if "growth" in PARTS and HAS_LARGE:
            grow()
        if "builds" in PARTS:
            build_onto_histories()
        if "engine" in PARTS:
            build_beside_hand_written()
    finally:
        shutil.rmtree(DATA / "work", ignore_errors=True)


if __name__ == "__main__":
    main()
