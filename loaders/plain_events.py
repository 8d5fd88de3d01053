"""Judging plain events many at a time: the fast path before `loaders.records`, which stays the definition.

A line is plain where it is proven that `records.examine` would give exactly one `Event` for it, and with which values.
The proof is one walk over its bytes (`loaders.plain_walk`), compiled by numba: it holds no lock of Python's, so that
threads do it while DuckDB inserts. What is not proven is not refused: the Python judge may well accept it.
"""

import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from loaders.records import CLOCK_TOLERANCE, NAME_LENGTH_LIMIT, RECORD_BYTE_LIMIT, TEXT_LENGTH_LIMIT, Context
from loaders.sources.lines import Lines

# From how many bytes on the fast path is worth it: a block's, where all that it takes is in memory; those that were
# seen up to now, where what was compiled before is yet to be loaded (0.3 s), or where it is to be compiled (6 s).
_WORTH_PLANNING, _WORTH_LOADING, _WORTH_COMPILING = 1 << 20, 8 << 20, 64 << 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# By the numbers of `plain_walk.shape_of`.
_SHAPES = pa.array(["", "submitted", "recorded", "recorded"], pa.string())
_SOURCES = pa.array(["", "user", "user", "system"], pa.string())


def may_be_plain(context: Context) -> bool:
    """Tell whether an event may be accepted at all: not where the user named another kind."""
    return context.kind in (None, "events", "webhooks")


class PlainJudge:
    """Finds the plain lines in the blocks of one file. Several threads may use it at once."""

    def __init__(self, context: Context, cache_folder: Path) -> None:
        self._cache_folder = cache_folder
        # A submission of this second or a later one may be in the future: of the one before it no fraction is.
        latest = (context.now + CLOCK_TOLERANCE - _EPOCH) // timedelta(seconds=1)
        self._limits = np.array([RECORD_BYTE_LIMIT, NAME_LENGTH_LIMIT, TEXT_LENGTH_LIMIT, latest], np.int64)
        stand_in = context.organization_id or ""
        self._stand_in = np.frombuffer(stand_in.encode(), np.uint8)
        self._stand_in_json = np.frombuffer(msgspec.json.encode(stand_in), np.uint8)

    def find(self, lines: Lines) -> pa.Table | None:
        """Return a row for each plain line of a block, or None where there are too few lines to be worth it.

        A row holds the line's number in the block, its place in the file and the event's values. Texts are views of
        the block's own buffer.
        """
        judge_lines = _WALK.get(len(lines.buffer), self._cache_folder)
        if judge_lines is None:
            return None
        size = len(lines)
        number, shape = np.empty(size, np.int64), np.empty(size, np.int8)
        key, key_hash = np.empty((size, 4), "<u4"), np.empty(size, np.uint64)
        payload, organization = np.empty((size, 4), "<i4"), np.empty((size, 4), "<i4")
        count = judge_lines(
            np.frombuffer(lines.buffer, np.uint8), lines.starts, lines.ends,
            self._limits, self._stand_in, self._stand_in_json,
            number, shape, key, key_hash, payload, organization,
        )  # fmt: skip
        number, shape, texts = number[:count], pa.array(shape[:count]), [lines.buffer, self._stand_in]
        return pa.table(
            {
                "line": number,
                "byte_offset": lines.starts[number] + lines.offset,
                "organization_id": _from_buffers(pa.string_view(), count, organization, *texts),
                "record_key": pa.ExtensionArray.from_storage(pa.uuid(), _from_buffers(pa.binary(16), count, key)),
                "key_hash": key_hash[:count],
                "shape": pa.DictionaryArray.from_arrays(shape, _SHAPES),
                "source": pa.DictionaryArray.from_arrays(shape, _SOURCES),
                "payload": _from_buffers(pa.string_view(), count, payload, *texts),
            }
        )


def _from_buffers(kind: pa.DataType, count: int, *buffers: Any) -> pa.Array:
    return pa.Array.from_buffers(kind, count, [None, *map(pa.py_buffer, buffers)])


class _Walk:
    """The compiled walk of this process, loaded or compiled as soon as that is worth it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._judge_lines: Callable[..., int] | None = None
        self._seen = 0

    def get(self, size: int, cache_folder: Path) -> Callable[..., int] | None:
        """Return it for a block of this size, or None where Python is done sooner."""
        with self._lock:
            self._seen += size
            if self._judge_lines is None:
                if self._seen < (_WORTH_LOADING if _is_compiled(cache_folder) else _WORTH_COMPILING):
                    return None
                from loaders.plain_walk import load  # numba takes a third of a second

                self._judge_lines = load(cache_folder)
            return self._judge_lines if size >= _WORTH_PLANNING else None


_WALK = _Walk()


def _is_compiled(cache_folder: Path) -> bool:
    name = f"plain_walk.judge_lines-*.py{sys.version_info.major}{sys.version_info.minor}*.nbi"
    return any(folder.glob(f"**/{name}") for folder in (Path(__file__).parent / "__pycache__", cache_folder))
