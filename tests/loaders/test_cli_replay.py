"""`meterhouse quarantine replay` as a person or a scheduler meets it: exact output, messages and exit codes."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import FIXTURES

from loaders.cli import main
from loaders.commands.quarantine import REASON_CODES

pytestmark = pytest.mark.filterwarnings("error")

LOST = b'{"name":"a","external_customer_id":"c","external_id":"1"}'
FIXED = b'{"name":"b","external_customer_id":"c","external_id":"2","organization_id":"o"}'

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `quarantine` in a folder where events.jsonl was loaded: one record lacks an organization, one is torn."""
    monkeypatch.chdir(tmp_path)
    for name in ("METERHOUSE_HOME", "METERHOUSE_ORGANIZATION_ID"):
        monkeypatch.delenv(name, raising=False)
    mask = os.umask(0o077)
    Path("events.jsonl").write_bytes(LOST + b"\n{torn\n")

    def run_main(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(["quarantine", *arguments])
        finally:
            os.umask(mask)
        return code, *capsys.readouterr()

    main(["load", "events.jsonl"])
    return run_main


def test_replay_says_what_landed_and_what_stays(run: Run) -> None:
    stays = "1 stay rejected:\n  invalid_json: 1\nSee which and why: meterhouse quarantine list\n"

    assert run("replay", "--organization-id", "o") == (
        0,
        f"Replayed 1 records: 1 landed, 0 duplicate, 0 conflict.\n{stays}",
        "",
    )
    assert run("replay", "--organization-id", "o") == (
        0,
        f"Replayed 0 records: 0 landed, 0 duplicate, 0 conflict.\n{stays}",
        "",
    )


def test_organization_comes_from_the_environment_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERHOUSE_ORGANIZATION_ID", "o")

    counts = {"records": 1, "landed": 1, "duplicate": 0, "conflict": 0, "quarantined": 0, "blank": 0}
    assert json.loads(run("replay", "--format", "json")[1]) == {
        "load_id": 2,
        "files": [{"path": "events.jsonl", **counts}],
        "totals": counts,
        "still_open": {"invalid_json": 1},
    }
    assert json.loads(run("replay", "--format", "json")[1])["load_id"] is None


def test_corrected_copy_replaces_the_record_it_is_named_for(run: Run) -> None:
    Path("fixed.jsonl").write_bytes(FIXED)
    landed = "Replayed 1 records: 1 landed, 0 duplicate, 0 conflict.\n"

    assert run("replay", "--record", "1:1:2", "--from", "fixed.jsonl") == (0, landed, "")
    code, out, err = run("replay", "--record", "1.1.2", "--from", "fixed.jsonl")
    assert (code, out) == (1, "")
    assert err.startswith("error: fixed.jsonl: it holds 1 records, and 0 open ones are selected.\n")
    assert "1.1.2" in run("list", "--all")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--record", "17"), 2, "error: 17: no record id. Write it like 1.1.17, as"),
        (("--record", "1.1.9"), 1, "error: 1.1.9: no such rejected record. See the ids:"),
        (("--from", "none.jsonl"), 1, "error: none.jsonl: no such file. Check the path.\n"),
        (("--from", "events.jsonl"), 1, "error: events.jsonl: record 1 (for 1.1.1) is still bad (missing_organizat"),
        (("--from", "events.jsonl", "--reason", "invalid_json"), 1, "error: events.jsonl: it holds 2 records, and 1"),
    ],
    ids=["no id", "no such record", "no such file", "still bad", "another number"],
)
def test_what_stops_a_replay_is_named(arguments: tuple[str, ...], code: int, message: str, run: Run) -> None:
    found, out, err = run("replay", *arguments)

    assert (found, out) == (code, "")
    assert err.startswith(message)


def test_reason_must_be_one_of_the_codes(run: Run) -> None:
    code, _, err = run("replay", "--reason", "no_such")

    assert code == 2
    assert "'no_such' is not one of 'invalid_utf8', 'invalid_json', " in err
    assert {path.stem for path in (FIXTURES / "invalid").glob("*.jsonl")} | {"too_large"} == set(REASON_CODES)


def test_home_without_a_work_file_has_nothing_and_gets_none(run: Run) -> None:
    Path("fixed.jsonl").write_bytes(FIXED)

    assert run("replay", "--home", "new") == (0, "Replayed 0 records: 0 landed, 0 duplicate, 0 conflict.\n", "")
    code, _, err = run("replay", "--home", "new", "--from", "fixed.jsonl")
    assert (code, err) == (1, f"error: {Path.cwd()}/new: nothing was loaded, so nothing waits for a correction.\n")
    assert not Path("new").exists()
