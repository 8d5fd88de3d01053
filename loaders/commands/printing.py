"""Printing what came from outside: names and values that a terminal must not obey."""

import unicodedata

import click


def printable(text: str) -> str:
    """Return the text with every control character replaced, so that a hostile file name moves no cursor."""
    return "".join(map(_shown, text))


def say(text: str, *, err: bool = False) -> None:
    """Print a text of several lines, whatever stands in it: only its line ends are obeyed."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err)


def _shown(character: str) -> str:
    # Spaces of any kind stand in names, and do no harm.
    is_harmless = character.isprintable() or unicodedata.category(character) == "Zs"
    return character if is_harmless else "\N{REPLACEMENT CHARACTER}"
