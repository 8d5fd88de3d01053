"""The disk fails once, or is full from then on, at the first, second, third, ... call: each end is the old state or the
new one, is told in words with exit code 1, and is mended by running again."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loaders.main_job.conftest import ROOT, World, meterhouse
from tests.loaders.main_job.ends import LANDED_AT, load_again, published_content, raw_content
from tests.parsed_project import shared_parse

pytestmark = pytest.mark.filterwarnings("error")

SHIM = ROOT / "tests" / "loaders" / "fixtures" / "failing_calls.c"
ONCE, FROM_THEN_ON, KILLED = {}, {"FAIL_ON": "1"}, {"FAIL_KILLS": "1"}
FAULTS = [
    pytest.param("write", FROM_THEN_ON, id="disk full"),
    pytest.param("write", ONCE, id="write fails once", marks=pytest.mark.slow),
    pytest.param("fsync", ONCE, id="fsync fails once"),
    pytest.param("read", ONCE, id="read fails once", marks=pytest.mark.slow),
]
UNEQUAL = """
select * from raw.loads as l
where landed != (
    select count(*) from (
        select load_id, file_number from raw.events union all select load_id, file_number from raw.resources
    ) as stored where stored.load_id = l.load_id and stored.file_number = l.file_number
) or quarantined != (
    select count(*) from raw.quarantine as q where q.load_id = l.load_id and q.file_number = l.file_number
)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("making calls fail needs Linux and a C compiler (cc or gcc)")
    library = tmp_path_factory.mktemp("shim") / "failing_calls.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True)
    return library


class Faults:
    """Runs of one command in copies of one home, each with another failing call."""

    def __init__(self, shim: Path, folder: Path, start: Path, calls: str, how: dict[str, str]) -> None:
        self.folder = folder
        self._start = start
        self._count = folder / "count"
        self._environment = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "FAIL_CALLS": calls,
            "FAIL_COUNT": str(self._count),
            **how,
        }

    def run(self, number: int, *arguments: str | Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
        home = self.folder / f"home-{number}"
        shutil.copytree(self._start, home)
        command = [sys.executable, "-m", "loaders.cli", "--home", str(home), *map(str, arguments)]
        environment = {**self._environment, "FAIL_BELOW": str(home), "FAIL_AT": str(number)}
        with shared_parse(home, arguments):
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        return home, done

    def numbers(self, *arguments: str | Path, every: bool) -> list[int]:
        """The calls to fail: each, or some of the first and last ones; none fails beforehand."""
        home, done = self.run(0, *arguments)
        assert done.returncode == 0, done.stderr
        shutil.rmtree(home)
        total = int(self._count.read_text())
        assert total > 3, "the calls of the run must pass through the shim"
        if every:
            return list(range(1, total + 1))
        return sorted({1, 31, total} & set(range(1, total + 1)))


def assert_told(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
    if done.returncode == 1:
        assert done.stderr.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
@pytest.mark.parametrize(("calls", "how"), FAULTS)
def test_load_on_a_failing_disk_lands_whole_files_or_none(
    shim: Path, world: World, tmp_path: Path, calls: str, how: dict[str, str], every: bool
) -> None:
    start, calm, paths = tmp_path / "start", tmp_path / "calm", (world.data / "org_b",)
    load_again(start, world.data / "org_c")
    shutil.copytree(start, calm)
    load_again(calm, *paths)
    expected = raw_content(calm)
    faults = Faults(shim, tmp_path, start, calls, how)
    load = ("load", "--landed-at", LANDED_AT.isoformat(), *paths)
    for number in faults.numbers(*load, every=every):
        home, done = faults.run(number, *load)
        assert_told(done)
        assert rows_that_do_not_add_up(home) == [], number
        if done.returncode == 0:
            assert raw_content(home) == expected, number
        load_again(home, *paths)
        assert raw_content(home) == expected, number
        shutil.rmtree(home)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["first", "every"])
@pytest.mark.parametrize("how", [pytest.param(ONCE, id="fails"), pytest.param(KILLED, id="killed")])
def test_first_load_that_ends_at_a_write_is_run_again(
    shim: Path, tmp_path: Path, how: dict[str, str], every: bool
) -> None:
    start, calm, source = tmp_path / "start", tmp_path / "calm", tmp_path / "events.jsonl"
    start.mkdir()
    source.write_text('{"name": "call", "external_customer_id": "c", "organization_id": "o"}\n')
    load_again(calm, source)
    expected = raw_content(calm)
    load = ("load", "--landed-at", LANDED_AT.isoformat(), source)
    faults = Faults(shim, tmp_path, start, "write", how)
    numbers = faults.numbers(*load, every=True)
    for number in numbers if every else numbers[:8]:
        home, done = faults.run(number, *load)
        if how is KILLED:
            assert done.returncode == -signal.SIGKILL
        else:
            assert_told(done)
        load_again(home, source)
        assert raw_content(home) == expected, number
        shutil.rmtree(home)


def rows_that_do_not_add_up(home: Path) -> list[object]:
    from loaders.warehouse import Home, open_work_file

    with open_work_file(Home(home)) as connection:
        return list(connection.execute(UNEQUAL).fetchall())


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
@pytest.mark.parametrize(("calls", "how"), FAULTS)
def test_publish_on_a_failing_disk_leaves_the_old_file_or_the_new_one(
    shim: Path, world: World, tmp_path: Path, calls: str, how: dict[str, str], every: bool
) -> None:
    start = tmp_path / "start"
    start.mkdir()
    for name in ("meterhouse.duckdb", "published.duckdb"):
        shutil.copy2(world.home / name, start / name)
    expected = published_content(start)
    faults = Faults(shim, tmp_path, start, calls, how)
    for number in faults.numbers("publish", every=every):
        home, done = faults.run(number, "publish")
        assert_told(done)
        assert published_content(home) == expected, number
        is_new = (home / "published.duckdb").read_bytes() != (start / "published.duckdb").read_bytes()
        assert is_new or done.returncode == 1, number
        if "The last file stays" in done.stderr:
            assert not is_new, number
        assert {path.name for path in home.iterdir()} - {"meterhouse.duckdb.wal"} == {
            "meterhouse.duckdb",
            "meterhouse.lock",
            "published.duckdb",
        }, number
        shutil.rmtree(home)


def change_some_usage(home: Path) -> None:
    """A build that passed and changed some rows of the largest table, as the project's macros record it."""
    from loaders.warehouse import Home, open_work_file

    with open_work_file(Home(home)) as connection:
        connection.execute(
            """
            insert into raw.builds by name
            select * replace (build_id + 1 as build_id, finished_at + interval '1' hour as finished_at)
            from raw.builds order by build_id desc limit 1;
            create or replace table changes.usage_events as
            select (select max(build_id) from raw.builds) as build_id, usage_event_key
            from marts.usage_events where hash(usage_event_key) % 20 = 0;
            insert into raw.model_changes select max(build_id), 'usage_events', false from raw.builds;
            update intermediate.int_usage_events_attributed set event_name = event_name || '!'
            where hash(usage_event_key) % 20 = 0;
            """
        )


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
@pytest.mark.parametrize(("calls", "how"), FAULTS)
def test_publish_of_changes_on_a_failing_disk_leaves_the_old_file_or_the_new_one(
    shim: Path, world: World, tmp_path: Path, calls: str, how: dict[str, str], every: bool
) -> None:
    start, calm = tmp_path / "start", tmp_path / "calm"
    start.mkdir()
    for name in ("meterhouse.duckdb", "published.duckdb"):
        shutil.copy2(world.home / name, start / name)
    old = published_content(start)
    change_some_usage(start)
    shutil.copytree(start, calm)
    assert "1 of them changed" in meterhouse("publish", home=calm).stderr
    new = published_content(calm)
    assert old != new
    faults = Faults(shim, tmp_path, start, calls, how)
    for number in faults.numbers("publish", every=every):
        home, done = faults.run(number, "publish")
        assert_told(done)
        content = published_content(home)
        assert content in (old, new), number
        if done.returncode == 0:
            assert content == new, number
        if "The last file stays" in done.stderr:
            assert content == old, number
        meterhouse("publish", home=home)
        assert published_content(home) == new, number
        assert list(home.glob(".published*")) == [], number
        shutil.rmtree(home)


def test_publish_after_a_failed_one_is_new(shim: Path, world: World, tmp_path: Path) -> None:
    faults = Faults(shim, tmp_path, world.home, "write", FROM_THEN_ON)
    home, done = faults.run(20, "publish")
    assert done.returncode == 1
    before = (home / "published.duckdb").read_bytes()
    meterhouse("publish", home=home)
    assert (home / "published.duckdb").read_bytes() != before
