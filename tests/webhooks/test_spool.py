"""Segments on disk: torn, damaged, taken by a run while they are written, landed and removed."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loaders import landing
from loaders.errors import HomeError, LockedError
from loaders.landing import FileSummary, LoadOptions, land_files, land_spool
from loaders.sources import spool as spool_module
from loaders.sources.spool import Delivery, SegmentWriter, Spool, decode_segment, encode_delivery
from loaders.warehouse import Home, open_work_file
from tests.webhooks.receiving import order_paid, spooled

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def delivery(number: int, body: bytes | None = None) -> Delivery:
    return Delivery(f"msg_{number}", order_paid(number) if body is None else body, AT)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "home")
    spool.ensure()
    return spool


def land(home: Path, organization_id: str | None = None) -> list[FileSummary]:
    with open_work_file(Home(home)) as connection:
        options = LoadOptions(clock=lambda: AT, organization_id=organization_id)
        return land_spool(connection, Home(home), options)[0].files


def rows(home: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_work_file(Home(home)) as connection:
        return connection.execute(sql).fetchall()


def keep(spool: Spool, *deliveries: Delivery) -> None:
    writer = SegmentWriter(spool)
    writer.append(list(deliveries))
    writer.close()


def test_record_torn_anywhere_is_ignored_and_those_before_it_are_not() -> None:
    whole = encode_delivery(delivery(1))
    torn = encode_delivery(delivery(2))
    for cut in range(len(torn)):
        deliveries, damaged = decode_segment(whole + torn[:cut])
        assert ([found.webhook_id for found in deliveries], damaged) == (["msg_1"], 0)


def test_broken_byte_costs_its_own_record_and_is_counted() -> None:
    parts = [encode_delivery(delivery(number)) for number in range(3)]
    chance = random.Random(7)
    for _ in range(200):
        middle = bytearray(parts[1])
        middle[chance.randrange(len(middle))] ^= 1 << chance.randrange(8)
        deliveries, damaged = decode_segment(parts[0] + bytes(middle) + parts[2])
        assert [found.webhook_id for found in deliveries] == ["msg_0", "msg_2"]
        assert damaged == len(parts[1])


def test_run_takes_the_open_segment_and_the_receiver_goes_on_in_another(spool: Spool) -> None:
    writer = SegmentWriter(spool)
    writer.append([delivery(1)])
    assert [file.landed for file in land(spool.folder.parent)] == [1]
    writer.append([delivery(2)])
    assert [found.webhook_id for found in spooled(spool.folder.parent)] == ["msg_2"]
    writer.close()
    assert [file.landed for file in land(spool.folder.parent)] == [1]
    names = rows(spool.folder.parent, "select source, kind, file_name from raw.loads order by load_id")
    assert [name[:2] for name in names] == [("webhooks", "webhooks")] * 2
    assert all(name[2].startswith("webhooks/2") for name in names)


def test_segments_are_sealed_by_size_and_by_age(spool: Spool) -> None:
    now = AT
    writer = SegmentWriter(spool, clock=lambda: now, byte_limit=1000, age_limit_seconds=60)
    for number in range(4):
        writer.append([delivery(number)])
    assert len(list(spool.folder.glob("*.segment"))) == 1
    now += timedelta(seconds=61)
    writer.seal_when_due()
    assert not list(spool.folder.glob("*.open"))
    assert len(spooled(spool.folder.parent)) == 4


def test_write_in_part_is_taken_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(spool)
    writer.append([delivery(1)])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(spool_module.os, "fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            writer.append([delivery(2)])
    writer.append([delivery(3)])
    writer.close()
    assert [found.webhook_id for found in spooled(spool.folder.parent)] == ["msg_1", "msg_3"]


@pytest.mark.parametrize("organization_id", [None, "org_other"])
def test_kill_between_ledger_and_removal_lands_nothing_twice(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, organization_id: str | None
) -> None:
    """The next run may even be told another organization: a segment is known by its name."""
    keep(spool, delivery(1), delivery(2, b"no json"), delivery(3, b" "))
    home = spool.folder.parent

    def killed(*_: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            land(home)
    assert len(spooled(home)) == 3
    (again,) = land(home, organization_id)
    assert (again.skipped, spooled(home)) == (True, [])
    assert rows(home, "select count(*) from raw.resources") == [(1,)]
    assert rows(home, "select count(*) from raw.quarantine") == [(1,)]
    assert rows(home, "select records, landed, quarantined, blank from raw.loads") == [(2, 1, 1, 1)]


def test_segment_stays_where_its_ledger_row_cannot_be_read_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(spool, delivery(1))

    def refuse(self: Any, *_: Any) -> None:
        self._connection.execute("rollback")
        raise HomeError("was not committed")

    with monkeypatch.context() as patched:
        patched.setattr(landing._FileLanding, "_commit", refuse)
        with pytest.raises(HomeError):
            land(spool.folder.parent)
    assert len(spooled(spool.folder.parent)) == 1
    assert [file.landed for file in land(spool.folder.parent)] == [1]


def test_damaged_segment_lands_what_is_whole_and_is_kept_aside(spool: Spool) -> None:
    keep(spool, *(delivery(number) for number in range(3)))
    (segment,) = spool.folder.glob("*.segment")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    with open_work_file(Home(spool.folder.parent)) as connection:
        summary, damaged = land_spool(connection, Home(spool.folder.parent), LoadOptions())
    assert [file.landed for file in summary.files] == [2]
    assert damaged == summary.files
    assert [path.name for path in spool.folder.glob("2*")] == [f"{segment.stem}.damaged"]
    assert land(spool.folder.parent) == []


def test_remembered_ids_are_bounded_and_survive_half_a_write(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEEN_PER_GENERATION", 5)
    for first in range(0, 30, 5):
        keep(spool, *(delivery(number) for number in range(first, first + 5)))
        (segment,) = spool.seal_all()
        spool.remove(segment)
        with (spool.folder / "seen").open("ab") as file:
            file.write(b"half")
    known = spool.known_digests(100)
    assert known[-5:] == [spool_module.digest_of(f"msg_{number}") for number in range(25, 30)]
    assert len(known) == 10


def test_two_receivers_of_one_home_are_refused(spool: Spool) -> None:
    with spool.receiving(), pytest.raises(LockedError), spool.receiving():
        pass
    with spool.receiving():
        pass


def test_spool_lands_the_same_tables_as_the_same_bodies_from_files(spool: Spool, tmp_path: Path) -> None:
    fixtures = Path(__file__).parents[1] / "loaders" / "fixtures"
    bodies = (fixtures / "valid" / "webhooks.jsonl").read_bytes().splitlines()
    bodies += [
        order_paid(1),
        order_paid(1),
        order_paid(1, modified_at="2026-01-04T00:00:00Z"),
        b"[1",
        b"{}",
        b'{"a": NaN}',
    ]
    bodies += [
        json.dumps({"type": "no.such", "timestamp": "2026-01-01T00:00:00Z", "data": {"organization_id": "o"}}).encode()
    ]
    bodies += [b'{"type": "order.paid", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "x"}}']
    event = {"name": "call", "external_customer_id": "c", "organization_id": "org_1"}
    bodies += [json.dumps({**event, "timestamp": f"2026-01-01T00:00:0{n}Z"}).encode() for n in range(5)]
    keep(spool, *(delivery(number, body) for number, body in enumerate(bodies)))
    (from_spool,) = land(spool.folder.parent)
    file = tmp_path / "bodies.jsonl"
    file.write_bytes(b"\n".join(bodies))
    with open_work_file(Home(tmp_path / "files")) as connection:
        options = LoadOptions(clock=lambda: AT, kind="webhooks")
        (from_file,) = land_files(connection, Home(tmp_path / "files"), [str(file)], options).files
    names = ("records", "landed", "duplicate", "conflict", "quarantined", "blank", "reasons")
    assert [getattr(from_spool, name) for name in names] == [getattr(from_file, name) for name in names]
    assert from_spool.landed > 5
    assert from_spool.quarantined > 3
    for table in ("events", "event_rereads", "resources", "conflicts", "quarantine"):
        sql = f"select * exclude (byte_offset) from raw.{table} order by record_number"
        assert rows(spool.folder.parent, sql) == rows(tmp_path / "files", sql), table
