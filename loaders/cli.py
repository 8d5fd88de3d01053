"""The command line: arguments in, text and an exit code out. `main` is the only place that catches LoaderError.

Each command lives in a file of its own, `loaders/commands/<name>.py`, as the click command named `command`, and is
listed in COMMANDS. What a command needs (DuckDB, Arrow, dbt) it imports when it runs, so that help is quick.
"""

import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from loaders import __version__
from loaders.commands.options import Settings
from loaders.commands.printing import say
from loaders.errors import LoaderError

_RAISE_AGAIN_SECONDS = 3.0

COMMANDS = (
    "load",
    "sync",
    "webhooks",
    "build",
    "publish",
    "run",
    "status",
    "report",
    "export",
    "quarantine",
    "erase",
    "simulate",
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"loaders.commands.{cmd_name}").command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="METERHOUSE_HOME",
    default=Path("warehouse"),
    show_default="./warehouse",
    show_envvar=True,
    help="The folder that holds all state.",
)
@click.version_option(__version__, prog_name="meterhouse")
@click.pass_context
def meterhouse(context: click.Context, home: Path) -> None:
    """Land Polar's usage and orders, model them, and publish what usage and money say."""
    context.obj = Settings(home)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 stopped, 2 wrong usage, 75 locked, 130 or 143 interrupted."""
    os.umask(0o077)
    received: list[int] = []
    try:
        with _noting_signals(received):
            code = meterhouse.main(arguments, prog_name="meterhouse", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BaseException as error:
        # What a signal stopped may say so with any error: DuckDB puts one of its own in the place of ours.
        if received or isinstance(error, click.Abort | KeyboardInterrupt):
            click.echo("error: interrupted; run the same command again to finish.", err=True)
            return 128 + (received or [signal.SIGINT])[0]
        if isinstance(error, click.ClickException):
            said = io.StringIO()
            error.show(said)
            say(said.getvalue().removesuffix("\n"), err=True)
            return error.exit_code
        if isinstance(error, LoaderError):
            say(f"error: {error}", err=True)
            return error.exit_code
        if isinstance(error, BrokenPipeError):
            # Whoever read the output has gone; writing the rest at exit would only raise again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        raise


@contextlib.contextmanager
def _noting_signals(received: list[int]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a command with KeyboardInterrupt, its files closed and its lock free; note which.

    Raised within a callback or a destructor it is lost: it is raised again while the command goes on.
    """

    def end(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            received.append(number)
        signal.setitimer(signal.ITIMER_REAL, _RAISE_AGAIN_SECONDS)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        if before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
