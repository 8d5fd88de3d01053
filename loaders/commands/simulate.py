"""`meterhouse simulate`: a sample world to try everything on, with the right answers beside it."""

from pathlib import Path

import click

from loaders.commands.printing import say
from loaders.errors import HomeError, UsageError


@click.command("simulate")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seed", default=7, show_default=True, help="The same seed and scale write the same bytes on any day.")
@click.option("--scale", type=click.IntRange(min=1), default=1, show_default=True, help="Multiplies the usage.")
def command(directory: Path, seed: int, scale: int) -> None:
    """Write a sample world into DIR: files of every kind, known discrepancies, and answers.json.

    \b
    Example:
      meterhouse simulate world
      meterhouse load world/data
    """
    from loaders.simulate import write_world

    _require_empty(directory)
    try:
        write_world(directory, seed, scale)
    except OSError as error:
        found = error.strerror or str(error)
        raise HomeError(f"{error.filename or directory}: cannot be written: {found}. Choose another folder.") from error
    say(f"Wrote {directory / 'data'}; the answers are in {directory / 'answers.json'}.", err=True)


def _require_empty(directory: Path) -> None:
    """Files of an earlier world left between new ones would make the answers wrong."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        is_empty = next(directory.iterdir(), None) is None
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{directory}: is not a folder. Name a new or an empty one.") from error
    except OSError as error:
        raise HomeError(f"{directory}: cannot be written: {error.strerror}. Choose another folder.") from error
    if not is_empty:
        raise UsageError(f"{directory}: is not empty. Name a new or an empty folder.")
