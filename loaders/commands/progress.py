"""Progress bars with rate and remaining time, on standard error and only on a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
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


@contextlib.contextmanager
def counted_progress(label: str) -> Iterator[Callable[[int, int, str], None] | None]:
    """Yield a function that shows how many of how many are done; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None, last="")
        yield lambda done, total, last: progress.update(task, completed=done, total=total, last=last)


class _ListBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._total = 0

    def expect(self, count: int, name: str) -> None:
        self._total += count
        self._progress.update(self._task, total=self._total, last=name)

    def advance(self, count: int) -> None:
        self._progress.advance(self._task, count)


@contextlib.contextmanager
def list_progress(label: str) -> Iterator[_ListBar]:
    """Show a bar for lists whose lengths become known one after another."""
    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _ListBar(progress, progress.add_task(label, total=None, last=""))
