"""A file written by a process of its own holds what was sent, and that process sees nothing else."""

import os
import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loaders import publish as publishing
from loaders.errors import PublishError
from loaders.file_writer import INCOMING, FileWriter, WriterError
from loaders.publish import publish
from tests.loaders.test_publish_changes import Warehouse


@pytest.fixture
def source() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        "create table sent as select i, uuid() as key, (i / 7)::decimal(38, 12) as amount, "
        "['a', null, 'b' || i] as texts, timestamp '2026-01-01' + to_seconds(i) as happened_at, "
        "date '2026-01-01' as day, i % 3 = 0 as is_third, "
        "case when i % 5 > 0 then 'ä€\U0001f600' || i end as text, encode('b' || i) as bytes, hash(i) as hash, "
        "hash(i)::hugeint * 1000003 as huge, i / 3 as ratio from range(120000) as t(i)"
    )
    return connection


def test_rows_arrive_as_they_are_and_in_their_order(tmp_path: Path, source: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(f"{row[0]} {row[1]}" for row in source.execute("describe sent").fetchall())
    digest = "select count(*), sum(hash(t)) from sent as t"
    with FileWriter() as writer:
        writer.execute(f"attach '{tmp_path}/file.duckdb' as file; use file; create table sent ({columns})")
        writer.send(f"insert into sent from {INCOMING}", source, "from sent")
        writer.send(f"insert into sent from {INCOMING}", source, "from sent where i < ?", [0])
        assert writer.execute(digest) == source.execute(digest).fetchall()
        assert writer.execute("select ?, ?", ["a'b", None]) == [("a'b", None)]
    with duckdb.connect(str(tmp_path / "file.duckdb"), read_only=True) as file:
        assert file.execute("select count(*) from sent where rowid != i").fetchall() == [(0,)]
        assert file.execute("from sent").fetchall() == source.execute("from sent").fetchall()


def test_what_goes_wrong_there_is_said_here(tmp_path: Path, source: duckdb.DuckDBPyConnection) -> None:
    with FileWriter() as writer, pytest.raises(WriterError, match="nowhere does not exist"):
        writer.send(f"insert into nowhere from {INCOMING}", source, "from sent cross join range(30)")
    with FileWriter() as writer, pytest.raises(duckdb.Error, match="of ours"):
        writer.send(f"create table t as from {INCOMING}", source, "select error('of ours') from sent where i > 9")
    with FileWriter() as writer:
        os.kill(writer.pid, signal.SIGKILL)
        with pytest.raises(WriterError, match="exit code -9"):
            writer.execute("select 1")


def test_folder_of_the_users_is_not_taken_for_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "duckdb.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with FileWriter() as writer:
        assert writer.execute("select 1") == [(1,)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc to look at open files")
def test_what_writes_the_published_file_opens_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of what is not published would get into the file now and then; a file that is not open cannot give any."""
    warehouse = Warehouse(tmp_path / "home")
    checks: list[set[str]] = []
    check = publishing.check

    def look(connection: Any, writer: FileWriter, steps: Any) -> None:
        open_files = {os.readlink(path) for path in Path(f"/proc/{writer.pid}/fd").iterdir()}
        checks.append({Path(path).name.split(".duckdb")[0] for path in open_files if ".duckdb" in path})
        check(connection, writer, steps)

    monkeypatch.setattr(publishing, "check", look)
    assert publish(warehouse.home).changed_count is None
    warehouse.build(warehouse.touch(1))
    assert publish(warehouse.home).changed_count == 1
    assert checks == [{".published"}] * 2


def test_a_writer_that_is_killed_leaves_the_last_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(tmp_path / "home")
    warehouse.publish()
    last = warehouse.home.published_file.read_bytes()
    warehouse.build(warehouse.touch(1))

    def kill(connection: Any, writer: FileWriter, steps: Any) -> None:
        os.kill(writer.pid, signal.SIGKILL)
        writer.execute("select 1")

    with monkeypatch.context() as broken:
        broken.setattr(publishing, "check", kill)
        with pytest.raises(PublishError, match="The last file stays"):
            publish(warehouse.home)
    assert warehouse.home.published_file.read_bytes() == last
    assert warehouse.publish().changed_count == 1


def test_a_file_of_a_version_that_wrote_with_all_in_sight_is_written_anew(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "home")
    warehouse.publish()
    warehouse.do("update raw.publications set is_written_apart = null")
    assert warehouse.publish().changed_count is None
    assert warehouse.publish().changed_count == 0
