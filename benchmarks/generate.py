"""Writes usage events as an export has them: LLM calls, API calls, storage; most submitted, some recorded."""

import json
import random
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

ORGANIZATION = "0f8fad5b-d9cb-469f-a165-70867728950e"
RECORDED_SHARE = 0.1
_STARTED_AT = datetime(2026, 1, 1)
# However many events: none lies in the future, where a submission would be refused.
_DURATION = timedelta(days=180)
_CHUNK = 20_000


def write_events(path: Path, count: int, *, seed: int) -> Path:
    """Write `count` events to `path`, or leave what an earlier run wrote. Another seed gives other keys."""
    if path.exists():
        return path
    chance = random.Random(seed)
    unfinished = path.with_suffix(".part")
    with unfinished.open("w") as file:
        for start in range(0, count, _CHUNK):
            lines = [_line(chance, seed, number, count) for number in range(start, min(count, start + _CHUNK))]
            file.write("\n".join(lines) + "\n")
    return unfinished.rename(path)


def _line(chance: random.Random, seed: int, number: int, count: int) -> str:
    name, metadata = chance.choices((_llm_call, _api_call, _storage), (2, 5, 3))[0](chance)
    occurred_at = (_STARTED_AT + _DURATION * (number / count)).isoformat(timespec="milliseconds") + "Z"
    customer = f"customer_{chance.randrange(20_000)}"
    if chance.random() < RECORDED_SHARE:
        event_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        event = _recorded(event_id, name, occurred_at, customer, metadata)
    else:
        event = {
            "name": name,
            "external_customer_id": customer,
            "external_id": f"{seed}-{number:09d}",
            "timestamp": occurred_at,
            "organization_id": ORGANIZATION,
            "metadata": metadata,
        }
    return json.dumps(event, separators=(",", ":"))


def _recorded(event_id: str, name: str, occurred_at: str, customer: str, metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": event_id,
        "timestamp": occurred_at,
        "organization_id": ORGANIZATION,
        "customer_id": None,
        "customer": None,
        "external_customer_id": customer,
        "child_count": 0,
        "parent_id": None,
        "label": name,
        "source": "user",
        "name": name,
        "metadata": metadata,
    }


def _llm_call(chance: random.Random) -> tuple[str, dict[str, Any]]:
    read, written = chance.randrange(9000), chance.randrange(2000)
    cost = (read + 4 * written) / 1e5
    return "llm.completion", {
        "_cost": {"amount": cost if chance.random() < 0.5 else f"{cost:.8f}", "currency": "usd"},
        "_llm": {
            "vendor": "openai",
            "model": chance.choice(("gpt-5-mini", "gpt-5", "o4")),
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
        },
    }


def _api_call(chance: random.Random) -> tuple[str, dict[str, Any]]:
    route, status = chance.choice(("/v1/search", "/v1/files", "/v1/chat")), chance.choice((200, 200, 200, 404))
    return "api.call", {"route": route, "status": status, "latency_ms": round(chance.random() * 300, 2)}


def _storage(chance: random.Random) -> tuple[str, dict[str, Any]]:
    return "storage.sampled", {
        "gib_hours": round(chance.random() * 50, 4),
        "region": chance.choice(("eu", "us")),
        "billable": chance.random() < 0.9,
    }
