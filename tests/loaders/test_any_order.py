"""The same records in any order, however split, joined and packed, land as the same rows."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from conftest import Landing

pytestmark = pytest.mark.filterwarnings("error")

ORDER = {"billing_reason": "purchase", "currency": "usd", "created_at": "2026-01-01T00:00:00Z"}
TABLES = {
    "events": "organization_id, record_key, shape, source, payload",
    "event_rereads": "organization_id, record_key, payload",
    "resources": "organization_id, kind, resource_id, content_hash, modified_at, webhook_type, webhook_at, payload",
    "quarantine": "organization_id, kind, reason_code, field, message, found, sha256, payload",
}


def some_records() -> list[dict[str, Any]]:
    """Records of every kind of key; no two contradict each other, and none is known by its file alone."""
    owner = {"organization_id": "org_1", "external_customer_id": "c"}
    timed = {"name": "call", "timestamp": "2026-01-01T00:00:00Z", **owner}
    events: list[dict[str, Any]] = [{"name": "call", "external_id": str(n), **owner} for n in range(30)]
    events += [{**timed, "metadata": {"units": n}} for n in range(20)]
    events += [{"id": f"e_{n}", "source": "user", **timed, "metadata": {"n": n / 8}} for n in range(30)]
    objects = [{"id": f"o_{n}", "organization_id": "org_1", **ORDER, "total_amount": n} for n in range(20)]
    objects += [{**order, "modified_at": "2026-01-02T00:00:00Z", "total_amount": 1} for order in objects[:5]]
    bad = [{"name": "", "n": n, **owner, "timestamp": "2026-01-31"} for n in range(5)] + [{"hello": "world"}]
    return [*events, *objects, *bad]


def lines(records: list[str]) -> str:
    return "\n".join(records)


def joined(records: list[str]) -> str:
    return f"[{', '.join(records)}]"


def page(records: list[str]) -> str:
    return f'{{"items": {joined(records)}, "pagination": {{"total_count": {len(records)}, "max_page": 1}}}}'


def lists_and_lines(records: list[str]) -> str:
    return "\r\n\r\n".join([joined(records[:3]), *records[3:5], page(records[5:])])


def pretty(records: list[str]) -> str:
    return "[\n  " + ",\n  ".join(records) + "\n]\n"


def zstd(content: bytes) -> bytes:
    return bytes(pyarrow.Codec("zstd").compress(content, asbytes=True))


FORMS = (lines, joined, page, lists_and_lines, pretty)
PACKINGS = (bytes, gzip.compress, zstd, b"\xef\xbb\xbf".__add__)


def scatter(records: list[str], folder: Path, seed: int) -> Path:
    """Write the records in another order into files of other sizes, forms and packings; some of them twice."""
    chosen = random.Random(seed)
    shuffled = records + chosen.sample(records[:30], 10)
    chosen.shuffle(shuffled)
    folder.mkdir(parents=True)
    number = 0
    while shuffled:
        size = chosen.randrange(1, 40)
        some, shuffled = shuffled[:size], shuffled[size:]
        content = chosen.choice(PACKINGS)(chosen.choice(FORMS)(some).encode())
        (folder / f"{number}.json").write_bytes(content)
        number += 1
    return folder


def content(landing: Landing) -> dict[str, list[tuple[Any, ...]]]:
    return {name: landing.rows(f"select {columns} from raw.{name} order by all") for name, columns in TABLES.items()}


@pytest.mark.parametrize("seed", range(10))
def test_any_order_and_split_lands_the_same_rows(seed: int, landing: Landing, tmp_path: Path) -> None:
    records = [json.dumps(record) for record in some_records()]
    plain = Landing(tmp_path / "plain")
    plain.folder.mkdir()
    (plain.folder / "all.jsonl").write_text("\n".join(records))
    assert plain.land_one(plain.folder / "all.jsonl").landed == 105

    summary = landing.land(scatter(records, tmp_path / "scattered", seed))

    assert content(landing) == content(plain)
    assert [file.error for file in summary.files if file.error] == []
    totals = [sum(getattr(file, name) for file in summary.files) for name in ("landed", "duplicate", "conflict")]
    assert totals == [105, 10, 0]
    again = landing.land(scatter(records, tmp_path / "again", seed + 100))
    assert sum(file.landed for file in again.files) == 0
    assert {name: rows for name, rows in content(landing).items() if name != "quarantine"} == {
        name: rows for name, rows in content(plain).items() if name != "quarantine"
    }
