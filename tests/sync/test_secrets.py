"""Secrets are read from the environment and reach nothing that stays or is shown; files are for their owner."""

import contextlib
import http.client
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from sync import payloads
from sync.conftest import at
from sync.fake_polar import FakePolar
from sync.test_failures import ROOT, command, environment, fill
from tests.webhooks.receiving import order_paid, signed

_OWN_TOKEN = f"POLAR_ACCESS_TOKEN_{payloads.ORGANIZATION.replace('-', '_')}"
# One canary for each setting that is a secret, and for others' secrets that a shell may have beside them. (What is
# called DBT_ENV_CUSTOM_ENV_ is no secret: dbt writes it into its target, for whoever asks it to.)
SECRETS = {
    "POLAR_ACCESS_TOKEN": "polar_oat_canary_of_all_0a1b2c3d",
    _OWN_TOKEN: "polar_oat_canary_of_one_1b2c3d4e",
    "POLAR_WEBHOOK_SECRET": "polar_whs_canary_of_webhooks_2c3d4e5f",
    "DBT_ENV_SECRET_GIT": "canary_of_dbt_3d4e5f6a",
    "AWS_SECRET_ACCESS_KEY": "canary_of_a_cloud_5f6a7b8c",
    "MOTHERDUCK_TOKEN": "canary_of_a_database_6a7b8c9d",
    "METERHOUSE_REDACT": "metadata.canary_of_a_path_7b8c9d0e",
}


class Story:
    """One home folder through all that reads or writes, under one umask, and all that was said."""

    def __init__(self, folder: Path, server: FakePolar, umask: int) -> None:
        self.folder, self.home, self.umask = folder, folder / "home", umask
        self.server, self.said = server, b""
        server.token = SECRETS[_OWN_TOKEN]
        fill(server)
        self.environment = {**environment(server), **SECRETS}

    def tell(self, *arguments: str | Path, expect: int = 0, **settings: str) -> None:
        done = subprocess.run(
            command(self.home, *map(str, arguments)),
            cwd=ROOT, env={**self.environment, **settings}, capture_output=True, timeout=300, umask=self.umask,
        )  # fmt: skip
        self.said += done.stdout + done.stderr
        assert done.returncode == expect, (arguments, done.stdout, done.stderr)

    @contextlib.contextmanager
    def receiving(self) -> Iterator[int]:
        log = self.folder / "receiver.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command(self.home, "webhooks", "--port", "0"),
                cwd=ROOT, env=self.environment, stderr=errors, umask=self.umask,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not (found := re.search(rb"127\.0\.0\.1:(\d+)", log.read_bytes())):
                assert process.poll() is None, log.read_bytes()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield int(found[1])
        finally:
            process.terminate()
            process.wait(30)
            self.said += log.read_bytes()

    def receive(self) -> None:
        with self.receiving() as port:
            body = order_paid(1)
            assert post(port, body, signed(body, secret=SECRETS["POLAR_WEBHOOK_SECRET"])) == 202
            assert post(port, body, signed(body, secret="polar_whs_another")) in (401, 403)

    def fail(self) -> None:
        """Runs that end badly: a refused token, a setting that is wrong, a file that is none."""
        self.server.token = "another"
        self.tell("sync", expect=1)
        self.server.token = SECRETS[_OWN_TOKEN]
        self.tell("sync", "--since", "never", expect=2)
        self.tell("load", self.home / "nothing.jsonl", expect=1)
        self.tell("status")

    def places(self, secret: str) -> list[str]:
        """Where the secret is: in what was said, in a file of the folder, in a value of the databases."""
        found = ["said"] if secret.encode() in self.said else []
        for path in self.folder.rglob("*"):
            if path.is_file() and secret.encode() in path.read_bytes():
                found.append(str(path.relative_to(self.folder)))
        for path in self.home.glob("*.duckdb"):
            found += [f"{path.name}: {name}" for name in tables_that_hold(path, secret)]
        return found

    def modes(self) -> dict[str, int]:
        return {
            str(path.relative_to(self.folder)): path.stat().st_mode & 0o777
            for path in self.folder.rglob("*")
            if path.is_file() and path.name != "receiver.log" and path.parent != self.folder
        }


def post(port: int, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def tables_that_hold(path: Path, text: str) -> list[str]:
    """Columns are compressed in the file's bytes: ask for the values too."""
    with duckdb.connect(str(path), read_only=True) as reader:
        tables = reader.execute("select schema_name, table_name from duckdb_tables() where not internal").fetchall()
        return [
            name
            for schema, name in tables
            if reader.execute(
                f'select 1 from "{schema}"."{name}" as t where contains(cast(t as varchar), ?) limit 1', [text]
            ).fetchone()
        ]


def assert_nothing_is_told(story: Story) -> None:
    # They were used: else nothing here would mean anything.
    assert {headers.get("Authorization") for headers in story.server.headers} >= {f"Bearer {SECRETS[_OWN_TOKEN]}"}
    assert story.said
    for name, secret in SECRETS.items():
        assert story.places(secret) == [], name
    for path, mode in story.modes().items():
        assert mode == (0o640 if path == "home/published.duckdb" else 0o600), (path, oct(mode))


def test_no_secret_is_stored_or_said_by_what_lands(tmp_path: Path, server: FakePolar) -> None:
    story = Story(tmp_path, server, umask=0)
    story.tell("sync", POLAR_ORGANIZATION_ID=payloads.ORGANIZATION)
    story.receive()
    story.fail()
    assert {"home/meterhouse.duckdb", "home/meterhouse.lock"} <= story.modes().keys()
    assert any(path.startswith("home/webhooks/") for path in story.modes())
    assert_nothing_is_told(story)
    # And a secret that is in a record is found where it landed.
    event = {"name": "call", "organization_id": "o", "external_customer_id": SECRETS["POLAR_ACCESS_TOKEN"]}
    (tmp_path / "leak.jsonl").write_text(json.dumps(event) + "\n")
    story.tell("load", tmp_path / "leak.jsonl")
    assert "meterhouse.duckdb: events" in story.places(SECRETS["POLAR_ACCESS_TOKEN"])


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o000, 0o077], ids=["000", "077"])
def test_no_secret_is_stored_or_said_by_any_command(tmp_path: Path, server: FakePolar, umask: int) -> None:
    story = Story(tmp_path, server, umask)
    (tmp_path / "out").mkdir()
    server.put("customers", payloads.customer(0, at(days=30)))
    story.receive()
    story.tell("run", POLAR_ORGANIZATION_ID=payloads.ORGANIZATION)
    story.fail()
    # Asked again for a minute, then given up.
    story.tell("sync", expect=1, POLAR_BASE_URL="http://127.0.0.1:1", POLAR_ORGANIZATION_ID=payloads.ORGANIZATION)
    story.tell("run", expect=1, METERHOUSE_MEMORY_LIMIT="1KB", METERHOUSE_AS_OF="2030-01-01T00:00:00Z",
               POLAR_ORGANIZATION_ID=payloads.ORGANIZATION)  # fmt: skip
    story.tell("run", POLAR_ORGANIZATION_ID=payloads.ORGANIZATION)
    out = tmp_path / "out"
    story.tell("report", "--html", out / "report.html", "--csv", out / "csv")
    story.tell("export", out / "parquet", "--raw")
    customer = story_customer(story)
    story.tell("erase", "--external-id", customer, "--organization-id", payloads.ORGANIZATION)
    for part in ("home/published.duckdb", "home/logs/dbt.log", "out/report.html", "out/parquet/orders.parquet"):
        assert part in story.modes()
    assert_nothing_is_told(story)


def story_customer(story: Story) -> str:
    with duckdb.connect(str(story.home / "published.duckdb"), read_only=True) as reader:
        (name,) = reader.execute(
            "select external_customer_id from customers where external_customer_id is not null order by 1 limit 1"
        ).fetchone() or (None,)
    assert name is not None
    return str(name)
