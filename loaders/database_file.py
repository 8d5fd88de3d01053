"""The bytes of a closed DuckDB file: copied with every block's checksum tested, and told from any other file.

A file is three headers and blocks of one size, each of which begins with a checksum of the rest (storage version 64,
which every DuckDB since 0.10 reads and which is what we publish). DuckDB tests a block only when it reads it; a copy
takes the blocks that nobody reads along, so they are tested on the way. Never use this on a file that this process
has open in DuckDB: closing it here would drop DuckDB's lock.
"""

import hashlib
import os
from io import FileIO
from pathlib import Path

import numpy as np

_HEADERS = 3 * 4096
_BLOCK = 262_144
_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_START = 5381


class DamagedFileError(Exception):
    """The file cannot be read, is cut off, or a block is not what was written. Never shown: another file is written."""


def copy_checked(source: Path, target: Path) -> str:
    """Copy a database file and return its fingerprint. Raises DamagedFileError where the source is damaged.

    What is tested is the very bytes that are written. Raises OSError where the target cannot be written.
    """
    fingerprint = hashlib.sha256()
    words = np.empty(_BLOCK // 8, np.uint64)
    room = np.empty_like(words)
    with _open(source) as reader, FileIO(target, "xb") as writer:
        headers = memoryview(bytearray(_HEADERS))
        _read(reader, headers)
        fingerprint.update(headers)
        _write(writer, headers)
        block = words.data.cast("B")
        for number in range(_block_count(source)):
            _read(reader, block)
            np.multiply(words, _FACTOR, out=room)
            if int(np.bitwise_xor.reduce(room[1:])) ^ _START != int(words[0]):
                raise DamagedFileError(f"{source}: block {number} is not what was written")
            fingerprint.update(block[:8])
            _write(writer, block)
    return fingerprint.hexdigest()


def fingerprint_of(path: Path) -> str:
    """Tell a database file from any other by its headers and the checksums of its blocks, without reading the rest."""
    fingerprint = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fingerprint.update(os.pread(descriptor, _HEADERS, 0))
        for number in range(_block_count(path)):
            fingerprint.update(os.pread(descriptor, 8, _HEADERS + number * _BLOCK))
    finally:
        os.close(descriptor)
    return fingerprint.hexdigest()


def _open(path: Path) -> FileIO:
    try:
        return FileIO(path, "rb")
    except OSError as error:
        raise DamagedFileError(f"{path}: {error.strerror}") from error


def _read(reader: FileIO, into: memoryview) -> None:
    done = 0
    try:
        while done < len(into) and (count := reader.readinto(into[done:])):
            done += count
    except OSError as error:
        raise DamagedFileError(f"{reader.name!r}: {error.strerror}") from error
    if done < len(into):
        raise DamagedFileError(f"{reader.name!r}: ends in the middle of a block")


def _write(writer: FileIO, content: memoryview) -> None:
    # A disk that is nearly full takes a part, and refuses the rest of it.
    done = 0
    while done < len(content):
        done += writer.write(content[done:])


def _block_count(path: Path) -> int:
    count, rest = divmod(path.stat().st_size - _HEADERS, _BLOCK)
    if count < 0 or rest:
        raise DamagedFileError(f"{path}: is no database of whole blocks")
    return count
