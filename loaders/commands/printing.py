"""Printing what came from outside: names and values that a terminal must not obey."""


def printable(text: str) -> str:
    """Return the text with every control character replaced, so that a hostile file name moves no cursor."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
