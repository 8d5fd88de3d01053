"""Polar's list API on loopback, as documented: exclusive bounds in milliseconds, ties in any order, pages that may be
short, lists that move while they are read, and whatever goes wrong between a server and its client."""

import functools
import json
import random
import threading
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sync import payloads

TOKEN = "polar_oat_canary-7d1f"
SORTINGS = {"events": "timestamp", "subscriptions": "started_at"}
SPANS = {"events": ("start_timestamp", "end_timestamp"), "orders": ("created_after", "created_before")}
FAULTS = ("429", "429=7", "500", "503", "cut", "cut-silently", "hang-up", "silence", "no-json")
KINDS = ("products", "meters", "customers", "subscriptions", "refunds", "orders", "events")


class FakePolar:
    """A server with one organization's records. `texts[kind][id]` is what it serves; all else is a knob of a test."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.lock = threading.RLock()
        self.texts: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
        self.hidden: set[str] = set()
        self.silence = 0.4
        self.is_over = threading.Event()
        self.repeated: set[str] = set()
        self.token = TOKEN
        self.organization = payloads.ORGANIZATION
        self.requests: list[tuple[str, dict[str, list[str]]]] = []
        self.headers: list[dict[str, str]] = []
        self.date: str | None = None
        """What the server's clock shows, as HTTP writes it; None: it does not say."""
        self.fault: Callable[[str], str | None] = lambda target: None
        self.before: Callable[[int], None] = lambda number: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakePolar":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def put(self, kind: str, payload: dict[str, Any], *, unknown_field: bool = False) -> str:
        """Serve the payload, in place of an older one of its id."""
        with self.lock:
            self.texts[kind][payload["id"]] = payloads.text_of(payload, unknown_field=unknown_field)
        return payload["id"]

    def visible(self, kind: str) -> dict[str, str]:
        """Return what the list of this kind shows."""
        with self.lock:
            return {key: text for key, text in self.texts[kind].items() if key not in self.hidden}

    def answer(self, target: str) -> tuple[int, bytes]:
        """Return the status and the body for a request."""
        parts, query = urlsplit(target), parse_qs(urlsplit(target).query)
        _, _, kind, *rest = parts.path.split("/")
        with self.lock:
            if kind == "organizations":
                return 200, _page([json.dumps({"id": self.organization})], 1, 1)
            if rest and rest[0]:
                text = self.visible(kind).get(rest[0])
                return (200, text.encode()) if text else (404, b'{"error": "ResourceNotFound"}')
            return self._list(kind, query)

    def _list(self, kind: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        assert query["organization_id"] == [self.organization]
        field = SORTINGS.get(kind, "created_at")
        assert query["sorting"] == [field], "the order of the list must be asked for"
        limit, page = min(int(query["limit"][0]), 100), int(query["page"][0])
        rows = []
        for key, text in self.visible(kind).items():
            instant = _instant(text, field)
            if self._is_within(kind, instant, query):
                # Nothing breaks a tie: each request may see another order.
                rows += [(instant, self.random.random(), key, text)] * (2 if key in self.repeated else 1)
        rows.sort()
        # A row that is there twice makes the page short that shows both.
        shown = {key: text for _, _, key, text in rows[(page - 1) * limit : page * limit]}
        return 200, _page(list(shown.values()), len(rows), -(-len(rows) // limit))

    def _is_within(self, kind: str, instant: datetime, query: dict[str, list[str]]) -> bool:
        after, before = (query.get(name) for name in SPANS.get(kind, ("", "")))
        precision = _milliseconds if kind == "events" else datetime.timestamp
        return (after is None or precision(instant) > precision(datetime.fromisoformat(after[0]))) and (
            before is None or precision(instant) < precision(datetime.fromisoformat(before[0]))
        )


@functools.cache
def _instant(text: str, field: str) -> datetime:
    return datetime.fromisoformat(json.loads(text)[field])


def _milliseconds(instant: datetime) -> float:
    return instant.timestamp() * 1000 // 1


def _page(items: list[str], total: int, last: int) -> bytes:
    return f'{{"items": [{", ".join(items)}], "pagination": {{"total_count": {total}, "max_page": {last}}}}}'.encode()


def _handler(polar: FakePolar) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            with polar.lock:
                parts = urlsplit(self.path)
                polar.requests.append((parts.path, parse_qs(parts.query)))
                polar.headers.append(dict(self.headers))
                number = len(polar.requests)
                polar.before(number)
            if self.headers.get("Authorization") != f"Bearer {polar.token}":
                # As careless as a server can be: it repeats the token.
                self._send(401, f'{{"error": "invalid_token", "got": "{self.headers["Authorization"]}"}}'.encode())
                return
            with polar.lock:
                fault = polar.fault(self.path)
            if fault is not None:
                self._fail(fault)
            else:
                self._send(*polar.answer(self.path))

        def _fail(self, fault: str) -> None:
            if fault.startswith("429"):
                headers = {"Retry-After": fault.partition("=")[2]} if fault != "429" else {}
                self._send(429, b'{"error": "RateLimit"}', headers)
            elif fault == "no-json":
                self._send(200, b"<html>We will be back</html>")
            elif fault in ("cut", "cut-silently"):
                status, body = polar.answer(self.path)
                # Without a length, only the text shows that it is not whole.
                length = {"Content-Length": str(len(body))} if fault == "cut" else {}
                self._send(status, body[: len(body) * 2 // 3], {**length, "Connection": "close"}, is_whole=False)
            elif fault == "hang-up":
                self.close_connection = True
            elif fault == "silence":
                polar.is_over.wait(polar.silence)
                self.close_connection = True
            else:
                self._send(int(fault), b"Internal Server Error")

        def _send(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, *, is_whole: bool = True
        ) -> None:
            lines = {**({"Content-Length": str(len(body))} if is_whole else {}), **(headers or {})}
            lines |= {} if polar.date is None else {"Date": polar.date}
            head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            self.close_connection = lines.get("Connection") == "close"
            self.wfile.write(head.encode() + b"\r\n" + body)

        def log_message(self, format: str, *args: Any) -> None: ...

    return Handler
