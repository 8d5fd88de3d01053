"""What stands in the pages: headings, tables, fenced blocks, names in code, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs"

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, its place for messages, and the rows of the table right below it, which is its answer."""

    page: str
    line: int
    language: str
    flags: tuple[str, ...]
    text: str
    answer: tuple[dict[str, str], ...] | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Section:
    """A heading, and the tables and text up to the next one."""

    page: str
    title: str
    text: str
    tables: list[list[dict[str, str]]] = field(default_factory=list)


def pages() -> list[Path]:
    """The README and every page of the folder docs."""
    return [ROOT / "README.md", *sorted(FOLDER.glob("*.md"))]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_blocks(text: str) -> str:
    return _FENCE.sub("", text)


def blocks(language: str) -> list[Block]:
    """Every fenced block of a language, in the README and in docs."""
    return [block for page in pages() for block in _blocks_of(page) if block.language == language]


def _blocks_of(page: Path) -> Iterator[Block]:
    text = read(page)
    for match in _FENCE.finditer(text):
        language, *flags = match["info"].split() or [""]
        below = re.match(r"\n\n((?:\|[^\n]*\n)+)", text[match.end() :] + "\n")
        answer = tuple(_rows(below[1])) if below else None
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page.name, line, language, tuple(flags), match["text"], answer)


def sections(page: Path) -> list[Section]:
    """The page's parts by heading, with their tables; blocks are left out of the text."""
    text = read(page)
    # A heading is none within a block; the blocks' lines are kept so that their tables are found below them.
    hidden = _FENCE.sub(lambda match: re.sub(r"^#", " #", match[0], flags=re.MULTILINE), text)
    parts = re.split(r"^#+ +(.+)$", hidden, flags=re.MULTILINE)
    made = []
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        prose = without_blocks(body)
        tables = [_rows(table) for table in re.findall(r"(?:^\|[^\n]*\n?)+", prose, flags=re.MULTILINE)]
        made.append(Section(page.name, title, prose, tables))
    return made


def _rows(table: str) -> list[dict[str, str]]:
    lines = [_cells(line) for line in table.strip().splitlines()]
    header, rows = lines[0], lines[2:]
    # An empty cell repeats nothing: it is empty. Two columns of one name would hide each other.
    assert len(set(header)) == len(header), header
    return [dict(zip(header, row, strict=True)) for row in rows]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))]


def codes(text: str) -> list[str]:
    """Everything in backticks outside of blocks."""
    return _CODE.findall(without_blocks(text))


def links(page: Path) -> list[str]:
    return _LINK.findall(without_blocks(read(page)))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the page's headings."""
    titles = re.findall(r"^#+ +(.+)$", without_blocks(read(page)), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
