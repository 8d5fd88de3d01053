"""A receiver in this process (ASGI, no socket) and one in a process of its own on loopback, and signed deliveries."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from loaders.sources.spool import SegmentWriter, Spool, decode_segment
from loaders.sources.webhooks import Committer, Receiver, Verifier
from tests.parsed_project import shared_parse

ROOT = Path(__file__).resolve().parents[2]
SECRET = "polar_whs_correct_horse_battery"
Headers = dict[str, str]


def order_paid(number: int | str, **fields: Any) -> bytes:
    """Return the body of an order.paid webhook."""
    order = {
        "id": f"order_{number}",
        "billing_reason": "subscription_cycle",
        "currency": "usd",
        "created_at": "2026-01-01T00:00:00Z",
        "modified_at": "2026-01-02T00:00:00Z",
        "customer_id": "c_1",
        "subscription_id": "s_1",
        "customer": {"id": "c_1", "organization_id": "org_1", "email": "person@example.com"},
        **fields,
    }
    return json.dumps({"type": "order.paid", "timestamp": "2026-01-03T00:00:00Z", "data": order}).encode()


def signed(body: bytes, webhook_id: str = "msg_1", *, secret: str = SECRET, age: float = 0) -> Headers:
    """Return the headers that Polar sends with a body."""
    at = datetime.now(UTC) - timedelta(seconds=age)
    signature = Webhook(secret.encode()).sign(webhook_id, at, body.decode())
    stamp = str(int(at.timestamp()))
    return {"webhook-id": webhook_id, "webhook-timestamp": stamp, "webhook-signature": signature}


async def ask(
    application: Any,
    method: str,
    path: str,
    headers: Any = (),
    pieces: tuple[bytes, ...] = (b"",),
    hang_up: bool = False,
) -> tuple[int, bytes]:
    """Send one request into an ASGI application and return the answer."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    parts = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    parts[-1]["more_body"] = hang_up
    parts.append({"type": "http.disconnect"})
    incoming = iter(parts)
    answer: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        part = next(incoming, None)
        if part is None:
            await asyncio.Event().wait()
        return part  # type: ignore[return-value]

    async def send(message: dict[str, Any]) -> None:
        answer.append(message)

    await application(scope, receive, send)
    return answer[0]["status"], b"".join(message.get("body", b"") for message in answer[1:])


class InProcess:
    """A receiver without a socket, over a home folder."""

    def __init__(self, home: Path, *, secrets: tuple[str, ...] = (SECRET,), **writer: Any) -> None:
        self.home = home
        self.spool = Spool(home)
        self._secrets = list(secrets)
        self._writer = writer

    @contextlib.contextmanager
    def running(self) -> Iterator[Any]:
        with self.spool.receiving():
            committer = Committer(self.spool, SegmentWriter(self.spool, **self._writer))
            committer.start()
            try:
                yield Receiver(self.spool, Verifier(self._secrets), committer, log=False).application
            finally:
                committer.stop()

    def ask(self, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        with self.running() as application:
            return asyncio.run(ask(application, *arguments, **options))

    def post(self, body: bytes, headers: Any, path: str = "/", **options: Any) -> int:
        return self.ask("POST", path, headers, (body,), **options)[0]

    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in spooled(self.home)]


def spooled(home: Path) -> list[Any]:
    """Return the deliveries that wait in a home's spool, oldest first."""
    segments = sorted(path for path in (home / "webhooks").glob("*") if path.suffix in (".open", ".segment"))
    return [delivery for path in segments for delivery in decode_segment(path.read_bytes())[0]]


class Served:
    """`meterhouse webhooks` in a process of its own."""

    def __init__(self, home: Path, *arguments: str, secret: str = SECRET) -> None:
        environment = {**os.environ, "POLAR_WEBHOOK_SECRET": secret}
        command = [sys.executable, "-m", "loaders.cli", "--home", str(home), "webhooks", "--port", "0", *arguments]
        self._log = home.parent / "receiver.log"
        with self._log.open("ab") as log:
            before = log.tell()
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        self.port = self._await_port(before)

    def _await_port(self, before: int) -> int:
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while datetime.now(UTC) < deadline and self.process.poll() is None:
            if found := re.search(rb"Receiving webhooks at http://127\.0\.0\.1:(\d+)", self._log.read_bytes()[before:]):
                return int(found[1])
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        self.end(signal.SIGKILL)
        raise AssertionError(self.log())

    def log(self) -> str:
        return self._log.read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)


def meterhouse(*arguments: str | Path, home: Path, expect: int = 0, **environment: str) -> Any:
    """Run the command line in a process of its own and check its exit code."""
    command = [sys.executable, "-m", "loaders.cli", "--home", str(home), *map(str, arguments)]
    settings = {name: value for name, value in os.environ.items() if name != "POLAR_WEBHOOK_SECRET"}
    with shared_parse(home, arguments):
        done = subprocess.run(
            command, cwd=ROOT, env={**settings, **environment}, capture_output=True, text=True, timeout=600
        )
    assert done.returncode == expect, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
