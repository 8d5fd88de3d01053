"""A progress bar with rate and remaining time, on standard error."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def start(self, total: int) -> None:
        # A pipe's size is not known: then the bar only moves.
        self._progress.update(self._task, total=total or None)

    def advance(self, count: int) -> None:
        self._progress.advance(self._task, count)


@contextlib.contextmanager
def terminal_progress(label: str) -> Iterator[_Bar]:
    """Show a bar for the duration of the block and leave nothing behind."""
    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress, progress.add_task(label, total=None))
