"""Runs that are killed at any moment and run again: nothing is lost, nothing is doubled, nothing half done is shown."""

import json
import shutil
from pathlib import Path

import pytest

from tests.loaders.main_job.conftest import AS_OF, Published, World, meterhouse
from tests.loaders.main_job.ends import (
    LANDED_AT,
    Killer,
    load_again,
    published_content,
    raw_content,
    replay_all,
    span_of,
)

pytestmark = pytest.mark.filterwarnings("error")

BUILD = ("build", "--as-of", AS_OF)


class Calm:
    """What undisturbed runs make of two of the world's organizations, and how long they work on it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.home = folder / "home"
        # Lines and documents, plain and packed, valid, broken, contradictory and without an organization.
        self.paths = (world.data / "org_b", write_more(folder / "more"), world.data / "org_c")
        self.load = ("load", "--landed-at", LANDED_AT.isoformat(), *self.paths)
        self.load_span = span_of(*self.load, home=self.home)
        replay_all(self.home, "org_lost")
        self.raw = raw_content(self.home)
        self.build_span = span_of(*BUILD, home=self.home)
        self.publish_span = span_of("publish", home=self.home)
        self.published = published_content(self.home)


def write_more(folder: Path) -> Path:
    """A contradiction that comes twice, and records that only a replay lands."""
    event = {"name": "call", "external_customer_id": "c", "timestamp": "2026-01-01T00:00:00Z"}
    said = [{**event, "external_id": "same", "organization_id": "org_lost", "name": name} for name in ("a", "b", "b")]
    folder.mkdir()
    for name, lines in {"first": said, "again": said, "lost": [said[0], event, event]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def calm(world: World, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    return Calm(world, tmp_path_factory.mktemp("calm"))


@pytest.mark.parametrize("count", [12, pytest.param(400, marks=pytest.mark.slow)])
def test_killed_load_run_again_equals_an_undisturbed_one(calm: Calm, tmp_path: Path, count: int) -> None:
    assert any(name.suffix == ".gz" for path in calm.paths for name in path.rglob("*"))
    killer = Killer(1, calm.load_span, count)
    for number, part in enumerate(killer):
        home = tmp_path / str(number)
        killer.kill(part, *calm.load, home=home)
        load_again(home, *calm.paths)
        replay_all(home, "org_lost")
        assert raw_content(home) == calm.raw, f"killed at {part:.3f} of the load"
        shutil.rmtree(home)
    assert killer.hits >= count // 2


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_replay_run_again_equals_an_undisturbed_one(calm: Calm, tmp_path: Path, count: int) -> None:
    loaded = tmp_path / "loaded"
    load_again(loaded, *calm.paths)
    replay = ("quarantine", "replay", "--organization-id", "org_lost")
    shutil.copytree(loaded, tmp_path / "timed")
    killer = Killer(5, span_of(*replay, home=tmp_path / "timed"), count)
    for number, part in enumerate(killer):
        home = tmp_path / str(number)
        shutil.copytree(loaded, home)
        killer.kill(part, *replay, home=home)
        meterhouse(*replay, home=home)
        assert raw_content(home) == calm.raw, f"killed at {part:.3f} of the replay"
        shutil.rmtree(home)
    assert killer.hits >= count // 2


def build_state(home: Path) -> str:
    state: str = Published(home / "meterhouse.duckdb").rows(
        "select coalesce(max_by(case when finished_at is null then 'ended by force' when succeeded and is_complete "
        "then 'passed' else 'failed' end, build_id), 'none') as state from raw.builds"
    )[0]["state"]
    return state


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_build_is_not_published_and_built_again_equals_an_undisturbed_one(
    calm: Calm, tmp_path: Path, count: int
) -> None:
    home = tmp_path / "home"
    Killer(2, calm.load_span, 1).kill(0.5, *calm.load, home=home)
    load_again(home, *calm.paths)
    replay_all(home, "org_lost")
    killer = Killer(3, calm.build_span, count)
    for part in killer:
        if not killer.kill(part, *BUILD, home=home):
            continue
        state = build_state(home)
        refused = {
            "none": "there is no build to publish",
            "ended by force": "the last build did not end: its tables may be from two builds.",
        }
        if state in refused:
            assert meterhouse("publish", home=home, expect=1).stderr.startswith(f"error: {refused[state]}")
            assert not (home / "published.duckdb").exists()
        assert raw_content(home) == calm.raw, f"killed at {part:.3f} of the build"
    assert killer.hits >= count // 2
    meterhouse(*BUILD, home=home)
    meterhouse("publish", home=home)
    assert published_content(home) == calm.published


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_publish_leaves_a_whole_file_and_the_next_one_no_leftovers(
    calm: Calm, tmp_path: Path, count: int
) -> None:
    home = tmp_path / "home"
    shutil.copytree(calm.home, home)
    names = {path.name for path in home.iterdir()}
    killer = Killer(4, calm.publish_span, count)
    for part in killer:
        killer.kill(part, "publish", home=home)
        assert published_content(home) == calm.published, f"killed at {part:.3f} of the publish"
    assert killer.hits >= count // 2
    (home / ".published.duckdb.1.tmp").write_bytes(b"left by a killed run")
    (home / ".published.duckdb.1.tmp.wal").write_bytes(b"left by a killed run")
    meterhouse("publish", home=home)
    assert {path.name for path in home.iterdir()} == names
    assert published_content(home) == calm.published
