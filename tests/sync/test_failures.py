"""What a server or a network does wrong: waited for, asked again, given up with a word; what had arrived stays."""

import json
import os
import random
import signal
import subprocess
import sys
import traceback
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from polar import PolarNetworkError

from loaders.errors import ApiError, HomeError
from loaders.sources.polar import KINDS
from loaders.sources.polar_api import Access, Api, Pace, _retry_after, read_access
from loaders.sync import _CursorMark
from loaders.warehouse import Home, locked
from sync import payloads
from sync.conftest import NOW, Syncing, at
from sync.fake_polar import TOKEN, FakePolar
from sync.payloads import ORGANIZATION
from tests.parsed_project import shared_parse
from tests.terminal import run_on_a_terminal

pytestmark = pytest.mark.filterwarnings("error")

ROOT = Path(__file__).resolve().parents[2]


def fill(server: FakePolar, count: int = 3) -> None:
    server.put("products", payloads.product(0, at(days=60)))
    for number in range(count):
        server.put("events", payloads.user_event(number, at(days=1 + number % 40)))


def meterhouse(
    server: FakePolar, home: Path, *arguments: str, expect: int | None = 0, **settings: str
) -> subprocess.CompletedProcess[str]:
    with shared_parse(home, arguments):
        done = subprocess.run(
            command(home, *arguments),
            cwd=ROOT,
            env=environment(server, **settings),
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert expect is None or done.returncode == expect, done.stdout + done.stderr
    return done


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "loaders.cli", "--home", str(home), *arguments]


def environment(server: FakePolar, **settings: str) -> dict[str, str]:
    proxies = dict.fromkeys(("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"), "")
    return {**os.environ, **proxies, "POLAR_BASE_URL": server.url, "POLAR_ACCESS_TOKEN": TOKEN, **settings}


# Waiting


def test_retry_after_is_waited_for_by_all(syncing: Syncing, server: FakePolar) -> None:
    fill(server)
    answers = iter(["429=40", "429", "503"])
    server.fault = lambda target: next(answers, None)

    assert syncing.sync(server).errors == []

    assert 40 <= syncing.time.seconds < 60
    assert len(syncing.events()) == 3


def test_backoff_grows_and_has_jitter(syncing: Syncing, server: FakePolar) -> None:
    fill(server)
    server.fault = lambda target: "500" if target.startswith("/v1/products") else None

    syncing.sync(server)

    waits = syncing.time.slept[:7]
    assert all(base / 2 <= wait <= base for base, wait in zip([0.5, 1, 2, 4, 8, 16, 30], waits, strict=True)), waits


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("0", 0), ("", None), ("soon", None), ("-3", None), ("1e9", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert _retry_after({"Retry-After": text}) == seconds


def test_server_that_asks_for_an_hour_is_not_waited_for(syncing: Syncing, server: FakePolar) -> None:
    fill(server)
    server.fault = lambda target: "429=3600"

    (error,) = syncing.sync(server).errors

    assert "asks to wait 3,600 s" in error
    assert syncing.time.seconds < 1


def test_requests_keep_to_the_rate() -> None:
    time = {"now": 0.0}
    sent = []

    pace = Pace(500, clock=lambda: time["now"])
    for _ in range(2000):
        time["now"] += max(0.0, pace.take())
        sent.append(time["now"])

    for first in range(0, 2000, 97):
        within = [moment for moment in sent if sent[first] <= moment < sent[first] + 60]
        assert len(within) <= 500
    assert sent[-1] == pytest.approx(2000 * 60 / 500, rel=0.03)


# Giving up


@pytest.mark.parametrize(
    ("status", "words"),
    [("401", "The token is not valid on the production server"), ("403", "give it the scope products:read")],
)
def test_token_that_is_refused_everywhere(status: str, words: str, syncing: Syncing, server: FakePolar) -> None:
    fill(server)
    server.fault = lambda target: status

    errors = syncing.sync(server).errors

    assert words in errors[0]
    assert len(errors) == (1 if status == "401" else len(KINDS))
    assert len(server.requests) == (1 if status == "401" else 1 + len(KINDS)), "nothing refused is asked again"
    assert syncing.rows("select 1 from raw.syncs") == []


def test_organization_that_the_token_may_not_read(syncing: Syncing, server: FakePolar) -> None:
    """Polar shows empty lists then: a sync of them would say that all is well."""
    other = "99999999-6b42-4f6a-9a3e-6f2f3a5a0001"

    (error,) = syncing.sync(server, organizations=(other,)).errors

    assert error.startswith(f"{other}: the token may not read this organization; it may read {ORGANIZATION}.")
    assert syncing.rows("select error from raw.loads") == [(error,)]
    assert syncing.rows("select 1 from raw.syncs") == []


def test_organization_that_nobody_can_tell_from_an_empty_one(syncing: Syncing, server: FakePolar) -> None:
    server.fault = lambda target: "403" if "/organizations/" in target else None

    (warning,) = syncing.sync(server).warnings
    assert warning.startswith(f"organization {ORGANIZATION}: Polar shows no record of it")

    server.put("products", payloads.product(0, at(days=60)))
    assert syncing.sync(server).warnings == []
    assert syncing.sync(server).warnings == []
    (error,) = syncing.sync(server, organizations=(None,)).errors
    assert error.endswith("give it the scope organizations:read. Or name the organization with --organization-id.")


def test_name_that_no_server_has(syncing: Syncing, server: FakePolar) -> None:
    server.url = "https://api.polar.invalid"

    (error,) = syncing.sync(server).errors

    assert error.startswith("https://api.polar.invalid/v1/organizations/?")
    assert "ConnectError" in error
    assert "8 times" in error


def test_clock_that_is_ahead_vouches_for_nothing_that_has_not_happened(syncing: Syncing, server: FakePolar) -> None:
    fill(server)
    now = NOW - timedelta(hours=1)
    server.date = format_datetime(now, usegmt=True)

    summary = syncing.sync(server)

    (warning,) = summary.warnings
    assert warning == "this machine's clock is 3,600 s ahead of Polar's: synced up to Polar's time. Set the clock."
    (row,) = syncing.rows("select covered_to_at, finished_at from raw.syncs where kind = 'events'")
    assert row == ((now - timedelta(minutes=15)).replace(tzinfo=None, microsecond=0), row[1])
    assert row[1].replace(microsecond=0) == now.replace(tzinfo=None, microsecond=0)

    server.date = format_datetime(NOW + timedelta(hours=1), usegmt=True)
    assert syncing.sync(server).warnings == [], "a clock that is behind reads the rest the next time"


def test_silent_server_is_given_up_and_what_had_arrived_stays(syncing: Syncing, server: FakePolar) -> None:
    fill(server)
    server.silence = 5
    server.fault = lambda target: "silence" if target.startswith("/v1/events") else None

    (error,) = syncing.sync(server, timeout=1, attempts=2).errors

    assert error.startswith(f"{server.url}/v1/events/?")
    assert "ReadTimeout" in error
    assert "2 times in" in error
    assert "run the same command again" in error
    assert len(syncing.resources("products")) == 1


def test_nobody_listens(syncing: Syncing, server: FakePolar) -> None:
    server.url = "http://127.0.0.1:1"

    (error,) = syncing.sync(server, attempts=2).errors

    assert "ConnectError" in error
    assert TOKEN not in error


@pytest.mark.parametrize("fault", ["cut", "cut-silently", "no-json", "hang-up"])
def test_answer_that_is_not_whole_lands_nothing(fault: str, syncing: Syncing, server: FakePolar) -> None:
    fill(server)
    server.fault = lambda target: fault if target.startswith("/v1/products") else None

    (error,) = syncing.sync(server, attempts=3).errors

    assert "3 times" in error
    assert syncing.rows("select kind, error from raw.loads") == [("products", error)]


def test_kind_that_is_refused_stops_no_other(syncing: Syncing, server: FakePolar) -> None:
    fill(server)
    server.fault = lambda target: "403" if target.startswith("/v1/refunds") else None

    summary = syncing.sync(server)

    (error,) = summary.errors
    assert "give it the scope refunds:read" in error
    assert len(syncing.events()) == 3


def test_sync_that_gave_up_goes_on_where_it_was(syncing: Syncing, server: FakePolar, small_pages: None) -> None:
    fill(server, 60)
    seen = 0

    def fault(target: str) -> str | None:
        nonlocal seen
        seen += target.startswith("/v1/events")
        return "500" if seen > 12 and target.startswith("/v1/events") else None

    server.fault = fault
    assert len(syncing.sync(server, attempts=2).errors) == 1
    (reached,) = syncing.rows("select pass_next_at from raw.sync_cursors where kind = 'events'")
    landed = len(syncing.events())
    assert 0 < landed < 60
    assert syncing.rows("select 1 from raw.syncs where kind = 'events'") == []

    server.fault = lambda target: None
    server.requests.clear()
    assert syncing.sync(server).errors == []
    assert len(syncing.events()) == 60
    starts = [query["start_timestamp"][0] for path, query in server.requests if path == "/v1/events/"]
    assert min(starts) >= (reached[0] - timedelta(days=3, milliseconds=1)).isoformat()[:19]
    (row,) = syncing.rows("select covered_from_at from raw.syncs where kind = 'events'")
    assert row[0] <= (NOW - timedelta(days=39)).replace(tzinfo=None)


# The command line


def test_exit_codes_and_messages(tmp_path: Path, server: FakePolar) -> None:
    fill(server)
    server.fault = lambda target: "403" if target.startswith("/v1/meters") else None
    done = meterhouse(server, tmp_path / "home", "sync", "--format", "json", expect=1)

    assert "error: http://127.0.0.1" in done.stderr
    assert "scope meters:read" in done.stderr
    summary = json.loads(done.stdout)
    assert summary["totals"]["landed"] == 4
    (events,) = [entry for entry in summary["kinds"] if entry["kind"] == "events"]
    assert events["records"] == events["landed"] == 3
    assert not events["is_complete"]

    server.fault = lambda target: None
    done = meterhouse(server, tmp_path / "home", "sync")
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].split() == [
        "list", "pages", "records", "landed", "duplicate", "conflict", "quarantined", "blank",
    ]  # fmt: skip
    assert done.stdout.splitlines()[-1].split()[0] == "total"

    status = meterhouse(server, tmp_path / "home", "status").stdout
    assert "synced     " in status


def test_terminal_shows_how_far_it_is_and_stdout_only_the_result(tmp_path: Path, server: FakePolar) -> None:
    fill(server, 250)
    code, shown, stdout = run_on_a_terminal(
        command(tmp_path / "home", "sync", "--format", "json"),
        cwd=ROOT,
        env=environment(server, TERM="xterm"),
        timeout=60,
    )

    assert code == 0, shown
    assert b"syncing" in shown
    assert json.loads(stdout)["totals"]["landed"] == 251


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"POLAR_ACCESS_TOKEN": ""}, "POLAR_ACCESS_TOKEN: not set"),
        ({"POLAR_ACCESS_TOKEN": f"{TOKEN} {TOKEN}"}, "holds a blank"),
        ({"POLAR_ACCESS_TOKEN": f"{TOKEN}é"}, "holds a blank"),
        ({"POLAR_BASE_URL": "http://example.com"}, "Write https"),
        ({"POLAR_BASE_URL": f"https://{TOKEN}:x@example.com"}, "no address of a server"),
        ({"POLAR_BASE_URL": "https://example.com:port"}, "no address of a server"),
        ({"POLAR_SERVER": "staging"}, "'staging' is not one of"),
    ],
)
def test_wrong_settings_end_with_2_and_tell_no_token(
    settings: dict[str, str], message: str, tmp_path: Path, server: FakePolar
) -> None:
    done = meterhouse(server, tmp_path / "home", "sync", expect=2, **settings)

    assert message in done.stderr
    assert TOKEN not in done.stderr + done.stdout


def test_each_organization_may_have_a_token_of_its_own() -> None:
    other = "11111111-2222-4333-8444-555555555555"
    environment = {"POLAR_ACCESS_TOKEN": "a", f"POLAR_ACCESS_TOKEN_{other.replace('-', '_')}": "b"}

    assert read_access(environment, "production", None, []).keys() == {other, None}
    third = "22222222-2222-4333-8444-555555555555"
    named = read_access(environment, "sandbox", None, [ORGANIZATION, other, third])
    assert [access._token for access in named.values()] == ["a", "b", "a"]
    assert named[ORGANIZATION] is named[third], "their requests count together"


def test_token_is_in_no_error_and_no_representation(syncing: Syncing, server: FakePolar) -> None:
    """Also where the network's own error repeats what was sent: a traceback shows every error that is chained."""
    server.fault = lambda target: "hang-up"
    access = Access(TOKEN, "production", server.url)
    with Api(access, Pace(1000), attempts=1) as api:

        def send(request: Any) -> Any:
            raise PolarNetworkError(f"cannot send {dict(request.headers)}")

        api._client.send_request = send
        with pytest.raises(ApiError) as raised:
            api.get("/v1/events/", {}, lambda body: body)

    assert "cannot send" in str(raised.value)
    for text in (*traceback.format_exception(raised.value), repr(access), str(vars(raised.value))):
        assert TOKEN not in text


def test_lock_that_another_run_holds_ends_with_75_before_any_request(tmp_path: Path, server: FakePolar) -> None:
    with locked(Home(tmp_path / "home")):
        for name in ("sync", "run"):
            done = meterhouse(server, tmp_path / "home", name, expect=75)
            assert f"process {os.getpid()} is working on this home folder" in done.stderr
            assert done.stdout == ""
    assert server.requests == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_it_at_once_and_loses_nothing(
    number: signal.Signals, code: int, syncing: Syncing, server: FakePolar
) -> None:
    """Though the server is silent, and for longer than anybody would wait."""
    fill(server, 350)
    server.silence = 60
    seen = 0

    def fault(target: str) -> str | None:
        nonlocal seen
        seen += target.startswith("/v1/events/")
        if seen == 4:
            process.send_signal(number)
        return "silence" if seen >= 4 else None

    server.fault = fault
    with server.lock:
        process = subprocess.Popen(
            command(syncing.home.path, "sync"),
            cwd=ROOT,
            env=environment(server),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell lets its jobs in the background ignore Ctrl-C, and so would they.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    # Less than the server's silence, and time enough for a busy machine to start Python.
    stdout, stderr = process.communicate(timeout=50)

    assert process.returncode == code, stderr
    assert (stdout, stderr.strip()) == ("", "error: interrupted; run the same command again to finish.")
    assert len(syncing.resources("products")) == 1
    assert "did not end: run 'meterhouse sync'" in meterhouse(server, syncing.home.path, "status").stdout
    server.fault = lambda target: None
    assert syncing.sync(server).errors == []
    assert syncing.events() == server.visible("events")


# Kills


def run_until_killed(server: FakePolar, home: Path, requests: int) -> int:
    """Sync in a process of its own, which dies when it has made so many requests. Return its exit code."""
    count = 0
    process: list[subprocess.Popen[bytes]] = []

    def before(number: int) -> None:
        nonlocal count
        count += 1
        if count == requests:
            os.kill(process[0].pid, signal.SIGKILL)

    server.before = before
    arguments = command(home, "sync", "--requests-per-minute", "100000")
    with server.lock:
        process.append(
            subprocess.Popen(
                arguments,
                cwd=ROOT,
                env=environment(server),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    return process[0].wait(120)


def check_kills(seed: int, syncing: Syncing, server: FakePolar) -> None:
    dice = random.Random(seed)
    fill(server, 450)
    for number in range(150):
        server.put("customers", payloads.customer(number, at(days=50)))
        server.put("orders", payloads.order(number, at(days=number % 60, minutes=5)))
    deaths = 0
    for _ in range(4):
        deaths += run_until_killed(server, syncing.home.path, dice.randint(1, 25)) == -signal.SIGKILL
    assert deaths
    assert run_until_killed(server, syncing.home.path, 0) == 0

    assert syncing.events() == server.visible("events")
    for kind in ("products", "customers", "orders"):
        assert syncing.resources(kind) == server.visible(kind)
        (count,) = syncing.rows(f"select count(*) from raw.resources where kind = '{kind}'")
        assert count == (len(server.visible(kind)),)
    assert syncing.rows("select count(*) from raw.loads where records != landed + duplicate + conflict") == [(0,)]


def test_killed_syncs_lose_and_double_nothing(syncing: Syncing, server: FakePolar) -> None:
    check_kills(0, syncing, server)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_many_killed_syncs_lose_and_double_nothing(seed: int, syncing: Syncing, server: FakePolar) -> None:
    check_kills(seed, syncing, server)


def test_cursor_that_was_not_written_is_noticed(
    syncing: Syncing, server: FakePolar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A COMMIT may say OK and write nothing: what a next sync relies on is read back."""
    fill(server)
    monkeypatch.setattr(_CursorMark, "write", lambda self: None)

    with pytest.raises(HomeError, match="was not committed"):
        syncing.sync(server)


def test_fault_in_the_middle_of_landing_moves_no_cursor(
    syncing: Syncing, server: FakePolar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor is in the transaction of the page: without the one there is not the other."""
    from loaders.landing import _FileLanding

    fill(server)
    write_ledger = _FileLanding._write_ledger

    def stop_at_events(self: Any, source: Any) -> None:
        if self._options.kind == "events":
            raise RuntimeError("the machine stops")
        write_ledger(self, source)

    monkeypatch.setattr(_FileLanding, "_write_ledger", stop_at_events)
    with pytest.raises(RuntimeError):
        syncing.sync(server)
    assert syncing.rows("select 1 from raw.sync_cursors where kind = 'events'") == []
    assert syncing.events() == {}

    monkeypatch.undo()
    syncing.sync(server)
    assert len(syncing.events()) == 3
