"""What becomes of records: landed once, counted in exactly one way, kept with their place, whole after any end."""

import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import FIXTURES, NOW, Landing, conformance_cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.errors import HomeError
from loaders.landing import FileSummary, LoadOptions, Origin, _FileLanding
from loaders.privacy import Guard
from loaders.warehouse import Home, open_work_file

pytestmark = pytest.mark.filterwarnings("error")

Maker = Callable[..., dict[str, Any]]


def counts(file: FileSummary) -> tuple[int, int, int, int]:
    assert file.records == file.landed + file.duplicate + file.conflict + file.quarantined
    return file.landed, file.duplicate, file.conflict, file.quarantined


@pytest.mark.parametrize("case", conformance_cases("dedup"))
def test_submissions_are_deduplicated_as_polar_does(case: dict[str, Any], landing: Landing) -> None:
    for number, (batch, response) in enumerate(
        zip(case["input"]["batches"], case["expected"]["responses"], strict=True)
    ):
        lines = [{**event, "organization_id": event.get("organization", "org_1")} for event in batch]
        landed, duplicate, conflict, quarantined = counts(landing.land_lines(f"{number}.jsonl", lines))
        assert (landed, duplicate + conflict, quarantined) == (response["inserted"], response["duplicates"], 0)

    tags = [
        json.loads(payload)["tag"] for (payload,) in landing.rows("select payload from raw.events order by load_id")
    ]
    assert sorted(tags) == sorted(case["expected"]["stored_tags"])


def test_5_bad_lines_among_1000_stop_none_of_the_995(landing: Landing, submitted: Maker) -> None:
    lines: list[Any] = [submitted(external_id=str(number)) for number in range(1000)]
    bad = {
        17: (b"{torn", "invalid_json"),
        100: (b'{"name":"\xff"}', "invalid_utf8"),
        500: (b'{"name":"e","organization_id":"o"}', "missing_field"),
        998: (b"7", "not_an_object"),
        1000: (b'{"name":"e","external_customer_id":"c","metadata":{"k":1e999}}', "number_out_of_range"),
    }
    for number, (line, _) in bad.items():
        lines[number - 1] = line

    assert counts(landing.land_lines("x.jsonl", lines)) == (995, 0, 0, 5)
    stored = landing.rows("select record_number, reason_code, payload, sha256, status from raw.quarantine order by 1")
    assert stored == [
        (number, reason, line, hashlib.sha256(line).hexdigest(), "open") for number, (line, reason) in bad.items()
    ]
    assert landing.rows("select count(*), count(distinct record_number) from raw.events") == [(995, 995)]


@pytest.mark.parametrize("path", sorted((FIXTURES / "invalid").glob("*.jsonl")), ids=lambda path: path.stem)
def test_quarantined_bytes_are_those_of_the_file(path: Path, landing: Landing) -> None:
    content = path.read_bytes()
    file = landing.land_one(path)

    assert file.reasons == {path.stem: file.records}
    for offset, payload, sha256 in landing.rows("select byte_offset, payload, sha256 from raw.quarantine"):
        assert content[offset : offset + len(payload)] == payload
        assert hashlib.sha256(payload).hexdigest() == sha256


@pytest.mark.parametrize("path", sorted((FIXTURES / "valid").iterdir()), ids=lambda path: path.stem)
def test_valid_file_lands_whole_and_again_not_at_all(path: Path, landing: Landing) -> None:
    first = landing.land_one(path)
    again = landing.land_one(path)

    assert first.landed == first.records > 0
    assert again == FileSummary(path=str(path), skipped=True)
    assert landing.rows("select count(*) from raw.loads") == [(1,)]


def test_same_file_under_another_option_is_read_again(landing: Landing, submitted: Maker) -> None:
    path = landing.write("x.jsonl", [submitted(external_id="1")])
    landing.land(path)

    assert landing.land_one(path, organization_id="org_2").duplicate == 1
    assert landing.land_one(path, kind="events").duplicate == 1
    assert landing.land_one(path, kind="events").skipped


def test_same_records_in_another_order_form_and_split_are_duplicates(
    landing: Landing, submitted: Maker, recorded: Maker
) -> None:
    records = [submitted(external_id=str(n)) for n in range(20)] + [recorded(id=f"e_{n}") for n in range(20)]
    records += [submitted(timestamp=f"2026-01-{n:02d}T00:00:00Z") for n in range(1, 11)]
    assert landing.land_lines("a.jsonl", records).landed == 50
    stored = landing.rows("select record_key, payload from raw.events order by all")
    random.Random(1).shuffle(records)

    assert counts(landing.land_lines("b.jsonl.gz", [{"events": records[:25]}])) == (0, 25, 0, 0)
    respelled = json.dumps(records[25:], indent=1, sort_keys=True).encode()
    assert counts(landing.land_lines("c.json", [respelled])) == (0, 25, 0, 0)
    assert landing.rows("select record_key, payload from raw.events order by all") == stored
    assert landing.rows("select count(*) from raw.event_rereads") == [(0,)]


def test_keyless_submissions_count_by_occurrence_and_without_timestamp_by_place(
    landing: Landing, submitted: Maker
) -> None:
    timed = submitted(timestamp="2026-01-01T00:00:00Z", metadata={"a": 1, "b": 2})
    same = submitted(timestamp="2026-01-01T01:00:00+01:00", metadata={"b": 2.0, "a": 1})
    untimed = submitted()

    assert landing.land_lines("a.jsonl", [timed, same, untimed, untimed]).landed == 4
    assert counts(landing.land_lines("b.jsonl", [same, timed, timed, untimed])) == (2, 2, 0, 0)


def test_conflict_keeps_the_first_and_stores_each_later_content_once(landing: Landing, submitted: Maker) -> None:
    first, second, third = (submitted(external_id="x", metadata={"units": units}) for units in (1, 2, 3))

    assert counts(landing.land_lines("a.jsonl", [first, second, second, third])) == (1, 0, 3, 0)
    assert counts(landing.land_lines("b.jsonl", [third, first])) == (0, 1, 1, 0)
    assert landing.rows("select payload from raw.events") == [(json.dumps(first),)]
    conflicts = landing.rows(
        "select record_number, first_load_id, payload, first_content_hash != later_content_hash from raw.conflicts"
    )
    assert sorted(conflicts) == [(2, 1, json.dumps(second), True), (4, 1, json.dumps(third), True)]


def test_later_read_of_an_event_adds_what_is_new_in_it_once(landing: Landing, recorded: Maker) -> None:
    plain = recorded(customer=None, child_count=0)
    with_customer = recorded(customer={"id": "c_1", "organization_id": "org_1"}, child_count=0)
    with_parent = recorded(customer={"id": "c_1", "organization_id": "org_1"}, child_count=0, parent_id="p_1")

    assert counts(landing.land_lines("a.jsonl", [plain, with_customer])) == (1, 1, 0, 0)
    assert counts(landing.land_lines("b.jsonl", [with_parent, with_customer, plain])) == (0, 3, 0, 0)
    rereads = [payload for (payload,) in landing.rows("select payload from raw.event_rereads order by load_id")]
    assert rereads == [json.dumps(with_customer), json.dumps(with_parent)]


def test_other_content_of_a_resource_is_a_new_version(landing: Landing) -> None:
    order = {"id": "o", "billing_reason": "purchase", "currency": "usd", "organization_id": "org_1"}
    old = {**order, "created_at": "2026-01-01T00:00:00Z", "modified_at": None, "total_amount": 5}
    new = {**old, "modified_at": "2026-01-02T02:00:00+02:00", "total_amount": 6}

    assert counts(landing.land_lines("a.jsonl", [old, new, old, dict(reversed(new.items()))])) == (2, 2, 0, 0)
    delivery = {"type": "order.updated", "timestamp": "2026-01-03T00:00:00Z", "data": new}
    assert counts(landing.land_lines("b.jsonl", [delivery, {**old, "organization_id": "org_2"}])) == (1, 1, 0, 0)
    assert landing.rows("select modified_at from raw.resources order by load_id, record_number") == [
        (None,),
        (datetime(2026, 1, 2),),
        (None,),
    ]


def test_quarantined_bytes_that_land_later_are_replayed(landing: Landing, submitted: Maker) -> None:
    event = submitted(external_id="x", organization_id=None)
    path = landing.write("a.jsonl", [event, b"{never", event])
    assert counts(landing.land_one(path)) == (0, 0, 0, 3)

    assert counts(landing.land_one(path, organization_id="org_1")) == (1, 1, 0, 1)
    states = "select load_id, record_number, status, replayed_load_id from raw.quarantine order by all"
    assert landing.rows(states) == [
        (1, 1, "replayed", 2),
        (1, 2, "open", None),
        (1, 3, "replayed", 2),
        (2, 2, "open", None),
    ]


def test_rows_name_their_place_and_times(landing: Landing, submitted: Maker) -> None:
    landed_at = datetime(2026, 2, 1, tzinfo=UTC)
    first = landing.write("a.jsonl", [submitted(external_id="1")])
    second = landing.write("b.jsonl", [submitted(external_id="2"), b"", submitted(external_id="3")])
    landing.land(first, second, landed_at=landed_at)
    landing.land(landing.write("c.jsonl", [submitted(external_id="4")]))

    rows = landing.rows(
        "select load_id, file_number, record_number, landed_at, source, shape from raw.events order by all"
    )
    early, now = datetime(2026, 2, 1), datetime(2026, 6, 1, 12)
    assert [row[:4] for row in rows] == [(1, 1, 1, early), (1, 2, 1, early), (1, 2, 2, early), (2, 1, 1, now)]
    assert {row[4:] for row in rows} == {("user", "submitted")}
    ledger = (
        "select load_id, file_number, file_name, records, blank, started_at, source, kind from raw.loads order by all"
    )
    assert landing.rows(ledger)[1] == (1, 2, str(second), 2, 1, now, "files", "auto")


def test_commit_that_says_ok_and_writes_nothing_is_noticed(landing: Landing) -> None:
    with open_work_file(landing.home) as connection:
        origin = Origin(source="files", name="a.jsonl")
        file = _FileLanding(connection, landing.home, origin, 1, 1, LoadOptions(), NOW, Guard(connection))
        connection.execute("begin")
        connection.execute("insert into raw.increments values ('a', 'b', 1)")
        with pytest.raises(duckdb.Error):
            connection.execute("select * from nothing")

        with pytest.raises(HomeError, match=r"a\.jsonl was not committed"):
            file._commit()


def test_full_disk_is_named_and_mended_by_running_again(landing: Landing, submitted: Maker, recorded: Maker) -> None:
    inbox = write_inbox(landing.folder / "inbox", submitted, recorded)
    assert start_load(landing.folder / "calm", inbox).wait() == 0
    home = landing.folder / "full"
    command = [sys.executable, "-m", "loaders.cli", "load", "--home", str(home), str(inbox)]
    limit = 2_500_000
    full = subprocess.run(
        ["sh", "-c", f'ulimit -f {limit // 512}; exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
    )

    assert full.returncode == 1, full.stderr
    assert full.stderr.startswith(f"error: {home}/meterhouse.duckdb: "), full.stderr
    assert full.stderr.endswith("run the same command again.\n")
    assert start_load(home, inbox).wait() == 0
    assert contents_of(Home(home)) == contents_of(Home(landing.folder / "calm"))


GOOD = ["event", "recorded", "order", "repeat"]
BAD = [b"{torn", b'{"name":"\xff"}', b"7", b'{"hello":"world"}', b'{"name":"e"}', b'{"a":NaN}', b'"\\u0000"']


def draw_line(kind: str, number: int) -> dict[str, Any]:
    common = {"organization_id": "org_1", "external_customer_id": "c"}
    return {
        "event": {"name": "e", "external_id": str(number), **common},
        "recorded": {"id": str(number), "source": "user", "name": "e", "timestamp": "2026-01-01T00:00:00Z", **common},
        "order": {"id": str(number), "billing_reason": "x", "currency": "usd", "created_at": "2026-01-01", **common},
        "repeat": {"name": str(number), "external_id": "same", **common},
    }[kind]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([*GOOD, *BAD, b"", b"  \r"]), max_size=30),
    st.sampled_from(["lines", "array", "envelope", "groups"]),
    st.booleans(),
)
def test_counts_add_up_for_any_mixture(kinds: list[Any], form: str, packed: bool) -> None:
    lines = [
        kind if isinstance(kind, bytes) else json.dumps(draw_line(kind, n)).encode() for n, kind in enumerate(kinds)
    ]
    records = [line for line in lines if line.strip()]
    structural = [line for line in records if line not in (b"{torn",)]
    contents = {
        "lines": b"\n".join(lines),
        "array": b"[" + b",".join(structural) + b"]",
        "envelope": b'{"events":[\r\n' + b",".join(structural) + b"]}",
        "groups": b"\n".join(b"[" + line + b"]" for line in records),
    }
    expected = records if form in ("lines", "groups") else structural
    with tempfile.TemporaryDirectory() as folder:
        landing = Landing(Path(folder))
        path = Path(folder, "x.json")
        path.write_bytes(gzip.compress(contents[form]) if packed else contents[form])
        file = landing.land_one(path)

        landed, duplicate, conflict, quarantined = counts(file)
        assert file.records == len(expected)
        assert quarantined == sum(line in BAD for line in expected)
        assert conflict == max(0, kinds.count("repeat") - 1)
        assert duplicate == 0
        stored = "select (select count(*) from raw.events) + (select count(*) from raw.resources)"
        assert landing.rows(stored) == [(landed,)]
        assert landing.rows("select count(*) from raw.quarantine") == [(quarantined,)]


# Ends that nobody chose

TABLES = {
    "events": "record_number, byte_offset, organization_id, record_key, shape, source, payload",
    "event_rereads": "record_number, byte_offset, record_key, payload",
    "resources": "record_number, byte_offset, kind, resource_id, content_hash, modified_at, payload",
    "conflicts": "record_number, byte_offset, record_key, first_content_hash, later_content_hash, payload",
    "quarantine": "record_number, byte_offset, reason_code, sha256, payload",
    "loads": "file_name, sha256, records, landed, duplicate, conflict, quarantined, blank",
}


def contents_of(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    with open_work_file(home) as connection:
        return {
            table: connection.execute(f"select {columns} from raw.{table} order by all").fetchall()
            for table, columns in TABLES.items()
        }


def start_load(home: Path, inbox: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "loaders.cli", "load", "--home", str(home), str(inbox)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def write_inbox(folder: Path, submitted: Maker, recorded: Maker) -> Path:
    for number in range(4):
        lines = [json.dumps(submitted(external_id=f"{number}-{n}")) for n in range(3000)]
        lines += [json.dumps(recorded(id=f"{n}", child_count=number)) for n in range(500)]
        lines += [json.dumps(submitted(external_id="same", name=str(number))), "{torn"]
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.jsonl").write_text("\n".join(lines))
    return folder


def test_load_killed_at_any_moment_and_run_again_equals_an_undisturbed_one(
    landing: Landing, submitted: Maker, recorded: Maker
) -> None:
    inbox = write_inbox(landing.folder / "inbox", submitted, recorded)
    started = time.monotonic()
    assert start_load(landing.folder / "calm", inbox).wait() == 0
    duration = time.monotonic() - started
    expected = contents_of(Home(landing.folder / "calm"))
    moments = random.Random(7)

    for attempt in range(4):
        home = landing.folder / f"killed-{attempt}"
        for _ in range(2):
            load = start_load(home, inbox)
            time.sleep(duration * moments.uniform(0.3, 1.0))
            load.send_signal(signal.SIGKILL)
            load.wait()
        assert start_load(home, inbox).wait() == 0
        assert contents_of(Home(home)) == expected


def test_second_process_is_told_who_holds_the_lock(landing: Landing, submitted: Maker) -> None:
    path = landing.write("a.jsonl", [submitted()])
    with open_work_file(landing.home):
        command = [sys.executable, "-m", "loaders.cli", "load", "--home", str(landing.home.path), str(path)]
        second = subprocess.run(command, capture_output=True, text=True, check=False)

    assert second.returncode == 75
    what = f"process {os.getpid()} is working on this home folder. Wait for it to end and run again."
    assert second.stderr == f"error: {landing.home.lock_file}: {what}\n"
    assert second.stdout == ""


def test_damaged_work_file_is_named(landing: Landing, submitted: Maker) -> None:
    landing.home.ensure()
    landing.home.work_file.write_bytes(b"no database" * 1000)

    with pytest.raises(HomeError, match="cannot be opened"):
        landing.land(landing.write("a.jsonl", [submitted()]))


def test_work_file_is_for_its_owner_only(landing: Landing, submitted: Maker) -> None:
    landing.land_lines("a.jsonl", [submitted()])

    assert landing.home.work_file.stat().st_mode & 0o777 == 0o600
