"""Files, folders, globs and standard input as lines and documents of bytes, each with its offset.

Paths are expanded here and never handed to DuckDB, which would take stars and brackets in a file's name as a pattern.
The SHA-256 is that of the file as stored, taken in the same pass in which it is read.
"""

import contextlib
import glob
import gzip
import hashlib
import io
import os
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from loaders.errors import HomeError, UnreadableFileError
from loaders.records import DOCUMENT_BYTE_LIMIT, is_one_document, is_unfinished_document
from loaders.sources.lines import PADDING, Lines, Units, split_lines

BLOCK_SIZE = 16 << 20
STANDARD_INPUT = "-"
_SUFFIXES = tuple(f".{name}{packed}" for name in ("jsonl", "ndjson", "json") for packed in ("", ".gz", ".zst"))
_SPOOL_PREFIX = "spool-"
_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BLANKS = b" \t\r\n"


def expand_paths(paths: list[str], *, home: Path) -> list[str]:
    """Return the files that `paths` name, in order. A folder gives its record files, sorted; the home folder none.

    A path that exists is itself, whatever stars its name holds. One that names nothing is returned as it is: opening
    it gives the error.
    """
    files: list[str] = []
    for path in paths:
        if path == STANDARD_INPUT:
            files.append(path)
        elif os.path.lexists(path):
            files.extend(_files_of(path, home))
        else:
            for match in sorted(glob.glob(path, recursive=True)) or [path]:
                files.extend(_files_of(match, home))
    return files


def _files_of(path: str, home: Path) -> list[str]:
    return list(_walk(path, home)) if os.path.isdir(path) else [path]


def _walk(folder: str, home: Path) -> Iterator[str]:
    refused: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: refused.append(str(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _is_same(parent, name, home))
        for name in sorted(names):
            path = os.path.join(parent, name)
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".") and os.path.isfile(path):
                yield path
    yield from refused  # opening one gives its error, and the other files go on


def _is_same(parent: str, name: str, home: Path) -> bool:
    return os.path.realpath(os.path.join(parent, name)) == os.path.realpath(home)


class SourceFile:
    """One input file, opened once and read once to its end. All its errors are UnreadableFileError.

    `blocks` and `units` give lines without their line ends, or the one document that the file is.
    `sha256`, `byte_count` and `blank_count` are true once they are exhausted. Offsets count decompressed bytes.
    """

    def __init__(self, path: str, *, home: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.blank_count = 0
        self._raw = _CountingReader(_open_file(path, home), on_bytes)

    def __enter__(self) -> "SourceFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    @property
    def sha256(self) -> str:
        return self._raw.digest.hexdigest()

    @property
    def byte_count(self) -> int:
        return self._raw.byte_count

    @property
    def stored_size(self) -> int:
        """The size on disk before reading."""
        return self._raw.size

    def hash_ahead(self) -> str:
        """Return the SHA-256 without giving up the reading: for a file that may have landed before."""
        with _reading(self.path):
            # Any empty file would pass for another one: a package cut to nothing must not pass for landed.
            _refuse_empty_package(self.path, self.stored_size > 0)
            return self._raw.hash_ahead()

    def units(self) -> Iterator[Units]:
        """Yield the file's lines, or its one document, in batches of about a block."""
        for lines in self.blocks():
            yield lines.units()

    def blocks(self) -> Iterator[Lines]:
        """Yield the file's lines in blocks, or its one document as the only line."""
        with _reading(self.path):
            stream = _decompressed(self._raw, self.path)
            head = _read_block(stream, BLOCK_SIZE)
            start = len(_BOM) if head.startswith(_BOM) else 0
            head = head[start:]
            if _begins_document(head):
                head += _read_block(stream, DOCUMENT_BYTE_LIMIT + 1 - len(head))
                self._refuse_large_document(head)
            if _begins_document(head) and is_one_document(head):
                content = head.strip(_BLANKS)
                yield Lines(content, start + head.index(content[:1]), np.array([0]), np.array([len(content)]))
            else:
                yield from self._lines(head, stream, start)
            self._raw.drain()

    def _refuse_large_document(self, text: bytes) -> None:
        if len(text) > DOCUMENT_BYTE_LIMIT and is_unfinished_document(text):
            what = "the document is larger than 256 MiB. Split it, or write one record a line."
            raise UnreadableFileError(f"{shown_name(self.path)}: {what}")

    def _lines(self, head: bytes, stream: BinaryIO, offset: int) -> Iterator[Lines]:
        pending: list[bytes] = []
        pending_size = 0
        for block in _blocks(head, stream):
            end = block.rfind(b"\n") + 1
            if end:
                yield self._split([*pending, block[:end]], offset)
                offset += pending_size + end
                pending, pending_size = [], 0
            pending.append(block[end:])
            pending_size += len(block) - end
            if pending_size > DOCUMENT_BYTE_LIMIT:
                what = "a line is larger than 256 MiB. Split it, or write one record a line."
                raise UnreadableFileError(f"{shown_name(self.path)}: {what}")
        if pending_size:
            yield self._split(pending, offset)

    def _split(self, pieces: list[bytes], offset: int) -> Lines:
        buffer = b"".join((*pieces, PADDING))
        lines = split_lines(buffer, offset, len(buffer) - len(PADDING))
        self.blank_count += lines.blank_count
        return lines


def _begins_document(head: bytes) -> bool:
    """Tell whether the text begins an array or object that its first line does not end."""
    first_line = head.lstrip(_BLANKS).partition(b"\n")[0]
    return first_line[:1] in (b"[", b"{") and not is_one_document(first_line)


def _blocks(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    for start in range(0, len(head), BLOCK_SIZE):
        yield head[start : start + BLOCK_SIZE]
    while block := stream.read(BLOCK_SIZE):
        yield block


class _CountingReader(io.RawIOBase):
    """The stored bytes of a file, hashed and counted as they are read."""

    def __init__(self, file: BinaryIO, on_bytes: Callable[[int], None] | None) -> None:
        self._file = file
        self._on_bytes = on_bytes
        self.size = os.fstat(file.fileno()).st_size
        self.digest = hashlib.sha256()
        self.byte_count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        count = self._file.readinto(view)  # type: ignore[attr-defined]
        self.digest.update(view[:count])
        self.byte_count += count
        if self._on_bytes is not None:
            self._on_bytes(count)
        return int(count)

    def drain(self) -> None:
        while self.read(1 << 20):
            pass

    def hash_ahead(self) -> str:
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]
        self._file.seek(0)
        return digest

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_file(path: str, home: Path) -> BinaryIO:
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise UnreadableFileError("-: standard input is closed. Pipe the records into it.")
        return _spooled(sys.stdin.buffer, home)
    with _reading(path):
        file = open(path, "rb")  # noqa: SIM115  (the caller closes it)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        with file:  # a pipe: its end and its hash are not known before it has been read
            return _spooled(file, home)


def _spooled(stream: BinaryIO, home: Path) -> BinaryIO:
    try:
        spool = tempfile.NamedTemporaryFile(prefix=_SPOOL_PREFIX, dir=home)  # noqa: SIM115  (the caller closes it)
        shutil.copyfileobj(stream, spool, 1 << 20)
        spool.seek(0)
    except OSError as error:
        what = f"{home}: the piped records cannot be kept there ({error.strerror})"
        raise HomeError(f"{what}. Free some space, then run the same command again.") from error
    return spool  # type: ignore[return-value]


def shown_name(path: str) -> str:
    """Return the path as text that can be stored and printed: a name need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def total_size(paths: list[str]) -> int:
    """Return the size of the files on disk, without what has none (pipes, missing files)."""
    return sum(os.path.getsize(path) for path in paths if path != STANDARD_INPUT and os.path.isfile(path))


def remove_stale_spools(home: Path) -> None:
    """Remove what a killed run left of its standard input. Call it under the home folder's lock."""
    for spool in home.glob(f"{_SPOOL_PREFIX}*"):
        spool.unlink(missing_ok=True)


def _decompressed(raw: _CountingReader, path: str) -> BinaryIO:
    buffered = io.BufferedReader(raw, 1 << 20)
    magic = buffered.peek(4)[:4]
    if magic.startswith(_GZIP_MAGIC):
        return gzip.GzipFile(fileobj=buffered)  # type: ignore[return-value]
    if magic == _ZSTD_MAGIC:
        import pyarrow

        return pyarrow.CompressedInputStream(pyarrow.PythonFile(buffered, "r"), "zstd")  # type: ignore[no-any-return]
    _refuse_empty_package(path, bool(magic))
    return buffered


def _refuse_empty_package(path: str, has_content: bool) -> None:
    if not has_content and path.lower().endswith((".gz", ".zst")):
        raise EOFError("the compressed file is empty")


def _read_block(stream: BinaryIO, size: int) -> bytes:
    """Return `size` bytes, fewer only at the end."""
    pieces = []
    while size > 0 and (piece := stream.read(min(size, BLOCK_SIZE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    path = shown_name(path)
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableFileError(f"{path}: no such file. Check the path.") from error
    except IsADirectoryError as error:
        raise UnreadableFileError(f"{path}: the folder cannot be read. Check who may read it.") from error
    except PermissionError as error:
        raise UnreadableFileError(f"{path}: permission denied. Check who may read it.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFileError(f"{path}: the compression is damaged ({error}). Fetch the file again.") from error
    except OSError as error:
        what = error.strerror or str(error)
        raise UnreadableFileError(f"{path}: cannot be read to its end ({what}). Fetch the file again.") from error
