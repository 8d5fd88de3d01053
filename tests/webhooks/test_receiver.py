"""What is received, what is refused and why, and what is kept."""

import asyncio
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loaders.sources import webhooks
from loaders.sources.spool import Delivery, SegmentWriter, Spool
from loaders.sources.webhooks import BODY_BYTE_LIMIT, Committer, Verifier
from tests.webhooks.receiving import SECRET, InProcess, ask, order_paid, signed, spooled

BODY = order_paid(1)


@pytest.mark.parametrize("path", ["/", "/webhooks"])
def test_signed_delivery_is_kept_as_it_came_and_answered_202(receiver: InProcess, path: str) -> None:
    body = b'{"type": "a.type.nobody.knows",\r\n "data": {}}\n'
    assert receiver.post(body, signed(body), path) == 202
    assert receiver.bodies() == [body]
    (segment,) = (receiver.home / "webhooks").glob("*.segment")
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600


def changed(name: str, value: str) -> dict[str, str]:
    return {**signed(BODY), name: value}


def without(left_out: str) -> dict[str, str]:
    return {name: value for name, value in signed(BODY).items() if name != left_out}


# Made when the test runs: what is five minutes old by then would be refused for that alone.
REFUSED: dict[str, Callable[[], dict[str, str]]] = {
    "no headers": dict,
    "no signature": lambda: without("webhook-signature"),
    "no id": lambda: without("webhook-id"),
    "no timestamp": lambda: without("webhook-timestamp"),
    "another body": lambda: signed(BODY + b" "),
    "another id": lambda: changed("webhook-id", "msg_2"),
    "another secret": lambda: signed(BODY, secret="polar_whs_another"),
    "six minutes old": lambda: signed(BODY, age=360),
    "six minutes ahead": lambda: signed(BODY, age=-360),
    "an id without end": lambda: signed(BODY, "x" * 300),
    "a signature without a comma": lambda: changed("webhook-signature", "v1"),
    "a signature of commas": lambda: changed("webhook-signature", ",,,"),
    "a signature that is no base64": lambda: changed("webhook-signature", "v1,%%%"),
    "a signature beyond ASCII": lambda: changed("webhook-signature", "v1,é"),
    "another version": lambda: changed("webhook-signature", signed(BODY)["webhook-signature"].replace("v1,", "v2,")),
    "a timestamp that is no number": lambda: changed("webhook-timestamp", "nan"),
    "a timestamp beyond time": lambda: changed("webhook-timestamp", "9" * 400),
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_wrong_signature_is_403_and_keeps_nothing(receiver: InProcess, headers: Callable[[], dict[str, str]]) -> None:
    assert receiver.post(BODY, headers()) == 403
    assert receiver.bodies() == []


def test_the_key_is_the_secret_as_it_is_shown_and_not_what_it_decodes_to(tmp_path: Path) -> None:
    receiver = InProcess(tmp_path, secrets=("whsec_cG9sYXI=",))
    assert receiver.post(BODY, signed(BODY, secret="polar")) == 403
    assert receiver.post(BODY, signed(BODY, secret="whsec_cG9sYXI=")) == 202


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"", b"no json"], ids=range(5)
)
def test_body_is_not_read_before_it_lands(receiver: InProcess, body: bytes) -> None:
    """What is signed is kept, however odd; bytes that are no UTF-8 text cannot be signed at all."""
    is_text = body != b"\xff\xfe"
    headers = signed(body) if is_text else signed(b"a")
    assert receiver.post(body, headers) == (202 if is_text else 403)
    assert receiver.bodies() == ([body] if is_text else [])


def test_each_of_several_secrets_is_accepted(tmp_path: Path) -> None:
    receiver = InProcess(tmp_path, secrets=("old", "new"))
    assert [receiver.post(BODY, signed(BODY, name, secret=name)) for name in ("old", "new", "next")] == [202, 202, 403]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 405),
        ("PUT", "/webhooks", {}, 405),
        ("\x00", "/", {}, 405),
        ("POST", "/healthz", {}, 405),
        ("POST", "/webhooks/", {}, 404),
        ("GET", "/..%2fhealthz", {}, 404),
        ("POST", "/", {"content-length": "-1"}, 400),
        ("POST", "/", {"content-length": "two"}, 400),
        ("POST", "/", {"content-length": "²"}, 400),
        ("POST", "/", {"content-length": "9" * 5000}, 413),
        ("POST", "/", {"content-length": str(BODY_BYTE_LIMIT + 1)}, 413),
    ],
)
def test_wrong_request_is_4xx(
    receiver: InProcess, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert receiver.ask(method, path, {**signed(b""), **headers})[0] == status
    assert receiver.bodies() == []


def test_body_is_capped_while_it_is_read(receiver: InProcess) -> None:
    full, more = b"x" * BODY_BYTE_LIMIT, (b"x" * (BODY_BYTE_LIMIT - 1), b"xx", b"never read")
    assert receiver.ask("POST", "/", signed(full), (full,))[0] == 202
    assert receiver.ask("POST", "/", signed(full, "msg_2"), more)[0] == 413
    assert receiver.bodies() == [full]


def test_body_that_ends_early_or_never_is_4xx(receiver: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    assert receiver.post(BODY, signed(BODY), hang_up=True) == 400
    monkeypatch.setattr(webhooks, "_BODY_SECONDS", 0)
    assert receiver.post(BODY, signed(BODY)) in (202, 408)
    with receiver.running() as application:

        async def never() -> Any:
            await asyncio.Event().wait()

        answer: list[Any] = []

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "root_path": ""}
        asyncio.run(application(scope, never, send))
        assert answer[0]["status"] == 408


def test_health_says_counts_and_no_secret(receiver: InProcess) -> None:
    async def work(application: Any) -> tuple[int, bytes]:
        await ask(application, "POST", "/", signed(BODY), (BODY,))
        await ask(application, "POST", "/", signed(BODY), (BODY,))
        await ask(application, "POST", "/", {}, (BODY,))
        return await ask(application, "GET", "/healthz")

    with receiver.running() as application:
        status, body = asyncio.run(work(application))
    assert status == 200
    assert body.startswith(b'{"status":"ok","stored":1,"duplicate":1,"refused":1,"waiting":{"segments":1,"bytes":')
    assert SECRET.encode() not in body


def test_replay_is_answered_and_kept_once_also_after_a_restart(receiver: InProcess) -> None:
    async def twice(application: Any) -> list[tuple[int, bytes]]:
        same = [ask(application, "POST", "/", signed(BODY), (BODY,)) for _ in range(2)]
        return [*await asyncio.gather(*same), await ask(application, "POST", "/", signed(BODY), (BODY,))]

    with receiver.running() as application:
        assert asyncio.run(twice(application)) == [(202, b"stored\n"), (202, b"known\n"), (202, b"known\n")]
    assert receiver.ask("POST", "/", signed(BODY, age=60), (BODY,)) == (202, b"known\n")
    (segment,) = receiver.spool.seal_all()
    receiver.spool.remove(segment)
    assert receiver.ask("POST", "/", signed(BODY), (BODY,)) == (202, b"known\n")
    assert receiver.bodies() == []


def test_memory_of_ids_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_REMEMBERED", 10)
    spool = Spool(tmp_path)
    spool.ensure()
    committer = Committer(spool, SegmentWriter(spool))
    committer.start()

    async def store() -> list[bool]:
        numbers = [*range(30), 29, 0]
        return [await committer.store(Delivery(f"msg_{n}", b"{}", datetime.now(UTC))) for n in numbers]

    stored = asyncio.run(store())
    committer.stop()
    assert stored == [True] * 30 + [False, True]
    assert len(committer._known) == 10


class Disk(SegmentWriter):
    """A writer whose disk is full for its first batch."""

    def __init__(self, spool: Spool) -> None:
        super().__init__(spool)
        self.batches: list[int] = []
        self.may_write = threading.Event()

    def append(self, deliveries: list[Delivery]) -> None:
        self.may_write.wait(10)
        self.batches.append(len(deliveries))
        if len(self.batches) == 1:
            raise OSError(28, "No space left on device")
        super().append(deliveries)


def test_full_disk_is_503_and_the_next_attempt_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.ensure()
    disk = Disk(spool)
    disk.may_write.set()
    committer = Committer(spool, disk)
    application = webhooks.Receiver(spool, Verifier([SECRET]), committer, log=False).application
    committer.start()

    async def work() -> list[int]:
        post = ("POST", "/", signed(BODY), (BODY,))
        health = ("GET", "/healthz")
        return [(await ask(application, *request))[0] for request in (post, health, post, health)]

    assert asyncio.run(work()) == [503, 503, 202, 200]
    committer.stop()
    assert [delivery.body for delivery in spooled(tmp_path)] == [BODY]


def test_deliveries_that_wait_share_one_fsync(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.ensure()
    disk = Disk(spool)
    disk.batches.append(0)
    committer = Committer(spool, disk)
    committer.start()

    async def work() -> None:
        deliveries = [Delivery(f"msg_{n}", b"{}", datetime.now(UTC)) for n in range(50)]
        stored = [asyncio.ensure_future(committer.store(delivery)) for delivery in deliveries]
        await asyncio.sleep(0.1)
        disk.may_write.set()
        await asyncio.gather(*stored)

    asyncio.run(work())
    committer.stop()
    assert sum(disk.batches) == 50
    assert len(disk.batches) <= 4
