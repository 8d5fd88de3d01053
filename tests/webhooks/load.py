"""Deliveries sent over real sockets as Polar sends them: again and again until they are answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.webhooks.receiving import order_paid, signed

_ATTEMPT_SECONDS = 20.0


@dataclass
class Sent:
    """What became of the deliveries: answered 202, and how long each answer took."""

    acknowledged: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    other: list[int] = field(default_factory=list)


async def send_raw(port: int, request: bytes) -> int | None:
    """Send bytes and return the status that comes back, or None where the connection is closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        line = await reader.readline()
        return int(line.split()[1]) if line else None
    finally:
        writer.close()


def request_of(number: int) -> bytes:
    body = order_paid(number)
    headers = {"host": "localhost", "content-length": str(len(body)), **signed(body, f"msg_{number}")}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body


async def deliver(
    count: int, port: Callable[[], int], concurrency: int, after: dict[int, Callable[[], Awaitable[None]]]
) -> Sent:
    """Deliver numbers below `count`; when so many are acknowledged as `after` says, do what it says."""
    sent, waiting = Sent(), asyncio.Queue[int]()
    for number in range(count):
        waiting.put_nowait(number)
    disturbances: list[asyncio.Future[None]] = []

    async def work() -> None:
        while not waiting.empty():
            number = waiting.get_nowait()
            began = time.perf_counter()
            try:
                async with asyncio.timeout(_ATTEMPT_SECONDS):
                    status = await send_raw(port(), request_of(number))
            except (OSError, TimeoutError):
                status = None
            if status == 202:
                sent.seconds.append(time.perf_counter() - began)
                sent.acknowledged.add(number)
                if (disturb := after.pop(len(sent.acknowledged), None)) is not None:
                    disturbances.append(asyncio.ensure_future(disturb()))
                continue
            if status is not None:
                sent.other.append(status)
            waiting.put_nowait(number)
            await asyncio.sleep(0.02)

    await asyncio.gather(*(work() for _ in range(concurrency)))
    await asyncio.gather(*disturbances)
    return sent
