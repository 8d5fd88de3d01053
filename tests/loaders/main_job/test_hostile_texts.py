"""Data is data: ten thousand keys, names and file names that look like something else land, build and are published."""

import json
import random
import re
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loaders.commands.run import print_summary
from loaders.summary import Case, summarize
from tests.loaders.main_job.conftest import AS_OF, ROOT, Published, World, meterhouse
from tests.terminal import run_on_a_terminal

_SEED = 20261125
_EVENTS, _KEYS_OF_AN_EVENT, _FILES = 900, 8, 150
ORGANIZATION = "acme"

# What each part of a system would obey: SQL, Jinja, a shell, a spreadsheet, a path, a terminal, a page.
_FRAGMENTS = [
    "'; create table pwned (x int); --", '"; drop table usage_events; --', "') or 1=1 --", "; checkpoint;",
    "'; copy (select 1) to 'pwned.csv'; --", "'; attach 'pwned.duckdb' as pwned; --", "$1", "%s", "/*", "*/", "--",
    "{{ run_query('create table pwned as select 1') }}", "{% do run_query('create table pwned as select 1') %}",
    "{{ 1/0 }}", "{#", "{%", "}}", "{{ env_var('HOME') }}", "$(touch pwned)", "`touch pwned`", "; touch pwned;",
    "=1+1", "@SUM(A1)", "../", "..\\", "/etc/passwd", "C:\\", "~", "~1", "~0", "*", "$.a", "[0]", "a.b", "#-1",
    "\x1b]0;pwned\x07", "\x1b[31mpwned", "\x1b[2J", "\x9b31mpwned", "\r", "\b\b", "\n", "\t", "\x7f", "\u202e",
    "\u2028", "[bold]", "[/bold]", "[/]", "<script>", "</script>", "'", '"', "\\", "''", '""', ";", " ", "",
    "null", "NULL", "None", "true", "0", "-1", "NaN", "select", "order", "usage_event_key", "other_properties",
    "é", "e\u0301", "ß", "İ", "ﬁ", "Ω", "日本語", "🚀", "👩\u200d💻", "\U0010ffff", "\ufeff", "\u0085",
]  # fmt: skip
# The bar of a load, which is gone when it ends.
_PROGRESS = re.compile(r"\x1b\[\?25l.*\x1b\[\?25h(\r\x1b\[1A\x1b\[2K)?", re.DOTALL)
# What a terminal obeys, but for the end of a line.
_OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")


class Texts:
    """Seeded texts, each of them another one."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._seen: set[str] = set()

    def next(self, limit: int = 500) -> str:
        while True:
            text = self._text()[:limit]
            if text not in self._seen:
                self._seen.add(text)
                return text

    def _text(self) -> str:
        if self._chance.random() < 0.02:
            return self._chance.choice(_FRAGMENTS) + "x" * 500
        parts = self._chance.choices(_FRAGMENTS, k=self._chance.randint(1, 4))
        if self._chance.random() < 0.5:
            parts.append("".join(map(self._character, range(self._chance.randint(1, 6)))))
        self._chance.shuffle(parts)
        return "".join(parts)

    def _character(self, _: int) -> str:
        # Neither NUL, which no text may hold, nor half a pair of surrogates, which is no text.
        return chr(self._chance.choice([self._chance.randint(1, 0x2FF), self._chance.randint(0xE000, 0x10FFFF)]))


def file_name(text: str, number: int) -> str:
    """A name that the file system takes: 255 bytes without NUL and slash; and no hidden file's."""
    return text.replace("/", "∕").lstrip(".").encode()[:200].decode(errors="ignore") + f"{number}.jsonl"


class Hostile:
    """A home folder with a whole job done on hostile texts, and what was in them."""

    def __init__(self, folder: Path) -> None:
        texts = Texts(_SEED)
        self.home, self.data = folder / "home", folder / "data"
        self.data.mkdir()
        self.events: dict[str, dict[str, Any]] = {}
        names = [texts.next() for _ in range(_EVENTS)]
        for number in range(_EVENTS):
            metadata: dict[str, Any] = {texts.next(): texts.next() for _ in range(_KEYS_OF_AN_EVENT)}
            metadata[texts.next()] = {texts.next(): number, texts.next(): number % 2 == 0}
            event_id = f"00000000-0000-4000-8000-{number:012}"
            self.events[event_id] = {
                "id": event_id, "source": "user", "organization_id": ORGANIZATION,
                # A fifth of the events share twenty names: those have wide relations.
                "name": names[number // 5 % 20 if number % 5 == 0 else number], "timestamp": "2026-01-01T00:00:00Z",
                "external_customer_id": texts.next(200), "external_member_id": texts.next(200), "metadata": metadata,
            }  # fmt: skip
        events = list(self.events.values())
        self.files = [file_name(texts.next(), number) for number in range(_FILES)]
        for number, name in enumerate(self.files):
            lines = [json.dumps(event, ensure_ascii=bool(number % 2)) for event in events[number::_FILES]]
            refused = [
                json.dumps({**events[number], "id": texts.next(), "name": "\0"}),
                texts.next(),
                '{"' + texts.next(),
            ]
            lines += [line.replace("\n", " ").replace("\r", " ").strip() or "-" for line in refused]
            (self.data / name).write_bytes("".join(line + "\n" for line in lines).encode())
        self.loaded = json.loads(meterhouse("load", self.data, "--format", "json", home=self.home).stdout)
        self.run = meterhouse("run", "--as-of", AS_OF, home=self.home)
        self.published = Published(self.home / "published.duckdb")
        self.folder = folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    return Hostile(tmp_path_factory.mktemp("texts"))


def test_every_record_landed_or_was_refused(hostile: Hostile) -> None:
    key_count = _EVENTS * (_KEYS_OF_AN_EVENT + 3)
    assert key_count + len({event["name"] for event in hostile.events.values()}) + _FILES > 10_000
    totals = hostile.loaded["totals"]
    assert (totals["landed"], totals["quarantined"]) == (_EVENTS, 3 * _FILES)
    reasons = {row["reason_code"] for row in hostile.published.rows("from quarantined_records")}
    assert {"nul_character", "invalid_json"} <= reasons


def test_tables_are_those_of_any_world_and_nothing_ran(hostile: Hostile, world: World) -> None:
    def tables(home: Path) -> list[tuple[str, str]]:
        with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
            found = work.execute("select schema_name, table_name from duckdb_tables() where not internal").fetchall()
            found += work.execute("select schema_name, view_name from duckdb_views() where not internal").fetchall()
        return sorted((schema, name) for schema, name in found if not name.startswith("wide_"))

    # The world's second build has left what it changed.
    made, known = tables(hostile.home), tables(world.home)
    assert set(made) <= set(known)
    assert {schema for schema, _ in set(known) - set(made)} <= {"changes"}
    wide = [name for name in hostile.published.tables() if name.startswith("wide_")]
    assert len(wide) == 20
    assert all(re.fullmatch("wide_[a-z0-9_]+", name) for name in wide)
    made = [*(ROOT.glob("*pwned*")), *(path for path in hostile.folder.rglob("*pwned*") if path.parent.name != "data")]
    assert made == []


def test_every_text_comes_back_as_it_was(hostile: Hostile) -> None:
    rows = hostile.published.rows(
        "select e.*, c.external_customer_id, m.external_member_id from usage_events as e "
        "join customers as c using (customer_key) join members as m using (member_key)"
    )
    assert len(rows) == _EVENTS
    for row in rows:
        event = hostile.events[row["event_id"]]
        assert row["event_name"] == event["name"]
        assert row["external_customer_id"] == event["external_customer_id"]
        assert row["external_member_id"] == event["external_member_id"]
        assert json.loads(row["metadata"]) == event["metadata"]
    loads = hostile.published.rows("select file_name from loads")
    assert sorted(row["file_name"] for row in loads) == sorted(str(hostile.data / name) for name in hostile.files)


def test_every_property_is_known_by_its_key(hostile: Hostile) -> None:
    expected = set()
    for event in hostile.events.values():
        for key, value in event["metadata"].items():
            paths = [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]
            expected |= {(event["name"], path) for path in paths}
    rows = hostile.published.rows("select event_name, property_path from metadata_properties")
    assert {(row["event_name"], row["property_path"]) for row in rows} == expected


def test_every_value_is_in_its_wide_column(hostile: Hostile) -> None:
    places = hostile.published.rows("from metadata_columns where value_type = 'string'")
    events = {
        row["usage_event_key"]: hostile.events[row["event_id"]] for row in hostile.published.rows("from usage_events")
    }
    columns = {(place["relation_name"], place["pointer"]): place["column_name"] for place in places}
    seen = 0
    for relation in {place["relation_name"] for place in places}:
        for row in hostile.published.rows(f'from "{relation}"'):
            for key, value in events[row["usage_event_key"]]["metadata"].items():
                if isinstance(value, str):
                    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
                    column = columns[relation, pointer]
                    cell = row[column]
                    assert (json.loads(cell)[pointer] if column == "other_properties" else cell) == value
                    seen += 1
    assert seen >= _EVENTS // 5 * _KEYS_OF_AN_EVENT


def test_a_terminal_is_told_nothing_that_it_obeys(hostile: Hostile, tmp_path: Path) -> None:
    broken = tmp_path / "broken\x1b]0;pwned\x07\r\n\u202e\x9b31m.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b\x08 no gzip")
    commands: list[list[str | Path]] = [
        ["load", broken.with_name("missing\x1b[2J.jsonl")],
        ["load", broken],
        ["status"],
        ["quarantine", "list"],
        ["report"],
        ["report", "--csv", broken],
        ["quarantine", "show", "\x1b[2J"],
        ["no command\x1b[2J\x07"],
    ]
    for command in commands:
        line = [sys.executable, "-m", "loaders.cli", "--home", str(hostile.home), *map(str, command)]
        code, shown, said = run_on_a_terminal(line, cwd=ROOT, timeout=60)
        assert code in (0, 1, 2)
        text = _PROGRESS.sub("", (shown.replace(b"\r\n", b"\n") + said).decode())
        assert text
        assert not _OBEYED.search(text), (command, text)
        if command == ["status"]:
            assert "broken\N{REPLACEMENT CHARACTER}]0;pwned" in text, "it tells of the file that could not be read"


def test_the_summary_shows_customers_as_they_are_called(hostile: Hostile, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that are called like the tags of the library that draws the tables."""
    cases = [
        Case("unbilled", "missing_order", text, None, "-", "usd", 2, Decimal(1)) for text in [*_FRAGMENTS, "a" * 300]
    ]
    print_summary(replace(summarize(hostile.published.path), largest=cases))
    shown = capsys.readouterr().out
    assert not _OBEYED.search(shown)
    for text in ("[bold]", "[/bold]", "[/]", "{{ 1/0 }}", "日本語"):
        assert text in shown
