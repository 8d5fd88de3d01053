"""Files in the forms merchants have them, each record with the verdict that landing owes it.

The verdicts hold for one load of the whole folder into an empty home, files in order of their paths.
"""

import gzip
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from loaders.simulate.model import Json

LANDED, DUPLICATE, CONFLICT = "landed", "duplicate", "conflict"


@dataclass(frozen=True)
class Record:
    """A payload with its verdict: landed, duplicate, conflict, or the reason code of its quarantine."""

    payload: Json
    verdict: str = LANDED


@dataclass
class DataFile:
    path: str
    content: bytes
    verdicts: list[str]
    blank: int = 0
    places: list[Json] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        target = folder / self.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(self.content, mtime=0) if self.path.endswith(".gz") else self.content)

    def counts(self) -> Json:
        """What `load --format json` owes for this file, and the reason codes behind `quarantined`."""
        counted = Counter(self.verdicts)
        plain = {verdict: counted.pop(verdict, 0) for verdict in (LANDED, DUPLICATE, CONFLICT)}
        return {
            "path": f"data/{self.path}",
            "records": len(self.verdicts),
            **plain,
            "quarantined": sum(counted.values()),
            "blank": self.blank,
            "reasons": dict(sorted(counted.items())),
            "quarantined_records": self.places,
        }


def dump(value: Any, indent: int = 0) -> bytes:
    """Compact JSON, or pretty-printed."""
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=indent) if indent else encoded


def lines(path: str, records: Iterable[Record], newline: bytes = b"\n", bom: bool = False, blank: int = 0) -> DataFile:
    """One object a line, with optional BOM, CRLF and blank lines at the end."""
    kept = list(records)
    body = b"".join(dump(record.payload) + newline for record in kept)
    content = (b"\xef\xbb\xbf" if bom else b"") + body + newline * blank
    return DataFile(path, content, [record.verdict for record in kept], blank)


def pages(path: str, records: Iterable[Record], size: int = 100) -> DataFile:
    """One API page a line. As offset paging over a live list does, each repeats the last row before it."""
    kept, verdicts, bodies = list(records), [], []
    chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
    for number, chunk in enumerate(chunks):
        repeated = [Record(chunks[number - 1][-1].payload, DUPLICATE)] if number else []
        shown = [*repeated, *chunk]
        verdicts += [record.verdict for record in shown]
        bodies.append(dump(_page(shown, len(kept), len(chunks))) + b"\n")
    return DataFile(path, b"".join(bodies), verdicts)


def page(path: str, records: Iterable[Record]) -> DataFile:
    """A file that is one pretty-printed API page."""
    kept = list(records)
    return DataFile(path, dump(_page(kept, len(kept), 1), indent=2), [record.verdict for record in kept])


def array(path: str, records: Iterable[Record], indent: int = 0) -> DataFile:
    """A file that is one JSON array."""
    kept = list(records)
    return DataFile(path, dump([record.payload for record in kept], indent), [record.verdict for record in kept])


def envelope(path: str, records: Iterable[Record], indent: int = 2) -> DataFile:
    """A file that is one ingestion request."""
    kept = list(records)
    body = dump({"events": [record.payload for record in kept]}, indent)
    return DataFile(path, body, [record.verdict for record in kept])


def envelopes(path: str, records: Iterable[Record], size: int = 50) -> DataFile:
    """One ingestion request a line."""
    kept = list(records)
    chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
    body = b"".join(dump({"events": [record.payload for record in chunk]}) + b"\n" for chunk in chunks)
    return DataFile(path, body, [record.verdict for record in kept])


def pretty(path: str, payload: Json) -> DataFile:
    """A file that is one pretty-printed object."""
    return DataFile(path, dump(payload, indent=2), [LANDED])


def _page(records: list[Record], total: int, page_count: int) -> Json:
    items = [record.payload for record in records]
    return {"items": items, "pagination": {"total_count": total, "max_page": page_count}}
