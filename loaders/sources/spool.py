"""The spool: verified webhook deliveries on disk, between the receiver that answers for them and the run that follows.

A segment is an append-only file of framed deliveries. The receiver appends to one `.open` segment; whoever holds the
spool's lock for a moment may seal it (rename it), and the receiver then goes on in a new one. So a run takes even what
came a second ago, and neither waits for the other's work: the home folder's lock plays no part.

Nothing is removed before it has landed. What has landed leaves the digest of its webhook-id in `seen`, so that a
receiver that starts anew still knows what it answered for.
"""

import contextlib
import fcntl
import hashlib
import itertools
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loaders.disk import sync_to_disk
from loaders.errors import HomeError, LockedError, UnreadableFileError
from loaders.sources.lines import PADDING, Lines

SPOOL_FOLDER = "webhooks"
_OPEN, _SEALED, _DAMAGED = ".open", ".segment", ".damaged"
# Magic (no JSON text holds a NUL), length of the id, length of the body, milliseconds since 1970, checksum.
_FRAME = struct.Struct(">4sHIQI")
_MAGIC = b"\0mw1"
_DIGEST_SIZE = 16
# A generation of digests is full at this number; the last two are kept. Polar tries a delivery ten times, not for ever.
SEEN_PER_GENERATION = 50_000
_BLANKS = b" \t\r\n"


class Delivery(NamedTuple):
    """One verified delivery. `place` is its body's place in the segment."""

    webhook_id: str
    body: bytes
    received_at: datetime
    place: int = 0


class SpoolFacts(NamedTuple):
    """What waits in a spool."""

    segments: int
    bytes: int
    oldest_at: datetime | None


def digest_of(webhook_id: str) -> bytes:
    """Return what is remembered of a webhook-id: of one size, whatever was sent."""
    return hashlib.blake2b(webhook_id.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_SIZE).digest()


def encode_delivery(delivery: Delivery) -> bytes:
    """Return a delivery as it is written: a frame whose checksum tells a whole one from a torn one."""
    webhook_id = delivery.webhook_id.encode("utf-8", "surrogatepass")
    milliseconds = int(delivery.received_at.timestamp() * 1000)
    content = webhook_id + delivery.body
    facts = (len(webhook_id), len(delivery.body), milliseconds)
    return _FRAME.pack(_MAGIC, *facts, _checksum(*facts, content)) + content


def _checksum(id_size: int, body_size: int, milliseconds: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(struct.pack(">HIQ", id_size, body_size, milliseconds)))


def decode_segment(content: bytes) -> tuple[list[Delivery], int]:
    """Return the whole deliveries of a segment, and the number of bytes between them that are none.

    What is torn at the end was never answered for and is left out without a word. Broken bytes with whole deliveries
    behind them are damage: the deliveries on both sides are returned, and the bytes counted.
    """
    deliveries: list[Delivery] = []
    position = damaged = 0
    while position < len(content):
        delivery = _decode_at(content, position)
        if delivery is None:
            following = _next_whole(content, position + 1)
            if following is None:
                break
            damaged += following - position
            position = following
            continue
        deliveries.append(delivery)
        position = delivery.place + len(delivery.body)
    return deliveries, damaged


def _decode_at(content: bytes, position: int) -> Delivery | None:
    if position + _FRAME.size > len(content):
        return None
    magic, id_size, body_size, milliseconds, checksum = _FRAME.unpack_from(content, position)
    start = position + _FRAME.size
    end = start + id_size + body_size
    if magic != _MAGIC or end > len(content):
        return None
    if _checksum(id_size, body_size, milliseconds, content[start:end]) != checksum:
        return None
    webhook_id = content[start : start + id_size].decode("utf-8", "surrogatepass")
    received_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return Delivery(webhook_id, content[start + id_size : end], received_at, start + id_size)


def _next_whole(content: bytes, position: int) -> int | None:
    while (position := content.find(_MAGIC, position)) >= 0:
        if _decode_at(content, position) is not None:
            return position
        position += 1
    return None


class Spool:
    """The spool of a home folder. Making one creates nothing; what it raises is HomeError."""

    def __init__(self, home: Path) -> None:
        self.folder = home / SPOOL_FOLDER

    # Both sides

    def ensure(self) -> None:
        """Create the folder, for its owner's eyes only."""
        with self._working("cannot be made"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the spool's lock: for renames and small writes, never for work. The kernel frees it at any end."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _working(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = "Check the disk and who owns the folder, then run the same command again."
            raise HomeError(f"{self.folder}: {what} ({error.strerror}). {advice}") from error

    def _segments(self, *suffixes: str) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.suffix in suffixes)

    def facts(self) -> SpoolFacts:
        """Return what waits to be landed, without any lock: a segment that lands meanwhile is not counted."""
        segments = size = 0
        oldest: list[datetime] = []
        for path in self._segments(_OPEN, _SEALED):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                head = file.read(_FRAME.size)
                if len(head) == _FRAME.size:
                    segments += 1
                    size += os.fstat(file.fileno()).st_size
                    oldest.append(datetime.fromtimestamp(_FRAME.unpack(head)[3] / 1000, UTC))
        return SpoolFacts(segments, size, min(oldest, default=None))

    # The run's side

    def seal_all(self) -> list[Path]:
        """Seal every open segment, also that of a receiver at work, and return all that are sealed, oldest first."""
        if not self.folder.is_dir():
            return []
        with self._working("its segments cannot be sealed"), self._lock():
            for path in self._segments(_OPEN):
                path.rename(path.with_suffix(_SEALED))
            sync_to_disk(self.folder)
        return self._segments(_SEALED)

    def remove(self, segment: Path) -> bool:
        """Remove a segment whose ledger row was read back.

        Returns False where it is damaged: it is then kept aside, under another suffix, for a person to look at.
        """
        with self._working(f"{segment.name} cannot be removed"):
            deliveries, damaged = decode_segment(segment.read_bytes())
            with self._lock():
                self._remember(digest_of(delivery.webhook_id) for delivery in deliveries)
                if damaged:
                    segment.rename(segment.with_suffix(_DAMAGED))
                else:
                    segment.unlink()
                sync_to_disk(self.folder)
            return not damaged

    def _remember(self, digests: Iterable[bytes]) -> None:
        seen, before = self.folder / "seen", self.folder / "seen.before"
        if seen.exists() and seen.stat().st_size >= SEEN_PER_GENERATION * _DIGEST_SIZE:
            seen.replace(before)
        descriptor = os.open(seen, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A killed writer may have left half a digest: all after it would be read askew.
            whole = os.fstat(descriptor).st_size // _DIGEST_SIZE * _DIGEST_SIZE
            os.ftruncate(descriptor, whole)
            os.lseek(descriptor, whole, os.SEEK_SET)
            _write_all(descriptor, b"".join(digests))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # The receiver's side

    @contextlib.contextmanager
    def receiving(self) -> Iterator[None]:
        """Be the folder's only receiver: two would not know each other's deliveries. Raises LockedError."""
        self.ensure()
        path = self.folder / "receiver.lock"
        with self._working("cannot be used"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                raise LockedError(str(path), int(holder) if holder.isdigit() else None) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def known_digests(self, limit: int) -> list[bytes]:
        """Return the digests of what was answered for, oldest first and at most `limit`; seals what was left open."""
        self.seal_all()
        digests: list[bytes] = []
        # Under the lock: between the two, a run may move ids from a segment to `seen`.
        with self._working("cannot be read"), self._lock():
            for name in ("seen.before", "seen"):
                path = self.folder / name
                content = path.read_bytes() if path.exists() else b""
                whole = len(content) // _DIGEST_SIZE * _DIGEST_SIZE
                digests += [content[at : at + _DIGEST_SIZE] for at in range(0, whole, _DIGEST_SIZE)]
            for segment in self._segments(_OPEN, _SEALED):
                deliveries, _ = decode_segment(segment.read_bytes())
                digests = [*digests[-limit:], *(digest_of(delivery.webhook_id) for delivery in deliveries)]
        return digests[-limit:]


class SegmentWriter:
    """Appends deliveries to the spool, durably: when `append` returns they survive a kill and a power failure.

    For one thread. `append` raises OSError where the disk refuses; nothing of that batch is then in the spool.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        byte_limit: int = 8 << 20,
        age_limit_seconds: float = 60,
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._byte_limit = byte_limit
        self._age_limit = age_limit_seconds
        self._numbers = itertools.count(1)
        self._path: Path | None = None
        self._descriptor = -1
        self._size = 0
        self._opened_at = clock()

    def append(self, deliveries: list[Delivery]) -> None:
        """Write the deliveries and wait until the disk has them."""
        content = b"".join(map(encode_delivery, deliveries))
        with self._spool._lock():
            self._leave_sealed()
            if self._path is None:
                self._open()
            try:
                _write_all(self._descriptor, content)
                # Within the lock: what a run seals and reads is then on the disk.
                os.fdatasync(self._descriptor)
            except OSError:
                self._take_back()
                raise
            self._size += len(content)
            self._seal_when_due()

    def seal_when_due(self) -> None:
        """Seal the segment where it is large or old enough."""
        if self._path is not None:
            with self._spool._lock():
                self._leave_sealed()
                self._seal_when_due()

    def close(self) -> None:
        """Seal the segment at hand."""
        if self._path is not None:
            with self._spool._lock():
                self._leave_sealed()
                self._seal()

    def _leave_sealed(self) -> None:
        """Let go of a segment that a run has taken."""
        if self._path is not None and not self._path.exists():
            self._let_go()

    def _open(self) -> None:
        name = f"{self._clock():%Y%m%dT%H%M%S%fZ}-{os.getpid()}-{next(self._numbers):06}{_OPEN}"
        path = self._spool.folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._path, self._size, self._opened_at = path, 0, self._clock()
        sync_to_disk(self._spool.folder)

    def _take_back(self) -> None:
        """Cut off what was written in part. Where even that fails the segment is left: its torn end counts nothing."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            with contextlib.suppress(OSError):
                self._seal()

    def _seal_when_due(self) -> None:
        age = (self._clock() - self._opened_at).total_seconds()
        if self._path is not None and (self._size >= self._byte_limit or age >= self._age_limit):
            self._seal()

    def _seal(self) -> None:
        if self._path is not None:
            self._path.rename(self._path.with_suffix(_SEALED))
            self._let_go()
            sync_to_disk(self._spool.folder)

    def _let_go(self) -> None:
        os.close(self._descriptor)
        self._path, self._descriptor = None, -1


class SegmentSource:
    """A sealed segment's deliveries as lines, each the exact bytes of a body, for landing (see SourceFile).

    `sha256` and `byte_count` are those of the stored bytes. A body of blanks counts as a blank line.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._content = path.read_bytes()
        except OSError as error:
            what = f"{path}: cannot be read to its end ({error.strerror}). Check the disk and who may read it."
            raise UnreadableFileError(what) from error
        self.stored_size = self.byte_count = len(self._content)
        self.sha256 = hashlib.sha256(self._content).hexdigest()
        self.blank_count = 0

    def __enter__(self) -> "SegmentSource":
        return self

    def __exit__(self, *_: object) -> None:
        self._content = b""

    def hash_ahead(self) -> str:
        """Return the SHA-256 of the stored bytes."""
        return self.sha256

    def blocks(self) -> Iterator[Lines]:
        """Yield all deliveries in one block; a segment is bounded when it is written."""
        deliveries, _ = decode_segment(self._content)
        bodies = [delivery for delivery in deliveries if delivery.body.strip(_BLANKS)]
        self.blank_count = len(deliveries) - len(bodies)
        if bodies:
            starts = np.array([delivery.place for delivery in bodies], np.int64)
            ends = starts + np.array([len(delivery.body) for delivery in bodies], np.int64)
            yield Lines(self._content + PADDING, 0, starts, ends)


def segment_name(path: Path) -> str:
    """Return the name under which a segment stands in the ledger; it is given to no other."""
    return f"{SPOOL_FOLDER}/{path.stem}"


def _write_all(descriptor: int, content: bytes) -> None:
    # A disk that is nearly full takes a part, and refuses the rest of it.
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
