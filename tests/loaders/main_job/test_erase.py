"""Erasing: of a person no byte stays in the home folder, of usage and money every total does."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loaders import erase as erasing
from loaders.errors import HomeError
from loaders.sources.spool import Delivery, SegmentWriter, Spool
from loaders.warehouse import Home, locked
from tests.loaders.main_job.conftest import AS_OF, ROOT, Published, World, meterhouse

Cli = Callable[..., subprocess.CompletedProcess[str]]
CANARY = "canary-of-a-person"

TOTALS = {
    "usage": "select organization_id, event_name, cost_currency, count(*), sum(cost_amount) "
    "from usage_events group by all",
    "tokens": "select organization_id, sum(llm_input_tokens), sum(llm_total_tokens) from usage_events group by all",
    "outcomes": "select organization_id, meter_id, outcome, count(*), sum(list_amount), currency "
    "from billing_outcomes group by all",
    "meter_usage": "select meter_usage_key, consumed_units, credited_units, expected_amount, currency from meter_usage",
    "orders": "select order_key, subtotal_amount, total_amount, paid_amount, refunded_amount, currency from orders",
    "lines": "select order_line_key, amount, units from order_lines",
    "reconciliation": "select order_reconciliation_key, status, cause, variance_amount, currency "
    "from order_reconciliation",
    "revenue": "select organization_id, revenue_date, currency, revenue_amount, net_revenue_amount from revenue_daily",
    "credits": "select organization_id, meter_id, window_start_at, granted_units, consumed_units, balance_units "
    "from credit_ledger",
    "customers": "select organization_id, count(*), sum(usage_event_count) from customers group by all",
    "traces": "select root_event_key, event_count, cost_amount, llm_total_tokens from event_traces",
    "deliveries": "select organization_id, usage_date, event_name, sum(submitted_count), sum(recorded_count), "
    "sum(missing_count), sum(extra_count) from delivery_reconciliation group by all",
    "periods": "select billing_period_key, is_closed, order_key from billing_periods",
}


def totals(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(home / "published.duckdb"), read_only=True) as reader:
        return {name: sorted(reader.execute(sql).fetchall(), key=repr) for name, sql in TOTALS.items()}


def files_that_hold(home: Path, texts: list[str]) -> list[str]:
    """Every file of the home folder in which one of the texts stands, byte for byte."""
    return [
        f"{path.relative_to(home)}: {text}"
        for path in sorted(home.rglob("*"))
        if path.is_file()
        for content in (path.read_bytes(),)
        for text in texts
        if text.encode() in content
    ]


def payloads(home: Path) -> str:
    """All that the raw tables hold, decompressed: bytes of a compressed file may hide what they say."""
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        tables = work.execute("select table_name from duckdb_tables() where schema_name = 'raw'").fetchall()
        return "\n".join(str(work.execute(f"from raw.{table}").fetchall()) for (table,) in tables)


@pytest.fixture(scope="module")
def home(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world's home with a customer in it whose records hold canaries wherever a text may stand."""
    home = tmp_path_factory.mktemp("erase") / "home"
    shutil.copytree(world.home, home)
    records = home.parent / f"{CANARY}-id.jsonl"
    records.write_text("\n".join(map(json.dumps, canary_records(world))) + '\n{"broken": "' + f"{CANARY}-id" + "\n")
    meterhouse("run", records, "--as-of", AS_OF, home=home)
    return home


def canary_records(world: World) -> list[dict[str, Any]]:
    organization = world.published.rows("select min(organization_id) as id from customers")[0]["id"]
    customer = {
        "id": "c0ffee00-0000-4000-8000-000000000001", "external_id": f"{CANARY}-id", "email": f"{CANARY}@example.com",
        "name": CANARY, "type": "individual", "created_at": "2026-01-01T00:00:00Z", "organization_id": organization,
        "billing_address": {"line1": CANARY, "country": "AT"}, "tax_id": [CANARY, "eu_vat"],
        "avatar_url": f"https://example.com/{CANARY}", "metadata": {"note": CANARY},
    }  # fmt: skip
    usage = {
        "organization_id": organization, "name": "llm.completion", "timestamp": "2026-03-01T00:00:00Z",
        "external_customer_id": f"{CANARY}-id", "external_member_id": f"{CANARY}-member",
        "external_id": f"{CANARY}-event",
        "metadata": {
            "note": CANARY, "_cost": {"amount": "1.234567890123", "currency": "usd"},
            "_llm": {
                "vendor": CANARY, "model": CANARY, "prompt": CANARY, "response": CANARY,
                "input_tokens": 3, "output_tokens": 4, "total_tokens": 7,
            },
        },
    }  # fmt: skip
    stranger = {
        **usage,
        "external_customer_id": "stranger",
        "external_member_id": "m",
        "external_id": "child-of-stranger",
    }
    return [
        customer,
        usage,
        {**stranger, "parent_id": f"{CANARY}-event", "metadata": {"step": 1}},
        {**usage, "external_id": f"{CANARY}-event-2", "parent_id": f"{CANARY}-event"},
        {
            "id": "0e0e0e00-0000-4000-8000-000000000001", "organization_id": organization, "source": "system",
            "name": "customer.updated", "timestamp": "2026-03-02T00:00:00Z", "customer_id": customer["id"],
            "customer": customer, "label": CANARY,
            "metadata": {
                "customer_id": customer["id"], "customer_email": f"{CANARY}@example.com", "customer_name": CANARY,
                "customer_external_id": f"{CANARY}-id", "updated_fields": {"name": CANARY},
            },
        },
        {
            "id": "0d0d0d00-0000-4000-8000-000000000001", "created_at": "2026-03-01T00:00:00Z", "currency": "usd",
            "status": "paid", "paid": True, "billing_reason": "purchase", "subtotal_amount": 500, "net_amount": 500,
            "tax_amount": 0, "total_amount": 500, "customer_id": customer["id"], "customer": customer,
            "billing_name": CANARY, "billing_address": {"line1": CANARY}, "custom_field_data": {"x": CANARY},
            "metadata": {"note": CANARY}, "organization_id": organization,
            "items": [{"label": f"Gift for {CANARY}-id", "amount": 500, "proration": False}],
        },
        {**usage, "external_id": f"{CANARY}-refused", "metadata": {"empty": "", "note": CANARY}},
    ]  # fmt: skip


# What a writer leaves that is killed with the person's file name in what it had committed.
_KILLED_WRITER = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1])
for name in ("file_name || ' '", "rtrim(file_name)"):
    connection.execute(f"update raw.loads set file_name = {name} where contains(file_name, ?)", [sys.argv[2]])
os._exit(9)
"""


def leave_the_person_everywhere(world: World, home: Path) -> None:
    """Put the person where runs, receivers and those of them that were killed leave something in a home folder."""
    subprocess.run([sys.executable, "-c", _KILLED_WRITER, home / "meterhouse.duckdb", CANARY], timeout=60)
    spool = Spool(home)
    spool.ensure()
    customer = canary_records(world)[0]
    for number, is_torn in enumerate((False, True, False)):
        hook = {"type": "customer.updated", "timestamp": f"2026-03-0{number + 3}T00:00:00Z", "data": customer}
        writer = SegmentWriter(spool)
        writer.append([Delivery(f"msg_{number}", json.dumps(hook).encode(), datetime(2026, 3, 9, tzinfo=UTC))])
        writer.close()
        newest = max((home / "webhooks").glob("*.segment"), key=lambda path: path.stat().st_mtime_ns)
        if is_torn:
            # A byte that the disk lost: what can be read of it lands, and the segment is kept aside.
            raw = bytearray(newest.read_bytes())
            raw[len(raw) // 2] ^= 1
            newest.rename(newest.with_suffix(".damaged")).write_bytes(raw)
    for name in (
        "target/compiled/model.sql", "target/run_results.json", "logs/dbt.log", "logs/dbt.log.1", "logs/metricflow.log",
        "meterhouse.duckdb.tmp/duckdb_temp_storage-0.tmp", ".meterhouse.duckdb.rewritten",
        ".meterhouse.duckdb.rewritten.wal", ".published.duckdb.1.tmp", ".published.duckdb.1.tmp.wal",
        "published.duckdb.wal",
    ):  # fmt: skip
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").write(f"{CANARY}-id\n")


# Where the person must be found before, so that finding nothing afterwards means something.
_PLACES = {
    ".meterhouse.duckdb.rewritten", ".meterhouse.duckdb.rewritten.wal", ".published.duckdb.1.tmp",
    ".published.duckdb.1.tmp.wal", "logs/dbt.log", "logs/dbt.log.1", "logs/metricflow.log", "meterhouse.duckdb",
    "meterhouse.duckdb.tmp/duckdb_temp_storage-0.tmp", "meterhouse.duckdb.wal", "published.duckdb",
    "published.duckdb.wal", "target/compiled/model.sql", "target/run_results.json",
}  # fmt: skip


def test_no_byte_of_a_person_stays_and_every_total_does(world: World, home: Path, cli: Cli) -> None:
    before = totals(home)
    assert CANARY in payloads(home)
    organization = canary_records(world)[0]["organization_id"]
    person = ["--external-id", f"{CANARY}-id", "--organization-id", organization, "--as-of", AS_OF]
    tried = cli("erase", *person, "--dry-run", home=home)
    assert "Would rewrite 8 records" in tried.stdout
    published = Published(home / "published.duckdb").rows("select external_customer_id from customers")
    assert f"{CANARY}-id" in {row["external_customer_id"] for row in published}
    leave_the_person_everywhere(world, home)
    found = {place.split(": ")[0] for place in files_that_hold(home, [CANARY])}
    assert found >= _PLACES
    assert {Path(place).suffix for place in found if place.startswith("webhooks/")} == {".segment", ".damaged"}
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        (refused,) = work.execute(
            "select count(*) from raw.quarantine where contains(payload::varchar, ?)", [CANARY]
        ).fetchone()
    assert refused == 2

    done = cli("erase", *person, home=home)

    assert CANARY not in done.stdout + done.stderr
    assert totals(home) == before
    assert CANARY not in payloads(home)
    assert files_that_hold(home, [CANARY, "c0ffee00-0000-4000-8000-000000000001"]) == []
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.rglob("*") if path.is_file()}
    assert {name for name, mode in modes.items() if mode != 0o600} == {"published.duckdb"}
    assert modes["published.duckdb"] == 0o640


def test_what_was_erased_cannot_land_again(world: World, home: Path, tmp_path: Path, cli: Cli) -> None:
    before = totals(home)
    again = tmp_path / "again.jsonl"
    records = canary_records(world)
    theirs = [record for record in records if record.get("external_customer_id") != "stranger"]
    again.write_text("\n".join(map(json.dumps, theirs)) + "\n")
    summary = json.loads(cli("load", again, "--format", "json", home=home).stdout)
    assert summary["totals"]["records"] == len(theirs)
    assert summary["totals"]["duplicate"] == len(theirs)
    assert CANARY not in payloads(home).replace("again.jsonl", "")

    cli("build", "--full-refresh", "--as-of", AS_OF, home=home)
    cli("publish", home=home)
    assert totals(home) == before


@pytest.mark.slow
def test_a_customer_of_the_world_goes_with_every_total_as_it_was(world: World, tmp_path: Path, cli: Cli) -> None:
    """The customer with most usage: subscribed, metered, invoiced, in every table."""
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    (customer,) = world.published.rows(
        "select customer_key, organization_id, customer_id, external_customer_id from customers "
        "where external_customer_id is not null and is_known_to_polar order by usage_event_count desc limit 1"
    )
    before = totals(home)
    person = ["--customer", customer["customer_key"], "--organization-id", customer["organization_id"]]
    cli("erase", *person, "--as-of", AS_OF, home=home)

    assert totals(home) == before
    # A file of records is called by customers too, in other organizations: only this one's id is gone everywhere.
    assert files_that_hold(home, [customer["customer_id"]]) == []
    assert customer["customer_id"] not in payloads(home)
    found = Published(home / "published.duckdb").rows(
        "select count(*) as n from customers where organization_id = ? and external_customer_id = ?",
        [customer["organization_id"], customer["external_customer_id"]],
    )
    assert found == [{"n": 0}]


def test_a_member_goes_and_the_customer_stays(world: World, tmp_path: Path, cli: Cli) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    (member,) = world.published.rows(
        "select m.*, c.external_customer_id from members as m join customers as c using (customer_key) "
        "where m.external_member_id is not null order by m.usage_event_count desc limit 1"
    )
    before = totals(home)
    person = ["--member", member["member_key"], "--organization-id", member["organization_id"]]
    cli("erase", *person, "--as-of", AS_OF, home=home)

    published = Published(home / "published.duckdb")
    assert totals(home) == before
    assert published.rows("select 1 from members where member_key = ?", [member["member_key"]]) == []
    assert published.rows("select 1 from customers where customer_key = ?", [member["customer_key"]]) == [{"1": 1}]
    counts = (
        "select customer_key, count(*) as n, sum(usage_event_count) as events from members group by all order by all"
    )
    assert published.rows(counts) == world.published.rows(counts)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--external-id", "nobody"], 1, "nothing to erase"),
        (["--customer", "no such key"], 1, "has this key"),
        (["--external-id", "a", "--customer", "b"], 2, "exactly one"),
        ([], 2, "exactly one"),
    ],
)
def test_nobody_is_erased_by_mistake(
    world: World, tmp_path: Path, cli: Cli, arguments: list[str], code: int, message: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    done = cli("erase", *arguments, "--organization-id", "o", home=home, expect=code)
    assert message in done.stderr
    assert totals(home) == totals(world.home)


def test_a_disk_that_fills_leaves_the_work_file_as_it_was(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    home = Home(shutil.copytree(world.home, tmp_path / "home"))
    (customer,) = world.published.rows(
        "select organization_id, external_customer_id from customers where external_customer_id is not null limit 1"
    )
    target = erasing.Target(customer["organization_id"], external_id=customer["external_customer_id"])
    before, send = payloads(home.path), erasing._send_payloads

    def fill_up(connection: Any, writer: Any, table: str, *arguments: Any) -> None:
        send(connection, writer, table, *arguments)
        if table == "resources":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(erasing, "_send_payloads", fill_up)
    with pytest.raises(HomeError, match="Nothing was changed"):
        erasing.erase(home, target)
    assert payloads(home.path) == before
    assert [path.name for path in home.path.iterdir() if "rewritten" in path.name] == []
    assert totals(home.path) == totals(world.home)


_KILLED_ERASURE = """
import os, sys
from loaders import cli, erase
erase.erase = lambda *arguments, **options: os._exit(9)
sys.argv[0] = "meterhouse"
sys.exit(cli.main())
"""


def test_an_erasure_that_is_killed_says_how_to_go_on(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    command = [sys.executable, "-c", _KILLED_ERASURE, "--home", str(home), "erase", "--external-id", "a"]
    done = subprocess.run(
        [*command, "--organization-id", "o"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert totals(home) == totals(world.home)
    with locked(Home(home)):
        pass


def test_redacted_fields_are_never_stored(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough for the compiled walk too; the hash of what came stays, and what came again is a duplicate."""
    monkeypatch.setenv("METERHOUSE_REDACT", "metadata._llm.prompt, customer.email")
    events = [
        {
            "organization_id": "o", "name": "usage", "timestamp": "2026-01-01T00:00:00Z", "external_id": f"e{number}",
            "external_customer_id": "c",
            "metadata": {
                "units": number,
                **({"_llm": {"vendor": "v", "model": "m", "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
                             "prompt": f"{CANARY} {number}"}} if number % 3 == 0 else {}),
            },
        }
        for number in range(30_000)
    ]  # fmt: skip
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, events)) + "\n" + json.dumps({**events[0], "timestamp": "x"}) + "\n")
    cli("load", file, home=tmp_path / "home")
    again = tmp_path / "again.jsonl"
    again.write_text(json.dumps(events[0]) + "\n")
    summary = json.loads(cli("load", again, "--format", "json", home=tmp_path / "home").stdout)

    assert summary["totals"]["duplicate"] == 1
    assert CANARY not in payloads(tmp_path / "home")
    assert files_that_hold(tmp_path / "home", [CANARY]) == []
    with duckdb.connect(str(tmp_path / "home" / "meterhouse.duckdb"), read_only=True) as work:
        counts = work.execute("select count(*), count(original_sha256) from raw.events").fetchall()
    assert counts == [(30_000, 10_000)]
