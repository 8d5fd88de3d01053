"""Files that break loaders, one for each defect: what is good in them lands, what is bad is quarantined for its reason,
and none stops the others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FIXTURES, Landing

pytestmark = pytest.mark.filterwarnings("error")

HOSTILE = FIXTURES / "hostile"
GOOD = b'{"name":"call","external_customer_id":"c","organization_id":"org_1","external_id":"%d"}'

# What lands, the blank lines, and how many are refused for which reasons.
Outcome = tuple[int, int, dict[str, int]]
LANDED: dict[str, Outcome] = {
    "arrays.jsonl": (4, 0, {"not_an_object": 1, "invalid_json": 1}),
    "blank_lines.jsonl": (2, 5, {}),
    "byte_order_mark.jsonl": (2, 0, {}),
    "byte_order_mark_inside.jsonl": (2, 0, {"invalid_json": 1}),
    "crlf.jsonl": (2, 1, {}),
    "duplicate_keys.jsonl": (2, 0, {"invalid_json": 2}),
    "empty.jsonl": (0, 0, {}),
    "envelopes.jsonl": (3, 0, {"unknown_shape": 1, "not_an_object": 1}),
    "garbage.json": (0, 0, {"invalid_utf8": 1}),
    "garbage.jsonl": (0, 0, {"invalid_utf8": 2, "invalid_json": 3}),
    "gzip_without_its_suffix.jsonl": (2, 0, {}),
    "huge_integer.jsonl": (3, 0, {}),
    "invalid_utf8.jsonl": (2, 0, {"invalid_utf8": 2}),
    "lone_cr.jsonl": (2, 0, {"invalid_json": 1}),
    "lone_surrogate.jsonl": (2, 0, {"invalid_json": 2, "invalid_utf8": 1}),
    "nan.jsonl": (2, 0, {"number_out_of_range": 3}),
    "nul.jsonl": (2, 0, {"nul_character": 3}),
    "number_beyond_double.jsonl": (2, 0, {"number_out_of_range": 4}),
    "pretty_printed.json": (1, 0, {}),
    "pretty_printed_array.json": (2, 0, {"not_an_object": 1}),
    "several_pretty_printed.json": (0, 0, {"invalid_json": 12}),
    "torn_last_line.jsonl": (2, 0, {"invalid_json": 1}),
    "two_objects_on_a_line.jsonl": (2, 0, {"invalid_json": 3}),
    "zstd.jsonl.zst": (2, 0, {"invalid_json": 1}),
}
UNREADABLE = {
    "empty.jsonl.gz": "the compression is damaged (the compressed file is empty). Fetch the file again.",
    "no_gzip_at_all.jsonl.gz": "the compression is damaged (Unknown compression method). Fetch the file again.",
    "truncated.jsonl.gz": "the compression is damaged (Compressed file ended before the end-of-stream marker was "
    "reached). Fetch the file again.",
    "truncated.jsonl.zst": "cannot be read to its end (Truncated compressed stream). Fetch the file again.",
}
NAMES = [
    "it's.jsonl", 'say "hi".jsonl', "a b.jsonl", "star*.jsonl", "[x]?.jsonl", "é-日本.jsonl", "$1;--.jsonl",
    "new\nline.jsonl",
]  # fmt: skip


def test_no_hostile_file_stops_another(landing: Landing) -> None:
    files = landing.land(HOSTILE).files

    found = {Path(file.path).name: (file.landed, file.blank, file.reasons) for file in files if file.error is None}
    errors = {Path(file.path).name: file.error for file in files if file.error is not None}
    assert found == LANDED
    assert errors == {name: f"{HOSTILE / name}: {error}" for name, error in UNREADABLE.items()}
    for file in files:
        assert (file.duplicate, file.conflict) == (0, 0), file.path
        assert file.records == file.landed + file.quarantined, file.path
    stored = landing.rows("select count(*), count(distinct payload) from raw.events")
    assert stored == [(sum(landed for landed, _, _ in LANDED.values()),) * 2]


def test_refused_bytes_are_kept_as_they_came(landing: Landing) -> None:
    for name in ("nul.jsonl", "invalid_utf8.jsonl", "lone_cr.jsonl", "garbage.jsonl"):
        content = (HOSTILE / name).read_bytes()
        landing.land(HOSTILE / name)
        rows = landing.rows(
            "select byte_offset, payload from raw.quarantine where load_id = (select max(load_id) from raw.loads)"
        )
        assert rows
        for offset, payload in rows:
            assert content[offset : offset + len(payload)] == payload


@pytest.mark.parametrize("named", ["folder", "files", "glob"])
def test_files_of_any_name_land_whatever_way_they_are_named(named: str, landing: Landing) -> None:
    folder = landing.folder / "in [x] * it's"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(GOOD % number)
    paths: dict[str, list[Path]] = {
        "folder": [folder],
        "files": [folder / name for name in NAMES],
        "glob": [landing.folder / "in ?x? * it's" / "*.jsonl", landing.folder / "in*" / "nothing-*.jsonl"],
    }

    files = landing.land(*paths[named]).files

    landed = [Path(file.path).name for file in files if file.landed == 1]
    assert sorted(landed) == sorted(NAMES)
    assert [file.error is not None for file in files if file.landed == 0] == [True] * (named == "glob")


def test_hostile_file_on_standard_input_ends_in_counts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loaders.cli", "--home", str(tmp_path / "home"), "load", "-", "--format", "json"]
    for number, name in enumerate(("nul.jsonl", "zstd.jsonl.zst", "garbage.jsonl", "truncated.jsonl.gz"), start=1):
        with (HOSTILE / name).open("rb") as piped:
            done = subprocess.run(command, stdin=piped, capture_output=True, text=True)
        summary = json.loads(done.stdout)
        assert (summary["load_id"], summary["files"][0]["path"]) == (number, "-")
        assert done.returncode == (1 if name in UNREADABLE else 0), done.stderr
        assert "Traceback" not in done.stderr
        assert summary["totals"]["quarantined"] == sum(LANDED.get(name, (0, 0, {}))[2].values())


@pytest.mark.parametrize("opening", [b"[", b'{"k":', b'[{"k":'], ids=["lists", "objects", "both"])
@pytest.mark.parametrize("form", ["line", "metadata", "document"])
def test_nesting_of_100_000_levels_is_refused_alone(opening: bytes, form: str, landing: Landing) -> None:
    closing = bytes({ord("["): b"]", ord("{"): b"}"}[byte][0] for byte in reversed(opening) if byte in b"[{")
    deep = opening * 100_000 + b"1" + closing * 100_000
    texts = {
        "line": b"\n".join([GOOD % 1, deep, GOOD % 2]),
        "metadata": b"\n".join([GOOD % 1, (GOOD % 3)[:-1] + b',"metadata":{"k":' + deep + b"}}", GOOD % 2]),
        "document": b"[\n" + b",\n".join([GOOD % 1, deep, GOOD % 2]) + b"\n]",
    }
    path = landing.folder / "deep.json"
    path.write_bytes(texts[form])

    file = landing.land_one(path)

    assert (file.landed, file.quarantined, file.error) == (2, 1, None)
    assert file.reasons.keys() <= {"too_deep", "invalid_json", "too_large"}


@pytest.mark.slow
def test_line_of_100_mb_is_refused_alone(landing: Landing) -> None:
    path = landing.folder / "huge.jsonl"
    with path.open("wb") as file:
        file.write(GOOD % 1 + b'\n{"name":"')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + GOOD % 2)

    landed = landing.land_one(path)

    assert (landed.landed, landed.reasons) == (2, {"too_large": 1})
    assert landing.rows("select octet_length(payload) from raw.quarantine") == [(100_000_011,)]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_file_that_may_not_be_read_stops_no_other(landing: Landing) -> None:
    paths = [landing.folder / f"{name}.jsonl" for name in "abc"]
    for number, path in enumerate(paths):
        path.write_bytes(GOOD % number)
    paths[1].chmod(0)

    assert [(file.landed, file.error) for file in landing.land(*paths).files] == [
        (1, None),
        (0, f"{paths[1]}: permission denied. Check who may read it."),
        (1, None),
    ]


def test_every_file_of_the_corpus_is_expected() -> None:
    assert {path.name for path in HOSTILE.iterdir()} == LANDED.keys() | UNREADABLE.keys()
