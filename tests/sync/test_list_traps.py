"""Each trap of the list API by itself, and what a sync reads, remembers and vouches for."""

import json
import threading
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from loaders.sources import polar
from sync import payloads
from sync.conftest import NOW, Syncing, at
from sync.fake_polar import FakePolar
from sync.payloads import ORGANIZATION

pytestmark = pytest.mark.filterwarnings("error")


def event_requests(server: FakePolar) -> list[dict[str, list[str]]]:
    return [query for path, query in server.requests if path == "/v1/events/" and query["limit"] != ["1"]]


def windows(server: FakePolar) -> list[tuple[datetime, datetime]]:
    bounds = {(query["start_timestamp"][0], query["end_timestamp"][0]) for query in event_requests(server)}
    return sorted((datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in bounds)


@pytest.mark.usefixtures("small_pages")
def test_windows_hold_all_time_although_their_bounds_are_exclusive(syncing: Syncing, server: FakePolar) -> None:
    edges = [at(days=1, seconds=0.001 * step) for step in range(60)]
    for number, moment in enumerate(edges):
        server.put("events", payloads.user_event(number, moment))

    syncing.sync(server)

    asked = windows(server)
    assert len(asked) > 3
    starts_and_ends = [(start + timedelta(milliseconds=1), end) for start, end in asked]
    assert all(later_start <= end for (_, end), (later_start, _) in pairwise(starts_and_ends))
    assert syncing.events() == server.visible("events")


@pytest.mark.usefixtures("small_pages")
def test_more_events_of_one_millisecond_than_a_page_holds_all_land(syncing: Syncing, server: FakePolar) -> None:
    for number in range(30):
        server.put("events", payloads.user_event(number, at(days=1)))

    assert syncing.sync(server).errors == []

    assert syncing.events() == server.visible("events")


@pytest.mark.usefixtures("small_pages")
def test_thirty_pages_of_one_millisecond_in_any_order_all_land(syncing: Syncing, server: FakePolar) -> None:
    """Each request sees another order, so that a reading of all pages finds two thirds of what is missing."""
    for number in range(120):
        server.put("events", payloads.user_event(number, at(days=1)))

    assert syncing.sync(server).errors == []

    assert syncing.events() == server.visible("events")
    assert syncing.sync(server, now=NOW + timedelta(hours=1)).errors == []
    assert len(syncing.events()) == 120


@pytest.mark.usefixtures("small_pages")
def test_millisecond_that_counts_rows_twice_is_read_until_nothing_new_comes(
    syncing: Syncing, server: FakePolar
) -> None:
    for number in range(30):
        server.put("events", payloads.user_event(number, at(days=1)))
    server.repeated = {payloads.stable_id("event", number) for number in range(0, 30, 3)}

    assert syncing.sync(server).errors == []

    assert syncing.events() == server.visible("events")


def test_empty_organization_is_complete(syncing: Syncing, server: FakePolar) -> None:
    assert json.loads(server.answer(f"/v1/events/?organization_id={ORGANIZATION}&sorting=timestamp&page=1&limit=1")[1])[
        "pagination"
    ] == {"total_count": 0, "max_page": 0}

    summary = syncing.sync(server)

    assert summary.errors == summary.warnings == []
    assert {entry.kind for entry in summary.kinds if entry.is_complete and not entry.records} == set(polar.KINDS)
    first = server.put("events", payloads.user_event(0, at(days=100)))
    syncing.sync(server, now=NOW + timedelta(days=7))
    assert first in syncing.events()


@pytest.mark.usefixtures("small_pages")
def test_short_page_does_not_end_the_list(syncing: Syncing, server: FakePolar) -> None:
    for number in range(12):
        server.put("events", payloads.user_event(number, at(days=1, minutes=number)))
    server.repeated = {payloads.stable_id("event", number) for number in (9, 10, 11)}

    syncing.sync(server)

    assert syncing.events() == server.visible("events")


@pytest.mark.usefixtures("small_pages")
def test_row_that_slips_to_a_page_that_was_read_is_found(syncing: Syncing, server: FakePolar) -> None:
    """A customer of the first page is deleted when it was read: the second page then skips one."""
    for number in range(12):
        server.put("customers", payloads.customer(number, at(days=20 - number)))
    first, fifth = payloads.stable_id("customer", 0), payloads.stable_id("customer", 4)
    answer = server.answer

    def delete_after_first_page(target: str) -> tuple[int, bytes]:
        answered = answer(target)
        if "/customers/" in target and "page=1&" in target:
            server.texts["customers"].pop(first, None)
        return answered

    server.answer = delete_after_first_page  # type: ignore[method-assign]
    assert syncing.sync(server).errors == []

    assert fifth in syncing.resources("customers")


def test_events_that_come_late_are_found_again(syncing: Syncing, server: FakePolar) -> None:
    server.put("events", payloads.user_event(0, at(days=30)))
    syncing.sync(server)
    recent = server.put("events", payloads.user_event(1, at(days=2)))
    old = server.put("events", payloads.user_event(2, at(days=20)))

    syncing.sync(server, now=NOW + timedelta(hours=1))
    assert recent in syncing.events()
    assert old not in syncing.events()

    syncing.sync(server, now=NOW + timedelta(hours=2), reread=timedelta(days=25))
    assert old in syncing.events()

    ancient = server.put("events", payloads.user_event(3, at(days=300)))
    syncing.sync(server, now=NOW + timedelta(days=6))
    assert ancient not in syncing.events()
    syncing.sync(server, now=NOW + timedelta(days=7))
    assert ancient in syncing.events(), "a sweep is due"


def test_full_and_since_read_further_back(syncing: Syncing, server: FakePolar) -> None:
    for number, days in enumerate((100, 50, 10)):
        server.put("events", payloads.user_event(number, at(days=days)))
    syncing.sync(server, since=NOW - timedelta(days=60))
    assert len(syncing.events()) == 2, "--since lets the first sync begin there"

    syncing.sync(server, now=NOW + timedelta(days=8))
    assert len(syncing.events()) == 2, "a sweep begins there too"

    syncing.sync(server, full=True)
    assert len(syncing.events()) == 3


def test_since_leaves_no_gap(syncing: Syncing, server: FakePolar) -> None:
    server.put("events", payloads.user_event(0, at(days=30)))
    syncing.sync(server)
    missed = server.put("events", payloads.user_event(1, at(days=-10)))

    syncing.sync(server, now=NOW + timedelta(days=20), since=NOW + timedelta(days=15), sweep_every=None)

    assert missed in syncing.events()


def test_orders_that_change_without_a_word_are_read_again(syncing: Syncing, server: FakePolar) -> None:
    for number, status in enumerate(["pending", "draft", "paid", "paid"]):
        server.put("orders", payloads.order(number, at(days=40 + number), status=status))
    syncing.sync(server)
    server.put("orders", payloads.order(0, at(days=40), status="paid"))
    server.texts["orders"].pop(payloads.stable_id("order", 1))
    server.put("orders", payloads.order(2, at(days=42), status="refunded", refunded_amount=100))
    server.put("refunds", payloads.refund(0, at(hours=1), 2))
    server.requests.clear()

    assert syncing.sync(server, now=NOW + timedelta(hours=1)).errors == []

    landed = {key: json.loads(text)["status"] for key, text in syncing.resources("orders").items()}
    expected = {0: "paid", 1: "draft", 2: "refunded", 3: "paid"}
    assert landed == {payloads.stable_id("order", number): status for number, status in expected.items()}
    singles = {path.rpartition("/")[2] for path, _ in server.requests if path.startswith("/v1/orders/0")}
    assert payloads.stable_id("order", 3) not in singles

    server.requests.clear()
    syncing.sync(server, now=NOW + timedelta(hours=2))
    again = [path for path, _ in server.requests if path.startswith("/v1/orders/") and path != "/v1/orders/"]
    assert again == [f"/v1/orders/{payloads.stable_id('order', 1)}"], "what is still open as far as we know"


def test_finished_sync_says_what_it_covered(syncing: Syncing, server: FakePolar) -> None:
    server.put("events", payloads.user_event(0, at(days=30)))
    summary = syncing.sync(server)

    (row,) = syncing.rows("select * from raw.syncs where kind = 'events'")
    beginning = datetime(1970, 1, 1)  # what is not in a list that was read from its beginning is not there
    settled = (NOW - timedelta(minutes=15)).replace(tzinfo=None, microsecond=0)
    assert row == (summary.load_id, ORGANIZATION, "events", beginning, settled, NOW.replace(tzinfo=None), True)
    assert {kind for (kind,) in syncing.rows("select kind from raw.syncs")} == set(polar.KINDS)

    syncing.sync(server, now=NOW + timedelta(hours=1))
    later = syncing.rows("select covered_from_at from raw.syncs where kind = 'events' order by load_id")
    assert later[1] == (settled - timedelta(days=3),)


def test_first_sync_since_an_instant_vouches_for_nothing_before_it(syncing: Syncing, server: FakePolar) -> None:
    server.put("events", payloads.user_event(0, at(days=30)))
    syncing.sync(server, since=NOW - timedelta(days=40))

    (row,) = syncing.rows("select covered_from_at from raw.syncs where kind = 'events'")
    assert row == ((NOW - timedelta(days=40)).replace(tzinfo=None),)


def test_sync_that_brings_nothing_has_a_load_of_its_own(syncing: Syncing, server: FakePolar) -> None:
    """Models tell by load_id whether an event came after a sync: two syncs must not share one."""
    server.put("events", payloads.user_event(0, at(days=1)))
    first = syncing.sync(server)
    second = syncing.sync(server)

    assert second.load_id == first.load_id + 1
    assert sum(entry.skipped for entry in second.kinds) > 0
    assert syncing.sync(server).load_id == second.load_id + 1


def test_events_vouch_for_nothing_while_orders_cannot_be_read(syncing: Syncing, server: FakePolar) -> None:
    """The end of events is the data horizon: orders that were not read would be called missing."""
    server.put("events", payloads.user_event(0, at(days=30)))
    server.fault = lambda target: "403" if target.startswith("/v1/orders/") else None
    summary = syncing.sync(server)

    (error,) = summary.errors
    assert "/v1/orders/" in error
    assert "orders:read" in error
    assert len(syncing.events()) == 1
    kinds = {kind for (kind,) in syncing.rows("select kind from raw.syncs")}
    assert kinds == set(polar.KINDS) - {"orders", "events"}

    server.fault = lambda target: None
    syncing.sync(server, now=NOW + timedelta(days=1))
    (row,) = syncing.rows("select covered_from_at, covered_to_at from raw.syncs where kind = 'events'")
    assert row[0] == datetime(1970, 1, 1)


def test_pages_land_with_their_origin(syncing: Syncing, server: FakePolar) -> None:
    server.put("events", payloads.user_event(0, at(days=30)), unknown_field=True)
    syncing.sync(server)

    rows = syncing.rows("select source, kind, file_name, records, organization_option from raw.loads where records > 0")
    (row,) = rows
    assert row[:2] == ("polar", "events")
    assert row[2].startswith(f"polar://production/{ORGANIZATION}/events?start_timestamp=2026-")
    assert row[2].endswith("&page=1")
    assert row[3:] == (1, ORGANIZATION)
    ((number, offset),) = syncing.rows("select record_number, byte_offset from raw.events")
    assert (number, offset) == (1, len('{"items": ['))


def test_bad_record_in_a_page_stops_none_of_its_neighbours(syncing: Syncing, server: FakePolar) -> None:
    for number in range(3):
        server.put("events", payloads.user_event(number, at(days=1)))
    bad = payloads.stable_id("event", 1)
    server.texts["events"][bad] = server.texts["events"][bad].replace('"units": 1', '"units": NaN')

    summary = syncing.sync(server)

    assert summary.errors == []
    assert len(syncing.events()) == 2
    assert syncing.rows("select kind, reason_code from raw.quarantine") == [("events", "number_out_of_range")]


def test_organizations_are_those_of_the_token(syncing: Syncing, server: FakePolar) -> None:
    server.put("events", payloads.user_event(0, at(days=1)))

    summary = syncing.sync(server, organizations=(None,))

    assert {entry.organization_id for entry in summary.kinds} == {ORGANIZATION}
    assert len(syncing.events()) == 1


def test_pages_are_asked_for_side_by_side(syncing: Syncing, server: FakePolar, monkeypatch: Any) -> None:
    monkeypatch.setattr(polar, "_PAGE_SIZE", 4)
    for number in range(80):
        server.put("events", payloads.user_event(number, at(days=1, minutes=number)))
    together = threading.Barrier(4, timeout=10)
    waited = threading.Semaphore(4)
    answer = server.answer

    def answer_together(target: str) -> tuple[int, bytes]:
        if "/events/" in target and "page=1&" not in target and waited.acquire(blocking=False):
            together.wait()
        return answer(target)

    server.answer = answer_together  # type: ignore[method-assign]
    assert syncing.sync(server).errors == []
    assert len(syncing.events()) == 80
