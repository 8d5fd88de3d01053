"""Whatever is sent, the answer is 2xx or 4xx, and nothing unsigned is kept."""

import asyncio
import random
import string
from pathlib import Path
from typing import Any

import pytest

from tests.webhooks.load import request_of, send_raw
from tests.webhooks.receiving import InProcess, Served, ask, order_paid, signed, spooled

SEED = 20260601


class Chance(random.Random):
    """Dealer of requests, most of them nearly right."""

    def text(self, limit: int = 40) -> str:
        alphabet = self.choice(
            [string.ascii_letters, string.printable, "v1,= /.\x00%", "éÿ\x80\x7f", "0123456789-+.eE"]
        )
        return "".join(self.choice(alphabet) for _ in range(self.randrange(limit)))

    def body(self) -> bytes:
        kind = self.randrange(6)
        if kind == 0:
            return self.randbytes(self.randrange(200))
        if kind == 1:
            return self.choice([b"[", b'{"a":', b'"\\u']) * self.randrange(3000)
        if kind == 2:
            return b'{"type": "order.paid", "data": ' + b"9" * self.randrange(6000) + b"}"
        if kind == 3:
            return self.mutated(order_paid(self.randrange(50)))
        return order_paid(self.randrange(50))

    def mutated(self, raw: bytes) -> bytes:
        content = bytearray(raw)
        for _ in range(self.randrange(1, 6)):
            at = self.randrange(len(content))
            piece = self.randbytes(self.randrange(4))
            content[at : at + self.randrange(4)] = piece
        return bytes(content)

    def headers(self, body: bytes) -> list[tuple[str, str]]:
        is_text = body.decode("utf-8", "ignore").encode() == body
        pairs = list(signed(body if is_text else b"", f"msg_{self.randrange(100)}").items())
        if self.random() < 0.7:
            at = self.randrange(len(pairs))
            pairs[at] = (pairs[at][0], self.choice([self.text(), self.text(3000), pairs[at][1][:-1], pairs[at][1] * 2]))
        if self.random() < 0.3:
            pairs.append((self.choice(["content-length", "transfer-encoding", "webhook-id", "expect"]), self.text()))
        self.shuffle(pairs)
        return pairs


@pytest.mark.parametrize("count", [450, pytest.param(9000, marks=pytest.mark.slow)])
def test_fuzzed_requests_are_answered_2xx_or_4xx(receiver: InProcess, count: int) -> None:
    chance = Chance(SEED)
    statuses: dict[int, int] = {}

    async def work(application: Any) -> None:
        for _ in range(count):
            body = chance.body()
            method = chance.choice(["POST"] * 8 + ["GET", chance.text(8) or "PUT"])
            path = chance.choice(["/"] * 6 + ["/webhooks", "/healthz", "/" + chance.text()])
            cut = chance.randrange(len(body) + 1)
            hangs_up = chance.random() < 0.05
            status, _ = await ask(
                application, method, path, chance.headers(body), (body[:cut], body[cut:]), hang_up=hangs_up
            )
            assert 200 <= status < 300 or 400 <= status < 500, (status, method, path)
            statuses[status] = statuses.get(status, 0) + 1

    with receiver.running() as application:
        asyncio.run(work(application))
    assert statuses[202] > count / 50
    assert statuses[403] > count / 5
    assert {400, 404, 405} <= set(statuses)
    kept = spooled(receiver.home)
    assert 0 < len(kept) == len({delivery.webhook_id for delivery in kept})


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_fuzzed_bytes_on_a_socket_are_answered_2xx_or_4xx(tmp_path: Path, count: int) -> None:
    """A request that never ends is closed without an answer; everything else has one."""
    chance = Chance(SEED)

    async def one(port: int, raw: bytes) -> int | None:
        try:
            async with asyncio.timeout(0.5):
                return await send_raw(port, raw)
        except (TimeoutError, ConnectionError):
            return None

    async def work(port: int) -> list[int | None]:
        answers: list[int | None] = []
        for start in range(0, count, 25):
            batch = []
            for number in range(start, min(start + 25, count)):
                raw = request_of(number)
                batch.append(one(port, raw if number % 10 == 0 else chance.mutated(raw)))
            answers += await asyncio.gather(*batch)
        return answers

    with Served(tmp_path / "home") as served:
        answers = asyncio.run(work(served.port))
        assert asyncio.run(send_raw(served.port, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")) == 200
        assert served.end() == 0
    assert all(answer is None or 200 <= answer < 300 or 400 <= answer < 500 for answer in answers), answers
    assert {202, 400, 403} <= set(answers)
    assert "Traceback" not in served.log()
