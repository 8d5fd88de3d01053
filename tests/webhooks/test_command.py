"""`meterhouse webhooks`, `run` and `status` around it, as an operator uses them."""

import asyncio
import json
import signal
import socket
from pathlib import Path

import pytest

from loaders.warehouse import Home, locked
from tests.webhooks.load import deliver, send_raw
from tests.webhooks.receiving import SECRET, Served, meterhouse, spooled


def test_without_a_secret_nothing_starts(tmp_path: Path) -> None:
    for secret in ({}, {"POLAR_WEBHOOK_SECRET": "  "}):
        done = meterhouse("webhooks", home=tmp_path, expect=2, **secret)
        assert done.stderr == (
            "error: POLAR_WEBHOOK_SECRET: no secret is set, and nothing unsigned is received. "
            "Set it to the secret that Polar shows for the webhook endpoint.\n"
        )


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {"POLAR_WEBHOOK_SECRET": SECRET, "METERHOUSE_WEBHOOKS_PORT": port}
        done = meterhouse("webhooks", home=tmp_path, expect=1, **settings)
    assert done.stderr.startswith(f"error: 127.0.0.1:{port}: cannot listen there (")
    assert "Choose another with --host or --port" in done.stderr
    assert SECRET not in done.stderr


def test_a_second_receiver_names_the_first(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Served(home) as served:
        done = meterhouse("webhooks", "--port", "0", home=home, expect=75, POLAR_WEBHOOK_SECRET=SECRET)
        assert f"process {served.process.pid} is working on this home folder" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """What is in flight is answered, the spool is sealed, the exit code is 0, and the log names no one."""
    home = tmp_path / "home"
    with Served(home) as served, locked(Home(home)):

        async def end() -> None:
            served.process.send_signal(number)

        async def work() -> set[int]:
            task = asyncio.ensure_future(deliver(300, lambda: served.port, 20, {60: end}))
            while served.process.poll() is None:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            task.cancel()
            return {int(found.webhook_id.removeprefix("msg_")) for found in spooled(home)}

        kept = asyncio.run(work())
        assert served.end() == 0
    assert len(kept) >= 60
    assert not list((home / "webhooks").glob("*.open"))
    log = served.log()
    assert log.count(" POST / 202 ") == len(kept)
    assert f"Ended: {len(kept)} stored, 0 duplicate, 0 refused. Land them with 'meterhouse run'." in log
    for secret in (SECRET, "person@example.com", "order_1", "msg_", "v1,"):
        assert secret not in log


def test_run_lands_what_came_and_status_says_what_waits(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def waiting() -> dict[str, int] | None:
        found: dict[str, int] | None = json.loads(meterhouse("status", "--format", "json", home=home).stdout)[
            "webhooks"
        ]
        return found

    with Served(home) as served:
        assert waiting() is None
        assert asyncio.run(deliver(3, lambda: served.port, 1, {})).acknowledged == {0, 1, 2}
        facts = waiting()
        assert facts is not None
        assert facts["segments"] == 1
        assert facts["bytes"] > 1000
        assert "webhooks   segments 1, bytes 1," in meterhouse("status", home=home).stdout
        done = meterhouse("run", home=home)
        assert "Read 3 webhooks: 3 landed, 0 duplicate, 0 conflict, 0 quarantined." in done.stderr
        assert waiting() is None
        assert "Nothing is new since the last build." in meterhouse("run", home=home).stderr
        assert asyncio.run(send_raw(served.port, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")) == 200
