"""The command line as a person or a scheduler meets it: exact output, messages and exit codes."""

import inspect
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import Landing

from loaders.cli import COMMANDS, main, meterhouse

pytestmark = pytest.mark.filterwarnings("error")

GOOD = b'{"name":"a","external_customer_id":"c","organization_id":"o","external_id":"1"}'
NO_ORGANIZATION = b'{"name":"a","external_customer_id":"c"}'

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in a folder of its own, with ./warehouse as home: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("METERHOUSE_HOME", "METERHOUSE_ORGANIZATION_ID"):
        monkeypatch.delenv(name, raising=False)
    mask = os.umask(0o077)
    os.umask(mask)

    def run_main(*arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        try:
            code = main(list(arguments))
        finally:
            os.umask(mask)
        return code, *capsys.readouterr()

    return run_main


def write(name: str, *lines: bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(b"\n".join(lines) + b"\n")
    return name


def test_summary_as_json_has_exactly_the_promised_shape(run: Run) -> None:
    write("in/a.jsonl", GOOD, GOOD, GOOD.replace(b'"a"', b'"b"'), b"", b"{torn")
    write("in/b.jsonl.gz", b"")
    Path("in/b.jsonl.gz").write_bytes(b"\x1f\x8b")
    code, out, _ = run("load", "in", "--format", "json")

    first = {"records": 4, "landed": 1, "duplicate": 1, "conflict": 1, "quarantined": 1, "blank": 1}
    nothing = dict.fromkeys(first, 0)
    summary = json.loads(out)
    error = summary["files"][1].pop("error")
    assert summary == {
        "load_id": 1,
        "files": [
            {"path": "in/a.jsonl", **first, "skipped": False, "error": None},
            {"path": "in/b.jsonl.gz", **nothing, "skipped": False},
        ],
        "totals": {**first, "skipped": 0, "error": 1},
    }
    assert error.startswith("in/b.jsonl.gz: the compression is damaged")
    assert code == 1


def test_summary_as_text_shows_files_totals_reasons_and_the_next_step(run: Run) -> None:
    write("events.jsonl", GOOD, b"{torn", b"7", b"{torn")

    assert run("load", "events.jsonl") == (
        0,
        "file          records  landed  duplicate  conflict  quarantined  blank\n"
        "events.jsonl        4       1          0         0            3      0\n"
        "total               4       1          0         0            3      0\n"
        "\n"
        "quarantined:\n"
        "  invalid_json: 2\n"
        "  not_an_object: 1\n"
        "See which and why: meterhouse quarantine list\n",
        "",
    )


def test_file_landed_before_is_skipped(run: Run) -> None:
    write("events.jsonl", GOOD)
    run("load", "events.jsonl")
    code, out, _ = run("load", "events.jsonl")

    assert code == 0
    assert out.splitlines()[1].split() == ["events.jsonl", *"000000", "landed", "before"]


def test_standard_input_is_a_file(run: Run) -> None:
    code, out, _ = run("load", "-", "--format", "json", stdin=GOOD)

    assert (code, json.loads(out)["files"][0]["path"], json.loads(out)["totals"]["landed"]) == (0, "-", 1)
    assert json.loads(run("load", "-", "--format", "json", stdin=GOOD)[1])["totals"]["skipped"] == 1
    assert sorted(path.name for path in Path("warehouse").iterdir()) == ["meterhouse.duckdb", "meterhouse.lock"]


def test_strict_lands_the_good_records_and_ends_with_1(run: Run) -> None:
    write("events.jsonl", GOOD, b"{torn")
    code, out, err = run("load", "--strict", "events.jsonl")

    assert code == 1
    assert out.splitlines()[1].split()[2] == "1"
    assert err == "error: --strict: 1 quarantined. See which and why: meterhouse quarantine list\n"


def test_file_in_which_no_record_has_an_organization_ends_with_1_and_the_hint(run: Run) -> None:
    write("events.jsonl", NO_ORGANIZATION, NO_ORGANIZATION)
    code, _, err = run("load", "events.jsonl")

    what = "no record carries an organization. Load it with --organization-id ID, or set METERHOUSE_ORGANIZATION_ID."
    assert (code, err) == (1, f"error: events.jsonl: {what}\n")
    code, out, err = run("load", "events.jsonl")
    assert (code, out.splitlines()[1].split()[1], err) == (1, "0", f"error: events.jsonl: {what}\n")
    assert run("load", "events.jsonl", "--organization-id", "o")[0] == 0
    assert run("load", "events.jsonl")[0] == 0


def test_organization_comes_from_the_option_else_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    landing = Landing(tmp_path)
    landing.home.path.mkdir()
    write("events.jsonl", NO_ORGANIZATION)
    monkeypatch.setenv("METERHOUSE_ORGANIZATION_ID", "from environment")
    assert run("load", "events.jsonl", "--home", "home")[0] == 0
    assert run("load", "events.jsonl", "--home", "home", "--organization-id", "from option")[0] == 0

    assert landing.rows("select organization_id from raw.events order by load_id") == [
        ("from environment",),
        ("from option",),
    ]


def test_missing_file_stops_no_other_and_ends_with_1(run: Run) -> None:
    write("b.jsonl", GOOD)
    code, out, err = run("load", "a.jsonl", "b.jsonl")

    assert code == 1
    assert out.splitlines()[1].split()[-2:] == ["not", "landed"]
    assert out.splitlines()[2].split()[:3] == ["b.jsonl", "1", "1"]
    assert err == "error: a.jsonl: no such file. Check the path.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("load",), "Missing argument 'PATH...'"),
        (("load", "x", "--kind", "invoices"), "'invoices' is not one of"),
        (("lod",), "No such command 'lod'"),
        (("load", "x", "--landed-at", "noon"), "error: --landed-at: no ISO 8601 instant: 'noon'. Write it like"),
        (("load", "x", "--landed-at", "9998-01-01"), "error: --landed-at: lies in the future: '9998-01-01'. Give"),
        (("quarantine", "show", "17"), "error: 17: no record id. Write it like 1.1.17, as"),
    ],
    ids=["no path", "unknown kind", "unknown command", "landed-at unreadable", "landed-at in the future", "no id"],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], message: str, run: Run) -> None:
    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert message in err


def test_landed_at_without_an_offset_is_utc(run: Run, tmp_path: Path) -> None:
    write("events.jsonl", GOOD)
    run("load", "events.jsonl", "--home", "home", "--landed-at", "2026-01-01T01:00:00")

    assert str(Landing(tmp_path).rows("select landed_at from raw.events")[0][0]) == "2026-01-01 01:00:00"


def test_home_is_taken_before_and_after_the_command_and_from_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("events.jsonl", GOOD)
    monkeypatch.setenv("METERHOUSE_HOME", "from_environment")
    run("load", "events.jsonl")
    run("--home", "before", "load", "events.jsonl")
    run("--home", "before", "load", "events.jsonl", "--home", "after")

    for home in ("from_environment", "before", "after"):
        assert Path(home, "meterhouse.duckdb").exists(), home
    assert not Path("warehouse").exists()


def test_home_that_cannot_be_made_is_named(run: Run, tmp_path: Path) -> None:
    write("file", b"")
    code, _, err = run("--home", "file/home", "load", "file")

    assert code == 1
    assert err == (
        f"error: {tmp_path}/file/home: the home folder cannot be made (Not a directory). "
        "Choose another with --home or METERHOUSE_HOME.\n"
    )


def test_quarantine_lists_and_shows_what_was_rejected(run: Run) -> None:
    write("events.jsonl", GOOD, b'{"name":"caf\xe9"}')
    run("load", "events.jsonl")

    message = "The record is not UTF-8: export it again as UTF-8."
    listed = f"1.1.2  events.jsonl, record 2: invalid_utf8: {message}\n"
    assert run("quarantine", "list") == (0, listed, "1 rejected. Read one: meterhouse quarantine show ID\n")
    (row,) = json.loads(run("quarantine", "list", "--format", "json")[1])
    assert row == {
        "id": "1.1.2", "load_id": 1, "file_number": 1, "record_number": 2, "file_name": "events.jsonl",
        "reason_code": "invalid_utf8", "field": None, "message": message, "status": "open",
    }  # fmt: skip
    shown = json.loads(run("quarantine", "show", "1.1.2", "--format", "json")[1])
    assert shown["payload"] is None
    assert shown["payload_base64"] == "eyJuYW1lIjoiY2Fm6SJ9"
    assert run("quarantine", "show", "1.1.9") == (
        1,
        "",
        "error: 1.1.9: no such rejected record. See the ids: meterhouse quarantine list --all\n",
    )


def test_replayed_record_is_listed_on_request_only(run: Run) -> None:
    write("events.jsonl", NO_ORGANIZATION)
    run("load", "events.jsonl")
    run("load", "events.jsonl", "--organization-id", "o")

    assert run("quarantine", "list") == (0, "", "None.\n")
    assert "missing_organization (replayed)" in run("quarantine", "list", "--all")[1]


def test_shown_payload_keeps_every_byte_in_a_pipe(tmp_path: Path) -> None:
    bad = b'{"name":"caf\xe9\x1b[31m"}'
    (tmp_path / "events.jsonl").write_bytes(bad)
    meterhouse_command = [sys.executable, "-m", "loaders.cli", "--home", str(tmp_path / "home")]
    subprocess.run([*meterhouse_command, "load", str(tmp_path / "events.jsonl")], check=True, capture_output=True)
    shown = subprocess.run([*meterhouse_command, "quarantine", "show", "1.1.1"], check=True, capture_output=True)

    assert shown.stdout.endswith(b"\npayload:\n" + bad + b"\n")


def test_quarantine_of_a_home_without_a_work_file_is_empty_and_makes_none(run: Run) -> None:
    assert run("quarantine", "list", "--format", "json") == (0, "[]\n", "")
    assert not Path("warehouse").exists()


def test_interrupt_ends_with_130_and_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("events.jsonl", GOOD)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loaders.landing.expand_paths", interrupt)

    # The first line end goes after the terminal's own ^C.
    assert run("load", "events.jsonl") == (130, "", "\nerror: interrupted; run the same command again to finish.\n")


def test_version_is_printed(run: Run) -> None:
    code, out, _ = run("--version")

    assert code == 0
    assert out.startswith("meterhouse, version ")


def commands() -> list[Any]:
    context = click.Context(meterhouse)
    found = []
    for name in COMMANDS:
        command = meterhouse.get_command(context, name)
        assert command is not None
        found.append(pytest.param(command, id=name))
        if isinstance(command, click.Group):
            found += [pytest.param(inner, id=f"{name} {inner.name}") for inner in command.commands.values()]
    return found


@pytest.mark.parametrize("command", commands())
def test_help_is_an_imperative_sentence_with_an_example(command: click.Command) -> None:
    text = inspect.cleandoc(command.help or "")

    assert text.split("\n")[0].rstrip().endswith((".", ","))
    assert text[0].isupper()
    assert "Example:\n  meterhouse " in text


def test_help_needs_no_database(tmp_path: Path) -> None:
    program = (
        "import sys; from loaders.cli import main; main(['load', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('duckdb', 'pyarrow', 'dbt', 'polars', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
