"""What is written has reached the disk."""

import os
from pathlib import Path


def sync_to_disk(path: Path) -> None:
    """Wait until the disk has a file's bytes, or the names in a folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
