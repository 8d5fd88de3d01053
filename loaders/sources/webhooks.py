"""The webhook receiver: verify, store, answer. What a delivery says is looked at when it lands, not here.

A delivery is answered with 202 only when the disk has it. One thread writes; all that waits while it does is the next
batch, so that many deliveries share one fsync. Whatever is sent, the answer is 2xx or 4xx; only a spool that cannot be
written makes a 503, after which Polar sends the delivery again.
"""

import asyncio
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import uvicorn
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loaders.sources.spool import Delivery, SegmentWriter, Spool, digest_of

BODY_BYTE_LIMIT = 1 << 20
_ID_LENGTH_LIMIT = 256
# As many webhook-ids are remembered, 16 bytes each. Of an older one the content is known when it lands.
_REMEMBERED = 100_000
# One batch of the writer; more waits for the next.
_BATCH_BYTES = 16 << 20
_BODY_SECONDS = 10.0
_SHUTDOWN_SECONDS = 10
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_PATHS = ("/", "/webhooks", "/healthz")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Verifier:
    """Tells whether a body was signed with one of the secrets within the last five minutes.

    The key is the UTF-8 text of the secret as Polar shows it; the library would decode a text, so it gets the bytes.
    """

    def __init__(self, secrets: list[str]) -> None:
        self._webhooks = [Webhook(secret.encode()) for secret in secrets]

    def accepts(self, body: bytes, headers: dict[str, str]) -> bool:
        """Return whether the signature holds. Raises nothing."""
        return any(self._holds(webhook, body, headers) for webhook in self._webhooks)

    @staticmethod
    def _holds(webhook: Webhook, body: bytes, headers: dict[str, str]) -> bool:
        try:
            webhook.verify(body, headers, json_parse=False)
        except Exception:  # noqa: BLE001  (hostile headers make it raise much more than its own error: all refuse)
            return False
        return True


class Committer:
    """The thread that writes. `store` returns when the disk has the delivery, and raises OSError where it refuses."""

    def __init__(self, spool: Spool, writer: SegmentWriter) -> None:
        self._writer = writer
        self._queue: queue.SimpleQueue[tuple[Delivery, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._known = dict.fromkeys(spool.known_digests(_REMEMBERED))
        self._underway: dict[bytes, asyncio.Future[None]] = {}
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self.is_failing = False

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, seal the segment, and end."""
        self._queue.put(None)
        self._thread.join()

    async def store(self, delivery: Delivery) -> bool:
        """Store a delivery and return True, or False where its webhook-id was stored before."""
        digest = digest_of(delivery.webhook_id)
        if digest in self._known:
            return False
        # A copy that comes meanwhile is answered when the first one is safe, not before.
        if (first := self._underway.get(digest)) is not None:
            await asyncio.shield(first)
            return False
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._underway[digest] = done
        done.add_done_callback(lambda future: self._settle(digest, future))
        self._queue.put((delivery, done))
        # A sender that hangs up must not make the others believe that nothing was stored.
        await asyncio.shield(done)
        return True

    def _settle(self, digest: bytes, done: "asyncio.Future[None]") -> None:
        del self._underway[digest]
        self.is_failing = done.exception() is not None
        if not self.is_failing:
            self._known[digest] = None
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]

    def _work(self) -> None:
        for batch in self._batches():
            failure: OSError | None = None
            try:
                if batch:
                    self._writer.append([delivery for delivery, _ in batch])
                else:
                    self._writer.seal_when_due()
            except OSError as error:
                failure = error
                _log(f"the spool cannot be written: {error.strerror}")
            if batch:
                futures = [future for _, future in batch]
                futures[0].get_loop().call_soon_threadsafe(_resolve, futures, failure)
        try:
            self._writer.close()
        except OSError as error:  # left open, it is sealed by the next run
            _log(f"the last segment could not be sealed: {error.strerror}")

    def _batches(self) -> Iterator[list[tuple[Delivery, "asyncio.Future[None]"]]]:
        """Yield all that waits, at once; an empty batch where nothing came for a second."""
        while True:
            batch: list[tuple[Delivery, asyncio.Future[None]]] = []
            size, is_last = 0, False
            try:
                item = self._queue.get(timeout=1)
                while item is not None:
                    batch.append(item)
                    size += len(item[0].body)
                    if size >= _BATCH_BYTES:
                        break
                    item = self._queue.get_nowait()
                is_last = item is None
            except queue.Empty:
                pass
            yield batch
            if is_last:
                return


def _resolve(futures: list["asyncio.Future[None]"], failure: OSError | None) -> None:
    for future in futures:
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)


class Receiver:
    """The ASGI application and its counts."""

    def __init__(self, spool: Spool, verifier: Verifier, committer: Committer, *, log: bool = True) -> None:
        self._spool = spool
        self._verifier = verifier
        self._committer = committer
        self.counts = {"stored": 0, "duplicate": 0, "refused": 0}
        routes = [
            Route("/", self._receive, methods=["POST"]),
            Route("/webhooks", self._receive, methods=["POST"]),
            Route("/healthz", self._health, methods=["GET"]),
        ]
        application = Starlette(routes=routes, exception_handlers={HTTPException: self._refuse})
        application.router.redirect_slashes = False
        self.application: ASGIApp = _logged(application) if log else application

    async def _receive(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await _read_body(request)
        except TimeoutError as error:
            raise HTTPException(408, "the body did not arrive in time") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "the body ended before its end") from error
        headers = {name: request.headers.get(name, "") for name in _HEADERS}
        if len(headers["webhook-id"]) > _ID_LENGTH_LIMIT or not self._verifier.accepts(body, headers):
            raise HTTPException(403, "the signature is missing, wrong or too old")
        try:
            is_new = await self._committer.store(Delivery(headers["webhook-id"], body, datetime.now(UTC)))
        except OSError:
            return PlainTextResponse("the delivery cannot be stored now; send it again\n", 503)
        self.counts["stored" if is_new else "duplicate"] += 1
        return PlainTextResponse("stored\n" if is_new else "known\n", 202)

    async def _health(self, _: Request) -> Response:
        waiting = self._spool.facts()
        is_failing = self._committer.is_failing
        facts = {"segments": waiting.segments, "bytes": waiting.bytes}
        status = {"status": "failing" if is_failing else "ok", **self.counts, "waiting": facts}
        return JSONResponse(status, 503 if is_failing else 200)

    async def _refuse(self, _: Request, error: Exception) -> Response:
        self.counts["refused"] += 1
        if not isinstance(error, HTTPException):
            raise error
        # The rest of a body that nobody reads must not be taken for the next request.
        headers = {**(error.headers or {}), "connection": "close"}
        return PlainTextResponse(f"{error.detail}\n", error.status_code, headers=headers)


async def _read_body(request: Request) -> bytes:
    """Return the body. Raises HTTPException as soon as it is known to be too large."""
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise HTTPException(400, "content-length is no number")
    # Compared by its length first: Python refuses to read a number of thousands of digits.
    too_large = HTTPException(413, f"the body is larger than {BODY_BYTE_LIMIT} bytes")
    if len(length.lstrip("0")) > 9 or int(length.lstrip("0") or 0) > BODY_BYTE_LIMIT:
        raise too_large
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > BODY_BYTE_LIMIT:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


def _logged(application: ASGIApp) -> ASGIApp:
    """Write one line a request: what was asked and answered, never what was sent."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 0

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await application(scope, receive, note)
        finally:
            if scope["type"] == "http":
                method = scope["method"] if scope["method"] in _METHODS else "-"
                path = scope["path"] if scope["path"] in _PATHS else "-"
                _log(f"{method} {path} {status} {(time.perf_counter() - began) * 1000:.1f} ms")

    return run


def _log(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {text}\n")


class _Server(uvicorn.Server):
    """A server that ends by itself on a signal: uvicorn raises it again, which would end us before the spool is."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(spool: Spool, secrets: list[str], listener: socket.socket, *, on_ready: Callable[[], Any]) -> dict[str, int]:
    """Receive until SIGTERM or SIGINT, then answer what is in flight, seal the spool, and return the counts.

    Raises LockedError where another receiver works on the spool, HomeError where it cannot be read.
    """
    with spool.receiving():
        committer = Committer(spool, SegmentWriter(spool))
        receiver = Receiver(spool, Verifier(secrets), committer)
        server = _Server(_configuration(receiver.application))
        committer.start()
        try:
            on_ready()
            asyncio.run(server.serve(sockets=[listener]))
        finally:
            committer.stop()
        return receiver.counts


def _configuration(application: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        # By name, so that what else is installed does not change who reads hostile bytes.
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=1024,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
