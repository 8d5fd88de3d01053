"""Blocks of bytes as lines, found by numpy: no Python object for a line until somebody asks for it."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

import msgspec
import numpy as np

_BLANKS = b" \t\r\n"
_LF, _CR = 10, 13
# As many as landing takes at once: it is read while the last ones are landed.
_BLOCKS_AHEAD = 8

# What stands behind the lines of a file, so that its readers may take eight bytes at a time.
PADDING = bytes(8)

Units = list[tuple[int, bytes]]
_Block = TypeVar("_Block")


class Lines(msgspec.Struct):
    """Lines of one buffer without their line ends and without blank ones, which are counted.

    `starts` and `ends` are places in the buffer, `offset` is the buffer's own place in the file. The buffer may go on
    behind the last line.
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

    @property
    def byte_count(self) -> int:
        """The bytes from the first line to the last."""
        return int(self.ends[-1] - self.starts[0]) if len(self) else 0

    def split(self, count: int) -> tuple["Lines", "Lines"]:
        """Return the first `count` lines, which keep the number of blank ones, and the others."""
        first = Lines(self.buffer, self.offset, self.starts[:count], self.ends[:count], self.blank_count)
        return first, Lines(self.buffer, self.offset, self.starts[count:], self.ends[count:])

    def units(self) -> Units:
        """Return all lines with their places."""
        return [self.line(index) for index in range(len(self))]


def split_lines(buffer: bytes, offset: int, size: int) -> Lines:
    """Return the lines in the first `size` bytes of a buffer, of which the last need not have a line end."""
    view = np.frombuffer(buffer, np.uint8, size)
    line_feeds = np.flatnonzero(view == _LF)
    if view[-1] != _LF:
        line_feeds = np.append(line_feeds, size)
    starts = np.concatenate((np.zeros(1, np.int64), line_feeds[:-1] + 1))
    ends = line_feeds - ((line_feeds > starts) & (view[line_feeds - 1] == _CR))
    is_blank = ends == starts
    # Only what begins with a blank or a control character can be blank.
    for index in np.flatnonzero(~is_blank & (view[np.minimum(starts, size - 1)] <= 32)):
        is_blank[index] = not buffer[starts[index] : ends[index]].strip(_BLANKS)
    return Lines(buffer, offset, starts[~is_blank], ends[~is_blank], int(is_blank.sum()))


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
