"""An incremental build equals a full refresh, row for row, after whatever came in whatever order."""

import random
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loaders import dbt_plugin
from tests.loaders.main_job.conftest import ROOT, World, lines_of, meterhouse

SEEDS_OF_TEST, SEEDS_OF_TEST_SLOW = 3, 50
# Each step lands more and judges later; the last one lands nothing.
STEPS = ("2026-02-10T00:00:00", "2026-03-31T23:00:00", "2026-05-01T00:00:00", "2026-05-10T00:00:00")


class Dbt:
    """dbt in this process: the project is parsed once for all builds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from dbt.cli.main import dbtRunner

        self._folder = folder
        self._environment = monkeypatch
        self._runner = dbtRunner

        self._manifest: Any = None

    def __call__(self, home: Path, as_of: str, *arguments: str) -> None:
        self._environment.setenv("METERHOUSE_HOME", str(home))
        self._environment.setenv("METERHOUSE_AS_OF", as_of)
        folders = ["--project-dir", str(ROOT), "--profiles-dir", str(ROOT)]
        folders += ["--target-path", str(self._folder / "target"), "--log-path", str(self._folder / "logs")]
        quiet = ["--quiet", "--log-level", "none", "--log-level-file", "none", "--no-write-json"]
        try:
            if self._manifest is None:
                self._manifest = self._runner().invoke(["parse", *quiet, *folders]).result
            outcome = self._runner(manifest=self._manifest).invoke([*arguments, *quiet, *folders])
        finally:
            dbt_plugin.close_all()
        assert outcome.success, outcome.exception or [
            (result.node.name, result.message) for result in outcome.result if result.status == "error"
        ]


@pytest.fixture
def dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dbt:
    return Dbt(tmp_path, monkeypatch)


def deal(world: World, folder: Path, seed: int) -> list[Path]:
    """The world's records, shuffled over the steps: late, repeated, children before parents, usage before customers.

    What came is sometimes repeated in a later step. Files of a kind stay apart: a name is a hint.
    """
    chance = random.Random(seed)
    steps = [folder / f"step-{number}" for number in range(len(STEPS) - 1)]
    for path in sorted(path for path in world.data.rglob("*") if path.is_file()):
        relative = path.relative_to(world.data)
        hands: list[list[bytes]] = [[] for _ in steps]
        late = chance.random()
        for line in lines_of(path):
            first = 0 if chance.random() < late else chance.randrange(len(steps))
            hands[first].append(line)
            if chance.random() < 0.05:
                hands[chance.randrange(first, len(steps))].append(line)
        for step, lines in zip(steps, hands, strict=True):
            if lines:
                chance.shuffle(lines)
                target = step / relative.parts[1].split(".")[0] / f"{relative.parts[0]}-{path.name.split('.')[0]}"
                target.mkdir(parents=True)
                (target / "records.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return steps


def differences(one: Path, other: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the marts that are in one work file and not in the other, some of each table."""
    found = {}
    with duckdb.connect() as connection:
        for name, home in (("one", one), ("other", other)):
            connection.execute(f"attach '{home / 'meterhouse.duckdb'}' as {name} (read_only)")
        tables = connection.execute(
            "select database_name, table_name from duckdb_tables() where schema_name = 'marts' order by all"
        ).fetchall()
        assert {name for base, name in tables if base == "one"} == {name for base, name in tables if base == "other"}
        for table in sorted({name for _, name in tables}):
            columns = connection.execute(f"select column_name from (describe one.marts.{table}) order by 1").fetchall()
            listed = ", ".join(f'"{column}"' for (column,) in columns)
            sides = [f"select {listed} from {base}.marts.{table}" for base in ("one", "other")]
            rows = connection.execute(
                f"(select 'incremental', * from ({sides[0]} except all {sides[1]}) limit 3) union all "
                f"(select 'full refresh', * from ({sides[1]} except all {sides[0]}) limit 3)"
            ).fetchall()
            if rows:
                found[table] = rows
    return found


def check_sequence(world: World, folder: Path, dbt: Dbt, seed: int) -> None:
    home, other = folder / "home", folder / "other"
    steps: list[Path | None] = [*deal(world, folder, seed), None]
    for number, (step, as_of) in enumerate(zip(steps, STEPS, strict=True)):
        if step is not None:
            landed_at = datetime(2026, 6, 1 + number).isoformat() + "Z"
            meterhouse("load", step, "--landed-at", landed_at, home=home)
        if number == 0:
            dbt(home, as_of, "seed")
        dbt(home, as_of, "run")
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(home, other)
        dbt(other, as_of, "run", "--full-refresh")
        assert differences(home, other) == {}, (seed, number)


@pytest.mark.parametrize("seed", range(SEEDS_OF_TEST))
def test_incremental_build_equals_a_full_refresh(world: World, tmp_path: Path, dbt: Dbt, seed: int) -> None:
    check_sequence(world, tmp_path, dbt, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS_OF_TEST, SEEDS_OF_TEST_SLOW))
def test_incremental_build_equals_a_full_refresh_slow(world: World, tmp_path: Path, dbt: Dbt, seed: int) -> None:
    check_sequence(world, tmp_path, dbt, seed)


def test_changed_definition_builds_an_incremental_model_anew(world: World, tmp_path: Path, dbt: Dbt) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    counts = "select count(*) from staging.stg_polar__usage_events"
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        (whole,) = work.execute(counts).fetchone() or (0,)
        work.execute("delete from staging.stg_polar__usage_events where record_number > 10")
    dbt(home, STEPS[-1], "run", "--select", "stg_polar__usage_events")
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        (kept,) = work.execute(counts).fetchone() or (0,)
        work.execute("update raw.increments set definition = 'another'")
    assert kept < whole
    dbt(home, STEPS[-1], "run", "--select", "stg_polar__usage_events")
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        assert work.execute(counts).fetchone() == (whole,)
