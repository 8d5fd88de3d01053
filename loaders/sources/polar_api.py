"""Asking Polar's API: who asks, how fast, how often again. The official client makes the requests and signs them.

Its typed objects are not used: they refuse event names they do not know and drop fields. Raw answers are handed on.
"""

import ipaddress
import math
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from loaders.errors import ApiError, RefusedError, UsageError

SERVERS = ("production", "sandbox")
# What Polar allows a token by default.
REQUESTS_PER_MINUTE = {"production": 500, "sandbox": 100}
TOKEN = "POLAR_ACCESS_TOKEN"

_BURST = 10
_ATTEMPTS = 8
_FIRST_BACKOFF, _LARGEST_BACKOFF = 0.5, 30.0
# Longer than a run should sit and wait: then it says when to come back.
_LONGEST_RETRY_AFTER = 600.0
_TIMEOUT = 30.0

Query = dict[str, Any]
_Answer = TypeVar("_Answer")


class Access:
    """Which server is asked, and with which token. The token is in no representation of it."""

    def __init__(self, token: str, server: str, base_url: str | None = None) -> None:
        self.server = server
        self.base_url = base_url
        self._token = token

    def __repr__(self) -> str:
        return f"Access(server={self.server!r}, base_url={self.base_url!r})"

    def open_client(self, timeout: float) -> Any:
        """Return the official client's own sender of requests."""
        from polar.v2026_04.client import Polar  # half a second

        environment: Any = self.server
        return Polar(self._token, environment=environment, base_url=self.base_url, timeout=timeout).events.client

    def hide_token(self, text: str) -> str:
        """Return the text without the token, for an answer may repeat what it was asked with."""
        return text.replace(self._token, "***")


def is_configured(environment: Mapping[str, str]) -> bool:
    """Tell whether there is a token to ask with."""
    return any(value for name, value in environment.items() if name == TOKEN or name.startswith(f"{TOKEN}_"))


def read_access(
    environment: Mapping[str, str], server: str, base_url: str | None, organizations: list[str]
) -> dict[str | None, Access]:
    """Return the access of each organization; under None that of a token which is to tell its organizations itself.

    Raises UsageError where there is no token, or one that no request can carry. No message holds a token.
    """
    base_url = _checked_base_url(base_url or None)
    own = {
        name.removeprefix(f"{TOKEN}_").replace("_", "-").lower(): name
        for name, value in environment.items()
        if name.startswith(f"{TOKEN}_") and value
    }
    names: dict[str | None, str] = {}
    if organizations:
        names.update((organization, own.get(organization.lower(), TOKEN)) for organization in organizations)
    else:
        names.update(own)
        if environment.get(TOKEN):
            names[None] = TOKEN
    if not names:
        raise UsageError(f"{TOKEN}: not set. Make a token in Polar's settings and set it in the environment only.")
    # One for each token: what it may ask in a minute it may for all its organizations together.
    accesses = {name: Access(_checked_token(environment, name), server, base_url) for name in set(names.values())}
    return {who: accesses[name] for who, name in names.items()}


def _checked_token(environment: Mapping[str, str], name: str) -> str:
    token = environment.get(name, "").strip()
    if not token:
        raise UsageError(f"{name}: not set. Make a token in Polar's settings and set it in the environment only.")
    # A client that refuses a header says the header.
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise UsageError(f"{name}: holds a blank or a character that no token has. Copy the token again.")
    return token


def _checked_base_url(base_url: str | None) -> str | None:
    if base_url is None:
        return None
    try:
        parts = urlsplit(base_url)
        is_whole = bool(parts.hostname) and parts.scheme in ("http", "https") and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        is_whole = False
    if not is_whole or parts.username or parts.password:
        raise UsageError("POLAR_BASE_URL: no address of a server. Write it like https://api.polar.sh, or leave it out.")
    if parts.scheme == "http" and not _is_loopback(str(parts.hostname)):
        raise UsageError("POLAR_BASE_URL: http would show the token to the network. Write https.")
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class StoppedError(Exception):
    """Nobody awaits the answer any more."""


class Pace:
    """How fast one token may ask, whoever asks with it: a bucket of tokens that fills up as time goes by.

    In no minute are there more than `per_minute`, a burst at its beginning included.
    """

    def __init__(self, per_minute: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = min(_BURST, max(1, per_minute // 10))
        self._interval = 60.0 / (per_minute - self._burst + 1)
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = -math.inf

    def take(self) -> float:
        """Return how many seconds to wait before the next request may go; its place is taken."""
        with self._lock:
            now = self._clock()
            goes_at = max(self._free_at, now - (self._burst - 1) * self._interval)
            self._free_at = goes_at + self._interval
            return goes_at - now

    def hold(self, seconds: float) -> None:
        """Let no request go for so long: the server counts them by token, not by thread."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock() + seconds)


class _PassingError(Exception):
    """May be over when asked again."""

    def __init__(self, what: str, retry_after: float | None = None, *, is_limit: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after = retry_after
        self.is_limit = is_limit


class Api:
    """Asks one server with one token, again where that may help. Several threads may use it at once."""

    def __init__(
        self,
        access: Access,
        pace: Pace,
        *,
        timeout: float = _TIMEOUT,
        attempts: int = _ATTEMPTS,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.access = access
        self._pace = pace
        self._is_over = threading.Event()
        self._sleep = sleep or self._is_over.wait
        self._attempts = attempts
        self._timeout = timeout
        self._client = access.open_client(timeout)
        self._random = random.Random()
        self.answered_at: datetime | None = None
        """When the server last answered, by its own clock."""

    def __enter__(self) -> "Api":
        self._client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.__exit__(None, None, None)

    def stop(self) -> None:
        """Wait for nothing any more, in no thread."""
        self._is_over.set()

    def get(self, path: str, query: Query, read: Callable[[bytes], _Answer | None]) -> _Answer:
        """Return what `read` makes of the answer's bytes; None from it means that the answer is not whole.

        Raises RefusedError where asking again is of no use, ApiError where asking again did not help.
        """
        request = self._client.build_request("GET", path, query_params=query)
        started = time.monotonic()
        for attempt in range(1, self._attempts + 1):
            self._wait(self._pace.take())
            try:
                return self._ask(request, read)
            except _PassingError as error:
                failure = error
            if failure.retry_after is not None and failure.retry_after > _LONGEST_RETRY_AFTER:
                what = f"{failure.what} and asks to wait {failure.retry_after:,.0f} s. Run the same command after that"
                raise ApiError(f"{request.url}: {what}; what had arrived has landed.")
            if attempt < self._attempts:
                self._back_off(attempt, failure)
        what = f"{failure.what}, {self._attempts} times in {time.monotonic() - started:,.0f} s"
        advice = "Check the network and Polar's status page, then run the same command again"
        raise ApiError(f"{request.url}: {what}. {advice}; what had arrived has landed.")

    def _ask(self, request: Any, read: Callable[[bytes], _Answer | None]) -> _Answer:
        from polar import PolarNetworkError

        try:
            response = self._client.send_request(request)
        except PolarNetworkError as error:
            cause = error.__cause__ or error
            what = self.access.hide_token(str(cause)) or "no answer"
            # Not chained: the client's error holds the request with its headers.
            raise _PassingError(f"{type(cause).__name__} ({what})") from None
        self.answered_at = _http_date(response.headers.get("Date", "")) or self.answered_at
        status = response.status_code
        if status in (408, 425, 429) or status >= 500:
            raise _PassingError(f"Polar answered {status}", _retry_after(response.headers), is_limit=status == 429)
        if status != 200:
            raise RefusedError(self._refusal(request.url, status), status)
        answer = read(response.content)
        if answer is None:
            raise _PassingError(f"Polar's answer of {len(response.content):,} bytes is not whole")
        return answer

    def _wait(self, seconds: float) -> None:
        """Wait, but no longer than anybody is interested."""
        if seconds > 0:
            self._sleep(seconds)
        if self._is_over.is_set():
            raise StoppedError

    def _back_off(self, attempt: int, failure: _PassingError) -> None:
        """Wait before the next attempt; where all requests are too many, with all of them."""
        backoff = min(_LARGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (attempt - 1))
        seconds = max(failure.retry_after or 0.0, 0.0) + backoff * self._random.uniform(0.5, 1.0)
        if failure.is_limit:
            self._pace.hold(seconds)
        else:
            self._wait(seconds)

    def _refusal(self, url: object, status: int) -> str:
        kind = urlsplit(str(url)).path.strip("/").split("/")[1]
        advice = {
            401: f"The token is not valid on the {self.access.server} server: check {TOKEN} and --server",
            403: f"The token may not read this: give it the scope {kind}:read",
            404: "There is no such thing: check --organization-id, --server and POLAR_BASE_URL",
            422: "Polar does not take this request: check --organization-id",
        }.get(status, "Check POLAR_BASE_URL")
        return f"{url}: Polar answered {status}. {advice}."


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return float(text)
    instant = _http_date(text)
    return None if instant is None else max(0.0, (instant - datetime.now(UTC)).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        instant = parsedate_to_datetime(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else None
