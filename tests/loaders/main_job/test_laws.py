"""What must hold however records arrive: the order and the split of files change no published table.

One of the two homes was empty before, the other had been built without records.
"""

import random
from pathlib import Path

import duckdb
import pytest

from tests.loaders.main_job.conftest import AS_OF, Published, World, begun_home, lines_of, meterhouse

# What law 2 excepts: when and where a record landed.
PLACES = ("landed_at", "load_id", "file_number", "record_number", "root_load_id")


def without_conflicts(world: World) -> dict[str, set[int]]:
    """Lines to leave out, by file: which of two conflicting contents came first is excepted from the law."""
    with duckdb.connect(str(world.home / "meterhouse.duckdb"), read_only=True) as work:
        rows = work.execute(
            "select l.file_name, c.record_number from raw.conflicts as c "
            "join raw.loads as l on c.load_id = l.load_id and c.file_number = l.file_number"
        ).fetchall()
    places: dict[str, set[int]] = {}
    for name, number in rows:
        places.setdefault(name, set()).add(number)
    return places


def scattered(world: World, folder: Path, seed: int) -> Path:
    """The same records in other files and another order. Files of a kind stay apart: a name is a hint."""
    chosen = random.Random(seed)
    conflicts = without_conflicts(world)
    by_folder: dict[str, list[bytes]] = {}
    for path in sorted(path for path in world.data.rglob("*") if path.is_file()):
        relative = path.relative_to(world.data)
        kind = relative.parts[1].split(".")[0]
        if path.name == "broken.jsonl":
            continue
        lines = lines_of(path)
        kept = [line for number, line in enumerate(lines, 1) if number not in conflicts.get(str(path), set())]
        by_folder.setdefault(f"{kind}/{relative.parts[0]}", []).extend(kept)
    for name, lines in by_folder.items():
        chosen.shuffle(lines)
        cut = chosen.randrange(len(lines) + 1)
        for part, some in enumerate((lines[cut:], lines[:cut])):
            target = folder / f"{chosen.randrange(1000):03}-{part}" / name
            target.mkdir(parents=True)
            (target / "records.jsonl").write_bytes(b"\n".join(some) + b"\n")
    return folder


@pytest.fixture(scope="module")
def one_order(world: World, tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("order")
    return published_from(world, folder, begun_home(folder / "home"), seed=1)


def published_from(world: World, folder: Path, home: Path, seed: int) -> Published:
    meterhouse("run", scattered(world, folder / "data", seed), "--as-of", AS_OF, home=home)
    return Published(home / "published.duckdb")


@pytest.mark.parametrize("seed", [2])
def test_other_order_and_split_give_the_same_tables(
    world: World, one_order: Published, tmp_path: Path, seed: int
) -> None:
    another = published_from(world, tmp_path, tmp_path / "home", seed)
    for table in one_order.tables():
        if table in ("publication", "loads", "quarantined_records", "conflicting_records"):
            continue
        columns = [row["column_name"] for row in one_order.rows(f"describe {table}")]
        kept = ", ".join(f'"{name}"' for name in columns if name not in PLACES)
        sql = f"select {kept} from {table} order by all"
        assert one_order.rows(sql) == another.rows(sql), table
