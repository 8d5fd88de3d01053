"""Files as they come: names, folders, compression, line ends, one document or many lines, and what cannot be read."""

import gzip
import hashlib
import json
import os
import random
import zlib
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from conftest import Landing

from loaders.records import DOCUMENT_BYTE_LIMIT
from loaders.sources import files as files_module
from loaders.sources.files import SourceFile, expand_paths

pytestmark = pytest.mark.filterwarnings("error")

LINES = b'{"name":"a","external_customer_id":"c","organization_id":"o"}\n' * 3


def units(path: Path, folder: Path) -> list[tuple[int, bytes]]:
    with SourceFile(str(path), home=folder) as source:
        return [unit for batch in source.units() for unit in batch]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zstd(content: bytes) -> bytes:
    return bytes(pyarrow.Codec("zstd").compress(content, asbytes=True))


def two_members(content: bytes) -> bytes:
    return gzip.compress(content[:50]) + gzip.compress(content[50:])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd, two_members], ids=["plain", "gzip", "zstd", "two gzips"])
def test_packing_is_told_by_its_first_bytes_not_the_name(pack: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", pack(LINES))

    assert [raw for _, raw in units(path, tmp_path)] == LINES.splitlines()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_sha256_and_size_are_those_of_the_file_as_stored(pack: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x", pack(LINES))
    with SourceFile(str(path), home=tmp_path) as source:
        ahead = source.hash_ahead()
        list(source.units())
        stored = path.read_bytes()

        assert source.sha256 == ahead == hashlib.sha256(stored).hexdigest()
        assert source.byte_count == len(stored)


@pytest.mark.parametrize(
    ("content", "expected", "blank"),
    [
        (b"{}\n{}\n", [(0, b"{}"), (3, b"{}")], 0),
        (b"{}\r\n{}\r\n", [(0, b"{}"), (4, b"{}")], 0),
        (b"\xef\xbb\xbf{}\n{}", [(3, b"{}"), (6, b"{}")], 0),
        (b"\n{}\n \t\r\n\n{}\n\n", [(1, b"{}"), (9, b"{}")], 4),
        (b"{}\n{torn", [(0, b"{}"), (3, b"{torn")], 0),
        (b"{bad\n{}\n", [(0, b"{bad"), (5, b"{}")], 0),
        (b"[1,\n{}\n", [(0, b"[1,"), (4, b"{}")], 0),
        (b"{}\n\x0b\n", [(0, b"{}"), (3, b"\x0b")], 0),
        (b" {} \n", [(0, b" {} ")], 0),
        (b"", [], 0),
        (b"\xef\xbb\xbf", [], 0),
        (b"\n\n", [], 2),
        (b'[\n{"a":1},\n{"b":2}\n]\n', [(0, b'[\n{"a":1},\n{"b":2}\n]')], 0),
        (b'\xef\xbb\xbf\r\n{\n"a": 1}\n', [(5, b'{\n"a": 1}')], 0),
        (b'[\n{"a":NaN},\n{"b":2}\n]', [(0, b'[\n{"a":NaN},\n{"b":2}\n]')], 0),
    ],
    ids=[
        "LF", "CRLF", "BOM", "blank lines", "torn end", "bad first line", "broken list first", "vertical tab",
        "blanks around", "empty", "BOM only", "blank only", "document", "document with BOM", "document with NaN",
    ],
)  # fmt: skip
@pytest.mark.parametrize("block_size", [7, 8, 13, 16 << 20])
def test_lines_and_documents_keep_bytes_and_offsets_in_blocks_of_any_size(
    content: bytes,
    expected: list[tuple[int, bytes]],
    blank: int,
    block_size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write(tmp_path / "x.jsonl", content)
    monkeypatch.setattr(files_module, "BLOCK_SIZE", block_size)
    with SourceFile(str(path), home=tmp_path) as source:
        found = [unit for batch in source.units() for unit in batch]

    assert found == expected
    assert source.blank_count == blank


def test_folder_gives_its_record_files_in_order_without_the_home_folder(tmp_path: Path) -> None:
    wanted = ["c.json.gz", "d.jsonl.zst", "e e.json", "it's *[1].jsonl", "b/x.NDJSON", "b/ü.jsonl"]
    for name in [*wanted, "readme.md", "x.csv", "y.jsonl.bak", ".hidden.jsonl", ".git/x.jsonl", "home/target/run.json"]:
        write(tmp_path / name, b"")

    found = expand_paths([str(tmp_path)], home=tmp_path / "home")

    assert [os.path.relpath(path, tmp_path) for path in found] == wanted


def test_glob_is_expanded_here_and_a_file_named_like_one_wins(tmp_path: Path) -> None:
    for name in ("star*.jsonl", "starX.jsonl", "a[1].jsonl", "a1.jsonl"):
        write(tmp_path / name, b"")

    def expand(pattern: str) -> list[str]:
        return [Path(path).name for path in expand_paths([str(tmp_path / pattern)], home=tmp_path / "home")]

    assert expand("star*.jsonl") == ["star*.jsonl"]
    assert expand("s*.jsonl") == ["star*.jsonl", "starX.jsonl"]
    assert expand("a[1].jsonl") == ["a[1].jsonl"]
    assert expand("nothing*.jsonl") == ["nothing*.jsonl"]


@pytest.mark.parametrize(
    "name", ["it's.jsonl", 'say "hi".jsonl', "a b.jsonl", "*.jsonl", "[x]?.jsonl", "é-日本.jsonl", "$1;--.jsonl"]
)
def test_any_file_name_lands_and_is_kept(name: str, landing: Landing) -> None:
    file = landing.land_one(write(landing.folder / name, LINES))

    assert file.landed == 3
    assert landing.rows("select file_name from raw.loads") == [(str(landing.folder / name),)]


def test_file_name_that_is_no_utf8_lands_and_is_kept_readable(landing: Landing) -> None:
    path = os.fsdecode(os.fsencode(landing.folder) + b"/caf\xe9.jsonl")
    Path(path).write_bytes(LINES)

    assert landing.land_one(path).path == f"{landing.folder}/caf\\xe9.jsonl"
    assert landing.land_one(f"{path}.missing").error == (
        f"{landing.folder}/caf\\xe9.jsonl.missing: no such file. Check the path."
    )


def test_named_file_is_read_whatever_its_name(landing: Landing) -> None:
    assert landing.land_one(write(landing.folder / "export.txt", LINES)).landed == 3


def damaged(content: bytes) -> bytes:
    return content[:30] + bytes([content[30] ^ 255]) + content[31:]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (gzip.compress(LINES * 1000)[:-4], "the compression is damaged"),
        (gzip.compress(LINES * 1000)[:20], "the compression is damaged"),
        (damaged(gzip.compress(LINES * 1000)), "the compression is damaged"),
        (gzip.compress(LINES) + b"garbage", "the compression is damaged"),
        (zstd(LINES * 1000)[:-3], "cannot be read to its end"),
        (b"", "the compression is damaged"),
    ],
    ids=["gzip cut in its checksum", "gzip cut early", "gzip flipped", "gzip and garbage", "zstd cut", "empty .gz"],
)
def test_damaged_file_lands_nothing_and_stops_no_other(content: bytes, found: str, landing: Landing) -> None:
    bad = write(landing.folder / "a.jsonl.gz", content)
    good = write(landing.folder / "b.jsonl", LINES)

    first, second = landing.land(bad, good).files

    assert first.error is not None
    assert first.error.startswith(f"{bad}: {found}")
    assert first.error.endswith("Fetch the file again.")
    assert (first.records, first.landed) == (0, 0)
    assert second.landed == 3
    assert landing.rows("select count(*) from raw.events") == [(3,)]
    assert landing.rows("select file_number, error is null, sha256 is null from raw.loads order by 1") == [
        (1, False, True),
        (2, True, False),
    ]


def test_file_mended_after_an_error_lands(landing: Landing) -> None:
    path = write(landing.folder / "a.jsonl.gz", gzip.compress(LINES)[:-4])
    landing.land(path)
    write(path, gzip.compress(LINES))

    assert landing.land_one(path).landed == 3


def test_missing_file_is_an_error_of_its_own(landing: Landing) -> None:
    missing = landing.folder / "missing.jsonl"

    assert landing.land_one(missing).error == f"{missing}: no such file. Check the path."


def test_document_over_the_limit_lands_nothing(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "DOCUMENT_BYTE_LIMIT", 1000)
    monkeypatch.setattr(files_module, "BLOCK_SIZE", 100)
    path = write(landing.folder / "x.json", b"[\n" + b",\n".join([LINES.strip().splitlines()[0]] * 100) + b"\n]")

    error = landing.land_one(path).error

    assert error == f"{path}: the document is larger than 256 MiB. Split it, or write one record a line."


def test_many_lines_after_a_bad_first_one_are_no_document(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "DOCUMENT_BYTE_LIMIT", 1000)
    monkeypatch.setattr(files_module, "BLOCK_SIZE", 100)
    path = write(landing.folder / "x.jsonl", b'{"torn":\n' + LINES * 100)

    file = landing.land_one(path)

    assert (file.records, file.quarantined, file.error) == (301, 1, None)


def test_document_limit_is_256_mib() -> None:
    assert DOCUMENT_BYTE_LIMIT == 256 * 1024 * 1024


@pytest.mark.parametrize("indent", [None, 2], ids=["compact", "pretty-printed"])
@pytest.mark.parametrize("form", ["array", "envelope", "page", "object"])
def test_whole_document_lands_like_lines(form: str, indent: int | None, landing: Landing) -> None:
    events = [
        {"name": "e", "external_customer_id": "c", "external_id": str(i), "organization_id": "o"} for i in range(3)
    ]
    documents: dict[str, Any] = {
        "array": events,
        "envelope": {"events": events},
        "page": {"items": events, "pagination": {"total_count": 3, "max_page": 1}},
        "object": events[0],
    }
    text = json.dumps(documents[form], indent=indent)
    path = write(landing.folder / "x.json", text.encode())

    assert landing.land_one(path).landed == (1 if form == "object" else 3)
    for offset, payload, number in landing.rows("select byte_offset, payload, record_number from raw.events"):
        assert text[offset : offset + len(payload)] == payload
        assert json.loads(payload)["external_id"] == str(number - 1)


def test_line_of_megabytes_is_quarantined_whole(landing: Landing) -> None:
    huge = b'{"name":"' + random.Random(1).randbytes(4 << 20).hex().encode() + b'"}'
    path = write(landing.folder / "x.jsonl", LINES + huge + b"\n" + LINES)

    file = landing.land_one(path)

    assert (file.landed, file.quarantined, file.reasons) == (6, 1, {"too_large": 1})
    ((number, sha256, crc),) = [
        (number, sha256, zlib.crc32(payload))
        for number, sha256, payload in landing.rows("select record_number, sha256, payload from raw.quarantine")
    ]
    assert (number, sha256, crc) == (4, hashlib.sha256(huge).hexdigest(), zlib.crc32(huge))


def test_limit_applies_to_each_record_of_a_long_line(landing: Landing) -> None:
    event = json.dumps({"name": "e", "external_customer_id": "c" * 1000, "organization_id": "o"})
    path = write(landing.folder / "x.jsonl", f'{{"events":[{",".join([event] * 3000)}]}}\n'.encode() + LINES)

    assert landing.land_one(path).landed == 3003


def test_pipe_is_read_like_a_file(landing: Landing) -> None:
    reading, writing = os.pipe()
    os.write(writing, LINES)
    os.close(writing)
    file = landing.land_one(f"/dev/fd/{reading}")
    os.close(reading)

    assert file.landed == 3
    assert list(landing.home.path.glob("spool-*")) == []


def test_spool_of_a_killed_run_is_removed(landing: Landing) -> None:
    stale = write(landing.home.path / "spool-stale", b"personal data")
    landing.land(write(landing.folder / "x.jsonl", LINES))

    assert not stale.exists()
