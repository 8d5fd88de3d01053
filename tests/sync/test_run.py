"""`run` as a scheduler calls it: it syncs, lands the webhooks that wait, builds and publishes.

One home folder through four runs: one order told by webhook, event and orders API, an event that comes late, and a
token that is no longer valid.
"""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loaders.sources.spool import Delivery, SegmentWriter, Spool
from sync import payloads
from sync.conftest import at
from sync.fake_polar import TOKEN, FakePolar
from sync.test_failures import meterhouse
from tests.loaders.main_job.conftest import begun_home

# 10.00, less 2.00, and 1.52 of tax, of which 0.52 by balance.
AMOUNTS = {
    "subtotal_amount": 1000,
    "discount_amount": 200,
    "net_amount": 800,
    "tax_amount": 152,
    "total_amount": 952,
    "applied_balance_amount": -52,
    "due_amount": 900,
}
OF_EVENT = {
    "amount": 952,
    "net_amount": 800,
    "tax_amount": 152,
    "discount_amount": 200,
    "applied_balance_amount": -52,
    "platform_fee": 0,
    "currency": "usd",
    "billing_type": "one_time",
}
PAID_AT = at(days=20)


def order(modified_at: str, fee: int) -> dict[str, Any]:
    item = payloads.build(
        payloads.outputs.OrderItemSchema, id=payloads.stable_id("item", 0), label="Setup", amount=1000
    )
    given = {**AMOUNTS, "platform_fee_amount": fee, "billing_reason": "purchase", "items": [item]}
    return payloads.order(0, at(days=20, seconds=5), modified_at=modified_at, **given)


class Story:
    """What the runs said, and what was published after each."""

    def __init__(self, folder: Path, server: FakePolar) -> None:
        self.home = begun_home(folder / "home")
        self.server = server
        self.said: dict[str, Any] = {}
        self.published: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def run(self, name: str, *arguments: str, expect: int = 0, **settings: str) -> None:
        self.said[name] = meterhouse(self.server, self.home, *(arguments or ("run",)), expect=expect, **settings)
        with duckdb.connect(str(self.home / "published.duckdb"), read_only=True) as reader:
            self.published[name] = {table: rows(reader, table) for table in ("orders", "usage_events", "publication")}

    def receive(self, body: dict[str, Any]) -> None:
        spool = Spool(self.home)
        spool.ensure()
        writer = SegmentWriter(spool)
        writer.append([Delivery("msg_1", json.dumps(body).encode(), datetime.now(UTC))])
        writer.close()


def rows(reader: duckdb.DuckDBPyConnection, table: str) -> list[dict[str, Any]]:
    cursor = reader.execute(f"select * from {table}")
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def shown(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with FakePolar() as server:
        story = Story(tmp_path_factory.mktemp("run"), server)
        server.put("products", payloads.product(0, at(days=90)))
        server.put("customers", payloads.customer(0, at(days=80)))
        # As a webhook shows it the fee is not booked yet; read later it is.
        story.receive(payloads.order_paid_webhook(order(at(days=20), 0), at(days=20, seconds=-2)))
        server.put("orders", order(at(days=19), 78), unknown_field=True)
        server.put("events", payloads.order_paid_event(0, PAID_AT, **OF_EVENT))
        for number in range(4):
            server.put("events", payloads.user_event(number, at(days=30 - number)))
        server.put("events", payloads.unknown_event(0, at(days=15)))
        story.run("first")

        server.put("events", payloads.user_event(4, at(days=25, seconds=7)))
        server.put("events", payloads.user_event(6, at(days=60)))  # before all that there was
        server.put("events", payloads.user_event(5, shown(datetime.now(UTC) - timedelta(minutes=5))))
        story.run("late", METERHOUSE_REREAD_DAYS="3650")

        server.token = "another"
        story.run("refused", "sync", expect=1)
        story.run("refused run", expect=1)
        story.run("status", "status")
        yield story


def test_order_told_three_ways_is_one_row_with_the_best_of_each(story: Story) -> None:
    (row,) = story.published["first"]["orders"]
    expected = {
        **{name: value for name, value in AMOUNTS.items() if name != "due_amount"},
        "order_id": payloads.stable_id("order", 0),
        "organization_id": payloads.ORGANIZATION,
        "paid_amount": 900,
        "platform_fee_amount": 78,
        "is_paid": True,
        "has_lines": True,
        "billing_type": "one_time",
        "billing_reason": "purchase",
        "paid_at": datetime.fromisoformat(PAID_AT).replace(tzinfo=None),
    }
    assert {name: row[name] for name in expected} == expected
    assert story.published["late"]["orders"] == [row]


def test_run_without_paths_syncs_and_lands_webhooks(story: Story) -> None:
    said = story.said["first"].stderr
    assert "Synced 9 records: 9 landed, 0 duplicate, 0 conflict, 0 quarantined.\n" in said
    assert "Read 1 webhooks: 1 landed" in said
    assert "Published: " in story.said["first"].stdout
    assert "Synced" not in story.said["first"].stdout


def test_event_that_an_earlier_sync_did_not_return_was_received_when_it_landed(story: Story) -> None:
    def basis(name: str) -> dict[int, str]:
        events = story.published[name]["usage_events"]
        return {json.loads(event["metadata"])["units"]: event["received_at_basis"] for event in events}

    assert basis("first") == dict.fromkeys(range(4), "occurred"), "no sync came before theirs"
    # The last one lies in the minutes for which no sync vouches.
    assert basis("late") == {**dict.fromkeys(range(4), "occurred"), 4: "landed", 5: "occurred", 6: "landed"}
    for event in story.published["late"]["usage_events"]:
        is_late = event["received_at_basis"] == "landed"
        assert event["received_at"] == event["landed_at" if is_late else "occurred_at"]
        assert event["billed_at"] == max(event["occurred_at"], event["received_at"])


def test_horizon_is_when_the_last_complete_sync_ended(story: Story) -> None:
    (first,), (late,) = story.published["first"]["publication"], story.published["late"]["publication"]
    assert first["data_horizon_at"] < late["data_horizon_at"] < late["published_at"]
    (after,) = story.published["refused run"]["publication"]
    assert after["data_horizon_at"] == late["data_horizon_at"], "a sync that was refused covers nothing"


def test_refused_token_publishes_what_there_is_and_says_so(story: Story) -> None:
    for name in ("refused", "refused run"):
        assert "Polar answered 401. The token is not valid on the production server" in story.said[name].stderr
    assert story.published["refused run"]["orders"] == story.published["late"]["orders"]
    status = story.said["status"].stdout
    assert "blocked    polar://production/organizations: " in status
    (line,) = [line for line in status.splitlines() if line.startswith("synced")]
    assert line.startswith(f"synced     organization id {payloads.ORGANIZATION}, last sync at 20")


def test_token_is_nowhere(story: Story) -> None:
    """The fake repeats the token in its refusals: in no file of the home folder, no output and no message is it."""
    assert {headers["Authorization"] for headers in story.server.headers} == {f"Bearer {TOKEN}"}
    for name, done in story.said.items():
        assert TOKEN not in done.stdout + done.stderr, name
    files = [path for path in story.home.rglob("*") if path.is_file()]
    assert {"meterhouse.duckdb", "published.duckdb", "dbt.log", "compiled"} <= {
        part for path in files for part in path.relative_to(story.home).parts
    }
    for path in files:
        assert TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_builds_after_syncs_are_what_a_full_refresh_makes(story: Story, tmp_path: Path) -> None:
    shutil.copytree(story.home, tmp_path / "home")
    fresh = Story(tmp_path, story.server)
    as_of = shown(story.published["late"]["publication"][0]["as_of"].replace(tzinfo=UTC))
    fresh.run("build", "build", "--full-refresh", "--as-of", as_of)
    fresh.run("publish", "publish")
    for table in ("orders", "usage_events"):
        by_key = {str(row) for row in fresh.published["publish"][table]}
        assert by_key == {str(row) for row in story.published["late"][table]}
