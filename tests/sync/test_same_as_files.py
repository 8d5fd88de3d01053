"""Synced and received, or loaded from files, the same records give the same tables."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from loaders.landing import LoadOptions, land_files, land_spool
from loaders.sources.polar import whole_millisecond
from loaders.warehouse import Home, open_work_file
from sync.conftest import Syncing
from sync.fake_polar import KINDS, FakePolar
from tests.loaders.main_job.conftest import meterhouse
from tests.webhooks.receiving import InProcess, ask, signed

AS_OF = "2026-05-10T00:00:00Z"
# What says when and from where a record came, not what it says.
OF_LANDING = {"landed_at", "load_id", "file_number", "record_number", "byte_offset", "file_name", "load_ids"}
# How far an open period is on, and where it leads: a sync's data horizon lies a millisecond after that of files.
OF_THE_HORIZON = {"measured_until_at", "measured_ratio", "run_rate_metered_amount", "run_rate_subtotal_amount"}

RECORDS = """
select organization_id, 'events' as kind, payload ->> 'id' as id, payload from raw.events where shape = 'recorded'
union all
select organization_id, kind, resource_id, arg_max(payload, (modified_at, load_id, file_number, record_number))
from raw.resources where webhook_type is null group by all
"""


@pytest.fixture
def world(tmp_path: Path, server: FakePolar) -> datetime:
    """Serve what Polar's API would show of the simulated world's first organization; return the last event's time."""
    home = Home(tmp_path / "told")
    meterhouse("simulate", str(tmp_path / "world"), home=home.path)
    with open_work_file(home) as connection:
        land_files(connection, home, [str(tmp_path / "world" / "data" / "org_a")], LoadOptions())
        rows = connection.execute(RECORDS).fetchall()
        last = connection.execute(
            "select max(cast(payload ->> 'timestamp' as timestamptz))::varchar from raw.events where shape = 'recorded'"
        ).fetchall()
    server.organization = rows[0][0]
    for _, kind, key, text in rows:
        server.texts[kind][key] = text
    return datetime.fromisoformat(last[0][0]).astimezone(UTC)


def deliveries(server: FakePolar) -> list[bytes]:
    """Return what Polar would have sent of the objects: each once, as it is now."""
    types = {"orders": "order.paid", "subscriptions": "subscription.updated", "customers": "customer.updated"}
    bodies = []
    for kind, name in {**types, "products": "product.updated", "refunds": "refund.created"}.items():
        for text in server.texts[kind].values():
            instant = json.loads(text).get("modified_at") or json.loads(text)["created_at"]
            bodies.append(f'{{"type": "{name}", "timestamp": "{instant}", "data": {text}}}'.encode())
    return bodies


def receive(home: Home, bodies: list[bytes]) -> None:
    receiver = InProcess(home.path)
    with receiver.running() as application:

        async def send() -> set[int]:
            answers = [
                await ask(application, "POST", "/", signed(body, f"m_{n}"), (body,)) for n, body in enumerate(bodies)
            ]
            return {status for status, _ in answers}

        assert asyncio.run(send()) == {202}


def tables(home: Home) -> dict[str, tuple[int, int]]:
    """Row count and an order-free hash of every published table, without where its rows came from."""
    with duckdb.connect(str(home.published_file), read_only=True) as reader:
        columns: dict[str, list[str]] = {}
        for table, column in reader.execute("select table_name, column_name from duckdb_columns()").fetchall():
            if column not in OF_LANDING | OF_THE_HORIZON and table not in ("publication", "loads"):
                columns.setdefault(table, []).append(f'"{column}"')
        existing = {row[0] for row in reader.execute("select table_name from duckdb_tables()").fetchall()}
        found = {}
        for table in sorted(columns.keys() & existing):
            sql = f'select count(*), bit_xor(hash(row({", ".join(columns[table])}))) from "{table}"'
            (found[table],) = reader.execute(sql).fetchall()
        return found


def test_sync_and_webhooks_leave_the_tables_that_files_leave(
    syncing: Syncing, world: datetime, server: FakePolar, tmp_path: Path
) -> None:
    # A sync knows that nothing came until it ended, files only that nothing came until their last event.
    now = whole_millisecond(world) + timedelta(milliseconds=1)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    bodies = deliveries(server)
    (inbox / "webhooks.json").write_bytes(b"[" + b",".join(bodies) + b"]")
    for key in list(server.texts["orders"])[::3]:
        server.texts["orders"].pop(key)  # so new that only the webhook has come
    for kind in KINDS:
        (inbox / f"{kind}.json").write_text("[" + ",".join(server.texts[kind].values()) + "]")
    files = Home(tmp_path / "files")
    options = LoadOptions(clock=lambda: now, organization_id=server.organization)
    with open_work_file(files) as connection:
        land_files(connection, files, [str(inbox)], options)

    assert syncing.sync(server, now=now, organizations=(server.organization,)).errors == []
    receive(syncing.home, bodies)
    with open_work_file(syncing.home) as connection:
        summary, damaged = land_spool(connection, syncing.home, options)
    assert (sum(file.records for file in summary.files), damaged) == (len(bodies), [])
    assert sum(file.landed for file in summary.files) > 30

    for home in (files, syncing.home):
        meterhouse("build", "--as-of", AS_OF, home=home.path)
        meterhouse("publish", home=home.path)
    by_files = tables(files)
    assert by_files["usage_events"][0] > 1000
    assert tables(syncing.home) == by_files
