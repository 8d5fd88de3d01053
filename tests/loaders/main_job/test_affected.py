"""`meterhouse run` leaves out what cannot have changed, and its tables are those of a build of everything."""

import re
import shutil
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from loaders.affected import affected_nodes, stands_on_tested_build
from loaders.warehouse import Home
from tests.loaders.main_job.conftest import AS_OF, World, meterhouse
from tests.loaders.main_job.test_increments import Dbt, dbt, differences  # noqa: F401

LEFT_OUT = {
    "submitted usage": "org_b/events/submitted-2026-05.json",
    "recorded usage and system events": "org_a/events/export-2026-05.jsonl.gz",
    "orders": "org_a/orders/2026-05.jsonl",
    "a meter": "org_c/meters/meter_2.json",
}
BEFORE = "2026-05-04T00:00:00Z"
# None of the new records reaches these.
KEPT = {
    "submitted usage": ["orders", "stg_polar__system_events", "stg_polar__orders", "conflicting_records"],
    "recorded usage and system events": ["stg_polar__orders", "products", "conflicting_records"],
    "orders": ["stg_polar__system_events", "stg_polar__usage_events", "conflicting_records"],
    "a meter": ["stg_polar__system_events", "stg_polar__usage_events", "conflicting_records"],
    "a refused record": ["orders", "usage_events", "billing_outcomes", "conflicting_records"],
    "only as_of": ["usage_events", "stg_polar__orders", "quarantined_records", "loads"],
}


@pytest.fixture(scope="module")
def begun(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with all of the world built but some files, a week before."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copytree(world.data, folder / "data")
    for name in LEFT_OUT.values():
        (folder / "data" / name).unlink()
    meterhouse("run", folder / "data", "--as-of", BEFORE, home=folder / "home")
    return folder / "home"


def models_built(home: Path) -> set[str]:
    """The models that the log in the home folder names."""
    log = (home / "logs" / "dbt.log").read_text()
    return set(re.findall(r"OK created .* model \w+\.(\w+)", log))


# Records of other kinds take the same way; the sequences of test_increments deal them too.
SLOW = ("recorded usage and system events", "orders", "a refused record")


@pytest.mark.parametrize(
    "news", [pytest.param(news, marks=[pytest.mark.slow] if news in SLOW else []) for news in KEPT]
)
def test_run_after_some_news_gives_the_tables_of_a_build_of_everything(
    world: World,
    begun: Path,
    tmp_path: Path,
    dbt: Dbt,  # noqa: F811
    news: str,
) -> None:
    home = tmp_path / "home"
    shutil.copytree(begun, home)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("no record\n")
    path = {"a refused record": [broken], "only as_of": []}.get(news)
    as_of = AS_OF if news == "only as_of" else BEFORE
    paths = [world.data / LEFT_OUT[news]] if path is None else path
    (home / "logs" / "dbt.log").unlink()

    run = meterhouse("run", *paths, "--as-of", as_of, home=home)

    built = models_built(home)
    assert "models are as they were" in run.stderr
    assert "Published" in run.stderr
    assert built
    assert built.isdisjoint(KEPT[news])
    shutil.copytree(home, tmp_path / "other")
    dbt(tmp_path / "other", as_of.removesuffix("Z"), "run", "--full-refresh")
    assert differences(home, tmp_path / "other") == {}


@pytest.mark.parametrize("sql", ["succeeded = false", "is_complete = false", "project = 'another'"])
def test_a_build_that_cannot_be_trusted_is_no_ground_for_the_next(begun: Path, tmp_path: Path, sql: str) -> None:
    home = Home(shutil.copytree(begun, tmp_path / "home"))
    assert stands_on_tested_build(home)
    with duckdb.connect(str(home.work_file)) as work:
        work.execute(f"update raw.builds set {sql}")
    assert not stands_on_tested_build(home)
    assert affected_nodes(home, {}, datetime.fromisoformat(BEFORE).replace(tzinfo=None)) is None


def test_everything_is_built_where_the_last_build_is_no_ground_to_stand_on(begun: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(begun, home)
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        work.execute("update raw.builds set is_complete = false")
    assert "as they were" not in meterhouse("run", "--as-of", BEFORE, home=home).stderr


def test_selection_of_a_user_stays_a_partial_build(begun: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(begun, home)
    meterhouse("build", "--select", "loads", "--as-of", BEFORE, home=home)
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        assert work.execute(
            "select is_complete, succeeded from raw.builds order by build_id desc limit 1"
        ).fetchone() == (
            False,
            True,
        )
    meterhouse("publish", home=home, expect=1)
