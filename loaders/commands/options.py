"""What commands share: the settings of a run and the options that mean the same everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class Settings:
    """What was chosen before the command's own options; `@click.pass_obj` hands it to a command."""

    def __init__(self, home: Path) -> None:
        self.home = home


def _choose_home(context: click.Context, _: click.Parameter, home: Path | None) -> None:
    if home is not None:
        context.obj = Settings(home)


def home_option(function: _Decorated) -> _Decorated:
    """Accept --home after the command too; it wins over the one before it."""
    option = click.option(
        "--home",
        type=click.Path(path_type=Path),
        callback=_choose_home,
        expose_value=False,
        is_eager=True,
        help="The folder that holds all state (METERHOUSE_HOME, ./warehouse).",
    )
    return option(function)


def format_option(function: _Decorated) -> _Decorated:
    """Accept --format text|json as `output_format`."""
    option = click.option(
        "--format",
        "output_format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="How to print the result.",
    )
    return option(function)
