"""Replaying the quarantine: what became valid lands once, in its place; nothing is lost, doubled or forgotten."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import NOW, Landing

from loaders.errors import DataError
from loaders.landing import LoadOptions
from loaders.records import RECORD_BYTE_LIMIT
from loaders.replay import ReplaySummary, Selection, _ReplayedFile, replay, replay_corrected
from loaders.warehouse import open_work_file

pytestmark = pytest.mark.filterwarnings("error")

Maker = Callable[..., dict[str, Any]]
Replay = Callable[..., ReplaySummary]

STATES = "select load_id, file_number, record_number, status, replayed_load_id from raw.quarantine order by all"
LEDGER = "select load_id, source, records, landed, duplicate, conflict, quarantined from raw.loads order by all"
EVERYTHING = ("loads", "events", "event_rereads", "resources", "conflicts", "quarantine")


def everything(landing: Landing) -> dict[str, Any]:
    return {table: landing.rows(f"select * from raw.{table} order by all") for table in EVERYTHING}


def events(landing: Landing) -> list[Any]:
    """What landing decides about events, wherever and whenever they landed."""
    return landing.rows("select organization_id, record_key, shape, source, payload from raw.events order by all")


@pytest.fixture
def run_replay(landing: Landing) -> Replay:
    """Replay in the home of `landing`."""

    def run(
        corrected: Path | None = None,
        *,
        now: datetime = NOW,
        organization_id: str | None = None,
        home: Landing = landing,
        **selection: Any,
    ) -> ReplaySummary:
        options = LoadOptions(clock=lambda: now, organization_id=organization_id)
        chosen = Selection(**selection)
        with open_work_file(home.home) as connection:
            if corrected is not None:
                return replay_corrected(connection, home.home, chosen, options, str(corrected))
            return replay(connection, home.home, chosen, options)

    return run


def counts(summary: ReplaySummary) -> list[tuple[int, int, int, int]]:
    for file in summary.files:
        assert file.records == file.landed + file.duplicate + file.conflict + file.quarantined
    return [(file.landed, file.duplicate, file.conflict, file.quarantined) for file in summary.files]


def test_records_land_once_an_organization_is_known_and_again_not_at_all(
    landing: Landing, submitted: Maker, run_replay: Replay
) -> None:
    lost = submitted(external_id="1", organization_id=None)
    path = landing.write("a.jsonl", [submitted(external_id="0"), lost, b"{torn", lost])
    landing.land(path, now=NOW - timedelta(days=1))

    assert run_replay() == ReplaySummary(still_open={"invalid_json": 1, "missing_organization": 2})
    summary = run_replay(organization_id="org_1")

    assert counts(summary) == [(1, 1, 0, 0)]
    assert (summary.load_id, summary.still_open) == (2, {"invalid_json": 1})
    assert landing.rows(STATES) == [
        (1, 1, 2, "replayed", 2),
        (1, 1, 3, "open", None),
        (1, 1, 4, "replayed", 2),
    ]
    assert landing.rows(LEDGER) == [(1, "files", 4, 1, 0, 0, 3), (2, "quarantine", 2, 1, 1, 0, 0)]
    before = everything(landing)
    assert run_replay(organization_id="org_1") == ReplaySummary(still_open={"invalid_json": 1})
    assert everything(landing) == before


def test_replayed_record_keeps_its_place_and_the_time_it_was_first_seen(
    landing: Landing, submitted: Maker, run_replay: Replay
) -> None:
    lines: list[Any] = [submitted(external_id="0"), b"", submitted(external_id="1", organization_id=None)]
    path = landing.write("a.jsonl", lines)
    landing.land(path, landed_at=datetime(2026, 2, 1, tzinfo=UTC))
    run_replay(organization_id="org_1")

    ((offset, payload, landed_at, file_name),) = landing.rows(
        "select e.byte_offset, e.payload, e.landed_at, l.file_name from raw.events as e "
        "join raw.loads as l using (load_id, file_number) where load_id = 2 and record_number = 2"
    )
    assert path.read_bytes()[offset : offset + len(payload)] == payload.encode()
    assert (landed_at, file_name) == (datetime(2026, 2, 1), str(path))


def test_clock_that_moved_on_makes_the_future_valid(landing: Landing, submitted: Maker, run_replay: Replay) -> None:
    tomorrow = submitted(timestamp=(NOW + timedelta(days=1)).isoformat())
    landing.land_lines("a.jsonl", [tomorrow])

    assert run_replay().still_open == {"future_timestamp": 1}
    assert counts(run_replay(now=NOW + timedelta(days=1))) == [(1, 0, 0, 0)]
    assert landing.rows("select landed_at from raw.events") == [(NOW.replace(tzinfo=None),)]


def test_first_loads_options_stay_those_of_its_records(landing: Landing, submitted: Maker, run_replay: Replay) -> None:
    late = submitted(organization_id=None, timestamp=(NOW + timedelta(days=1)).isoformat())
    enveloped = {"organization_id": "org_3", "events": [late]}
    landing.land_lines("a.jsonl", [late], organization_id="org_2")
    landing.land_lines("b.jsonl", [enveloped])
    landing.land_lines("orders.jsonl", [{"id": "o", "currency": "usd", "created_at": "2026-01-01T00:00:00Z"}])
    run_replay(now=NOW + timedelta(days=2), organization_id="org_1")

    assert landing.rows("select organization_id from raw.events order by all") == [("org_2",), ("org_3",)]
    assert landing.rows("select organization_id, kind from raw.resources") == [("org_1", "orders")]


def test_rejected_webhook_lands_with_its_type_and_time(landing: Landing, run_replay: Replay) -> None:
    order = {"id": "o", "billing_reason": "purchase", "currency": "usd", "created_at": "2026-01-01T00:00:00Z"}
    delivery = {"type": "order.paid", "timestamp": "2026-01-02T00:00:00Z", "data": order}
    landing.land_lines("hooks.jsonl", [[delivery, delivery]])  # type: ignore[list-item]

    assert counts(run_replay(organization_id="org_1")) == [(1, 1, 0, 0)]
    assert landing.rows("select kind, webhook_type, webhook_at, payload from raw.resources") == [
        ("orders", "order.paid", datetime(2026, 1, 2), json.dumps(order))
    ]


def test_conflict_leaves_the_quarantine_once(landing: Landing, submitted: Maker, run_replay: Replay) -> None:
    landing.land_lines("a.jsonl", [submitted(external_id="1", metadata={"units": 2}, organization_id=None)])
    landing.land_lines("b.jsonl", [submitted(external_id="1", metadata={"units": 1})])

    assert counts(run_replay(organization_id="org_1")) == [(0, 0, 1, 0)]
    assert landing.rows("select first_load_id, load_id from raw.conflicts") == [(2, 3)]
    before = everything(landing)
    assert run_replay(organization_id="org_1") == ReplaySummary()
    assert everything(landing) == before


def test_selection_limits_what_is_replayed(landing: Landing, submitted: Maker, run_replay: Replay) -> None:
    for load in (1, 2):
        tomorrow = submitted(external_id=f"late-{load}", timestamp=(NOW + timedelta(days=1)).isoformat())
        lost = [submitted(external_id=f"{load}-{n}", organization_id=None) for n in range(2)]
        landing.land_lines(f"{load}.jsonl", [*lost, tomorrow])
    later = NOW + timedelta(days=2)

    assert counts(run_replay(now=later, load_id=1, reason_code="future_timestamp")) == [(1, 0, 0, 0)]
    assert counts(run_replay(now=later, record=(2, 1, 2), organization_id="org_1")) == [(1, 0, 0, 0)]
    assert counts(run_replay(now=later, record=(2, 1, 2), organization_id="org_1")) == []
    assert counts(run_replay(now=later, load_id=1, record=(2, 1, 1), organization_id="org_1")) == []
    assert counts(run_replay(now=later, organization_id="org_1")) == [(2, 0, 0, 0), (2, 0, 0, 0)]
    assert landing.rows("select count(*) from raw.events") == [(6,)]
    with pytest.raises(DataError, match=r"^9\.1\.1: no such rejected record"):
        run_replay(record=(9, 1, 1))


def test_list_that_is_no_object_is_not_opened(landing: Landing, submitted: Maker, run_replay: Replay) -> None:
    landing.land_lines("a.jsonl", [[[submitted()]]])  # type: ignore[list-item]

    assert run_replay() == ReplaySummary(still_open={"not_an_object": 1})


# What has no key of its own: its file and its place in it are the key


def keyless(submitted: Maker) -> list[dict[str, Any]]:
    timed = submitted(timestamp="2026-01-01T00:00:00Z")
    untimed = submitted()
    lost = {"organization_id": None}
    return [timed, {**timed, **lost}, {**timed, **lost}, untimed, {**untimed, **lost}, {**untimed, **lost}]


def test_replay_equals_loading_the_file_again_with_the_organization(
    landing: Landing, submitted: Maker, run_replay: Replay, tmp_path: Path
) -> None:
    path = landing.write("a.jsonl", keyless(submitted))
    other = Landing(tmp_path / "other")
    for home in (landing, other):
        home.land(path)
    run_replay(organization_id="org_1")
    assert other.land_one(path, organization_id="org_1").landed == 4

    assert events(landing) == events(other)
    before = everything(landing)["events"]
    again = landing.land_one(path, organization_id="org_1")
    assert (again.landed, again.duplicate, again.quarantined) == (0, 6, 0)
    assert everything(landing)["events"] == before
    assert run_replay(home=other, organization_id="org_1") == ReplaySummary()


def test_records_replayed_one_by_one_equal_those_replayed_together(
    landing: Landing, submitted: Maker, run_replay: Replay, tmp_path: Path
) -> None:
    path = landing.write("a.jsonl", keyless(submitted))
    together = Landing(tmp_path / "together")
    for home in (landing, together):
        home.land(path)
    run_replay(home=together, organization_id="org_1")
    for number in (6, 3, 2, 5):
        assert counts(run_replay(record=(1, 1, number), organization_id="org_1")) == [(1, 0, 0, 0)]

    place = "select record_number from raw.events order by all"
    assert landing.rows(place) == together.rows(place)
    keys = "select record_key from raw.events order by all"
    assert landing.rows(keys) == together.rows(keys)


def test_record_of_a_file_loaded_twice_is_one_record(landing: Landing, submitted: Maker, run_replay: Replay) -> None:
    path = landing.write("a.jsonl", keyless(submitted))
    landing.land(path)
    landing.land(path, kind="events")
    assert landing.rows("select count(*) from raw.quarantine where status = 'open'") == [(8,)]

    assert counts(run_replay(load_id=2, organization_id="org_1")) == [(4, 0, 0, 0)]
    assert run_replay(organization_id="org_1") == ReplaySummary()
    assert landing.rows("select count(*) from raw.events") == [(6,)]


def test_file_is_still_known_by_its_own_load_only(landing: Landing, submitted: Maker, run_replay: Replay) -> None:
    path = landing.write("a.jsonl", [submitted(organization_id=None)])
    assert landing.land_one(path).needs_organization
    run_replay(organization_id="org_1")

    skipped = landing.land_one(path)
    assert (skipped.skipped, skipped.needs_organization) == (True, False)
    assert not landing.land_one(path, organization_id="org_1").skipped


# Corrected copies


def test_corrected_lines_land_in_place_of_the_open_ones_in_order(
    landing: Landing, submitted: Maker, run_replay: Replay
) -> None:
    landing.land_lines("a.jsonl", [b"{torn", submitted(external_id="0"), b'{"name":"\xff"}'])
    landing.land_lines("b.jsonl", [b"7"])
    fixed = [submitted(external_id=str(number)) for number in (1, 2, 3)]
    path = landing.write("fixed.jsonl.gz", fixed)

    assert counts(run_replay(path)) == [(2, 0, 0, 0), (1, 0, 0, 0)]
    sql = "select file_name, record_number, payload from raw.events join raw.loads using (load_id, file_number) "
    assert landing.rows(sql + "where load_id = 3 order by all") == [
        (str(landing.folder / "a.jsonl"), 1, json.dumps(fixed[0])),
        (str(landing.folder / "a.jsonl"), 3, json.dumps(fixed[1])),
        (str(landing.folder / "b.jsonl"), 1, json.dumps(fixed[2])),
    ]
    assert landing.rows("select payload, status from raw.quarantine order by load_id, record_number") == [
        (b"{torn", "replayed"),
        (b'{"name":"\xff"}', "replayed"),
        (b"7", "replayed"),
    ]
    before = everything(landing)
    with pytest.raises(DataError, match="it holds 3 records, and 0 open ones are selected"):
        run_replay(path)
    assert everything(landing) == before


def test_corrected_line_for_one_named_record(landing: Landing, submitted: Maker, run_replay: Replay) -> None:
    landing.land_lines("a.jsonl", [b"{torn", b"{torn too"])
    path = landing.write("fixed.jsonl", [submitted(external_id="2")])

    with pytest.raises(DataError, match="it holds 1 records, and 2 open ones are selected"):
        run_replay(path)
    assert counts(run_replay(path, record=(1, 1, 2))) == [(1, 0, 0, 0)]
    assert landing.rows(STATES) == [(1, 1, 1, "open", None), (1, 1, 2, "replayed", 2)]


@pytest.mark.parametrize("bad", [b"{still torn", b"[]", b'[{"name":"e","external_customer_id":"c"}]'])
def test_corrected_line_that_is_still_bad_lands_none_of_them(
    bad: bytes, landing: Landing, submitted: Maker, run_replay: Replay
) -> None:
    landing.land_lines("a.jsonl", [b"{torn", b"{torn too"])
    path = landing.write("fixed.jsonl", [submitted(), bad])
    before = everything(landing)

    with pytest.raises(DataError, match=r"fixed\.jsonl: record 2 \(for 1\.1\.2\) is still bad"):
        run_replay(path)
    assert everything(landing) == before


def test_correction_that_equals_another_line_of_its_file_counts_beside_it(
    landing: Landing, submitted: Maker, run_replay: Replay
) -> None:
    timed = submitted(timestamp="2026-01-01T00:00:00Z")
    landing.land_lines("a.jsonl", [timed, b"{torn", b"{torn"])

    assert counts(run_replay(landing.write("fixed.jsonl", [timed, timed]))) == [(2, 0, 0, 0)]
    assert landing.land_lines("b.jsonl", [timed] * 4).landed == 1


# Size and ends


def test_many_records_of_many_files_land_in_batches(
    landing: Landing, submitted: Maker, run_replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.replay._BATCH_RECORDS", 7)
    same = submitted(timestamp="2026-01-01T00:00:00Z", organization_id=None)
    files = [
        landing.write(
            f"{n}.jsonl", [same, *(submitted(external_id=f"{n}-{i}", organization_id=None) for i in range(40)), same]
        )
        for n in range(3)
    ]
    landing.land(*files)

    # The equal keyless records of several files are the same two.
    assert counts(run_replay(organization_id="org_1")) == [(42, 0, 0, 0), (40, 2, 0, 0), (40, 2, 0, 0)]
    assert landing.rows("select count(*), count(distinct record_key) from raw.events") == [(122, 122)]


def test_replay_that_stops_halfway_changes_nothing(
    landing: Landing, submitted: Maker, run_replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        landing.land_lines(f"{name}.jsonl", [submitted(external_id=name, organization_id=None)])
    before = everything(landing)
    finish = _ReplayedFile.finish

    def stop_at_the_second(file: _ReplayedFile) -> None:
        finish(file)
        if file.summary.path.endswith("b.jsonl"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_ReplayedFile, "finish", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            run_replay(organization_id="org_1")
    assert everything(landing) == before
    assert counts(run_replay(organization_id="org_1")) == [(1, 0, 0, 0), (1, 0, 0, 0)]


def test_record_over_the_limit_stays(landing: Landing, run_replay: Replay) -> None:
    landing.land_lines("a.jsonl", [b'{"name":"' + b"x" * RECORD_BYTE_LIMIT + b'"}'])

    assert run_replay().still_open == {"too_large": 1}


def test_empty_quarantine_has_nothing_to_replay(landing: Landing, run_replay: Replay) -> None:
    assert run_replay() == ReplaySummary(load_id=None, files=[], still_open={})


def test_occurrences_go_on_after_those_that_another_file_had_brought(
    landing: Landing, submitted: Maker, run_replay: Replay
) -> None:
    timed = submitted(timestamp="2026-01-01T00:00:00Z")
    landing.land_lines("a.jsonl", [timed])
    assert landing.land_lines("b.jsonl", [timed, timed, b"{torn"]).duplicate == 1

    assert counts(run_replay(landing.write("fixed.jsonl", [timed]))) == [(1, 0, 0, 0)]
    assert landing.rows("select count(*) from raw.events") == [(3,)]
