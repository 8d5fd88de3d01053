"""Blocks of bytes as lines, found by numpy: no Python object for a line until somebody asks for it."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

_BLANKS = b" \t\r\n"
_LF, _CR, _BRACE = 10, 13, 123
# As many as landing takes at once: it is read while the last ones are landed.
_BLOCKS_AHEAD = 8

Units = list[tuple[int, bytes]]
_Block = TypeVar("_Block")
_Positions = npt.NDArray[np.int64]


class Lines(msgspec.Struct):
    """Lines of one buffer without their line ends and without blank ones, which are counted.

    `starts` and `ends` are places in the buffer, `offset` is the buffer's own place in the file.
    """

    buffer: bytes
    offset: int
    starts: Any
    ends: Any
    blank_count: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, index: int) -> tuple[int, bytes]:
        """Return the line's place in the file and its bytes."""
        start, end = int(self.starts[index]), int(self.ends[index])
        return self.offset + start, self.buffer[start:end]

    def units(self) -> Units:
        """Return all lines with their places."""
        return [self.line(index) for index in range(len(self))]


def split_lines(buffer: bytes, offset: int) -> Lines:
    """Return the lines of a buffer, of which the last need not have a line end."""
    view = np.frombuffer(buffer, np.uint8)
    line_feeds = np.flatnonzero(view == _LF)
    if not buffer.endswith(b"\n"):
        line_feeds = np.append(line_feeds, len(buffer))
    starts = np.concatenate((np.zeros(1, np.int64), line_feeds[:-1] + 1))
    ends = line_feeds - ((line_feeds > starts) & (view[line_feeds - 1] == _CR))
    is_blank = ends == starts
    # Only what begins with a blank or a control character can be blank.
    for index in np.flatnonzero(~is_blank & (view[np.minimum(starts, len(buffer) - 1)] <= 32)):
        is_blank[index] = not buffer[starts[index] : ends[index]].strip(_BLANKS)
    return Lines(buffer, offset, starts[~is_blank], ends[~is_blank], int(is_blank.sum()))


def arrow_lines(lines: Lines, byte_limit: int) -> pa.Table:
    """Return (line, byte_offset, text) of the lines that begin an object, are UTF-8 and not too large, uncopied.

    The table reads the lines' own buffer.
    """
    sizes = lines.ends - lines.starts
    # Arrow keeps the bytes of texts of up to 12 bytes elsewhere; none of them is an event.
    fits = (sizes > 12) & (sizes <= byte_limit)
    fits &= np.frombuffer(lines.buffer, np.uint8)[np.minimum(lines.starts, len(lines.buffer) - 1)] == _BRACE
    chosen = np.flatnonzero(fits)
    texts = _text_views(lines, chosen)
    is_valid = _valid_texts(texts)
    if is_valid is not None:
        chosen = chosen[is_valid]
        texts = _text_views(lines, chosen)
    columns = {"line": pa.array(chosen), "byte_offset": pa.array(lines.starts[chosen] + lines.offset)}
    return pa.table({**columns, "text": texts})


def _text_views(lines: Lines, chosen: _Positions) -> pa.Array:
    """Return the lines as Arrow string views: a size, the first four bytes, the buffer's number, a place in it."""
    starts = lines.starts[chosen]
    views = np.zeros(len(chosen), [("size", "<i4"), ("prefix", "<u4"), ("buffer", "<i4"), ("start", "<i4")])
    views["size"] = lines.ends[chosen] - starts
    views["start"] = starts
    if len(chosen):
        prefixes = np.ndarray((len(lines.buffer) - 3,), "<u4", lines.buffer, strides=(1,))
        views["prefix"] = prefixes[starts]
    buffers = [None, pa.py_buffer(views), pa.py_buffer(lines.buffer)]
    return pa.Array.from_buffers(pa.string_view(), len(chosen), buffers)


def _valid_texts(texts: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Tell which texts are UTF-8; None where all are. Halves what is not, so that one bad line costs little."""
    if _is_utf8(texts):
        return None
    is_valid = np.ones(len(texts), bool)
    suspects = [(0, len(texts))]
    while suspects:
        start, end = suspects.pop()
        if _is_utf8(texts.slice(start, end - start)):
            continue
        if end - start == 1:
            is_valid[start] = False
        else:
            middle = (start + end) // 2
            suspects += [(start, middle), (middle, end)]
    return is_valid


def _is_utf8(texts: pa.Array) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def read_ahead(blocks: Iterator[_Block]) -> Generator[_Block, None, None]:
    """Yield the blocks while a thread reads the next ones. Closing the iterator ends the thread."""
    ahead: queue.Queue[_Block | BaseException | None] = queue.Queue(_BLOCKS_AHEAD)
    is_over = threading.Event()

    def read() -> None:
        last: BaseException | None = None
        try:
            for block in blocks:
                if is_over.is_set():
                    return
                ahead.put(block)
        except BaseException as error:  # noqa: BLE001  (raised again where the blocks are awaited)
            last = error
        ahead.put(last)

    reader = threading.Thread(target=read, name="read-ahead", daemon=True)
    reader.start()
    try:
        while (block := ahead.get()) is not None:
            if isinstance(block, BaseException):
                raise block
            yield block
    finally:
        is_over.set()
        while reader.is_alive():
            try:
                ahead.get(timeout=0.01)  # a reader that waits for room must see that it is over
            except queue.Empty:
                continue
