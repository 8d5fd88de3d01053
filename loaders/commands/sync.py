"""`meterhouse sync`: land from Polar's API."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from loaders.commands.load import COUNTS, aligned, quarantine_note, read_instant
from loaders.commands.options import Settings, format_option, home_option
from loaders.commands.printing import say
from loaders.errors import DataError

if TYPE_CHECKING:
    from loaders.sync import KindSummary, SyncOptions, SyncSummary, Watcher

_SERVERS = ("production", "sandbox")


@click.command("sync")
@click.option(
    "--server",
    type=click.Choice(_SERVERS),
    envvar="POLAR_SERVER",
    show_envvar=True,
    default="production",
    show_default=True,
    help="Which of Polar's servers.",
)
@click.option(
    "--organization-id",
    "organizations",
    multiple=True,
    envvar="POLAR_ORGANIZATION_ID",
    show_envvar=True,
    metavar="ID",
    help="An organization to read; may be given several times. Default: those that the token may read.",
)
@click.option("--since", metavar="TIMESTAMP", help="Let a first sync begin here; let a later one read from here again.")
@click.option("--full", is_flag=True, help="Read all events and orders again, from --since or the beginning.")
@click.option(
    "--reread-days",
    envvar="METERHOUSE_REREAD_DAYS",
    show_envvar=True,
    type=click.FloatRange(min=0, max=3650),
    default=3,
    show_default=True,
    help="Read this many days again, for what Polar shows late.",
)
@click.option(
    "--sweep-days",
    envvar="METERHOUSE_SWEEP_DAYS",
    show_envvar=True,
    type=click.FloatRange(min=0, max=3650),
    default=7,
    show_default=True,
    help="Read everything again when this many days have passed since; 0: only with --full.",
)
@click.option(
    "--requests-per-minute",
    envvar="POLAR_REQUESTS_PER_MINUTE",
    show_envvar=True,
    type=click.FloatRange(min=1, max=100_000),
    show_default="500, on the sandbox 100",
    help="How many requests Polar allows the token.",
)
@click.option("--strict", is_flag=True, help="End with exit code 1 when a record was quarantined.")
@format_option
@home_option
@click.pass_obj
def command(
    settings: Settings,
    server: str,
    organizations: tuple[str, ...],
    since: str | None,
    full: bool,
    reread_days: float,
    sweep_days: float,
    requests_per_minute: float | None,
    strict: bool,
    output_format: str,
) -> None:
    """Land what is new in Polar: events, orders, subscriptions, customers, products, meters, refunds.

    The token is read from POLAR_ACCESS_TOKEN, or POLAR_ACCESS_TOKEN_<organization id with _ for -> where each
    organization has its own; it needs the scopes events:read, orders:read and so on. A sync that was stopped goes on
    where it was. What could be read has landed also where the exit code is 1.

    \b
    Example:
      meterhouse sync
      meterhouse sync --since 2026-01-01
      meterhouse sync --server sandbox --full
    """
    options = _read_options(since, full, reread_days, sweep_days)
    summary = run_sync(settings, server, list(organizations), options, requests_per_minute)
    _warn(summary)
    say(json.dumps(_as_json(summary), indent=2) if output_format == "json" else _as_text(summary))
    raise_sync_failures(summary, strict=strict)


def is_sync_configured() -> bool:
    """Tell whether the environment has a token."""
    from loaders.sources.polar_api import is_configured

    return is_configured(os.environ)


def sync_by_environment(settings: Settings) -> "SyncSummary":
    """Sync as `meterhouse sync` without options does, which the environment may set too: for `meterhouse run`."""
    with command.make_context("sync", [], parent=click.get_current_context()) as context:
        chosen = context.params
    options = _read_options(None, False, chosen["reread_days"], chosen["sweep_days"])
    return run_sync(settings, chosen["server"], chosen["organizations"], options, chosen["requests_per_minute"])


def _read_options(since: str | None, full: bool, reread_days: float, sweep_days: float) -> "SyncOptions":
    from loaders.sync import SyncOptions

    return SyncOptions(
        since=None if since is None else read_instant("--since", since),
        full=full,
        reread=timedelta(days=reread_days),
        sweep_every=timedelta(days=sweep_days) if sweep_days else None,
    )


def run_sync(
    settings: Settings,
    server: str,
    organizations: Iterable[str],
    options: "SyncOptions",
    requests_per_minute: float | None = None,
) -> "SyncSummary":
    """Sync with a progress bar on a terminal."""
    from loaders.landing import LANDING_MEMORY
    from loaders.sources.polar_api import REQUESTS_PER_MINUTE, Api, Pace, read_access
    from loaders.sync import sync
    from loaders.warehouse import Home, open_work_file

    rate = requests_per_minute or REQUESTS_PER_MINUTE[server]
    named = [name for text in organizations for name in text.replace(",", " ").split()]
    accesses = read_access(os.environ, server, os.environ.get("POLAR_BASE_URL"), named)
    paces = {access: Pace(rate) for access in accesses.values()}
    ways: dict[str | None, Callable[[], Api]] = {
        name: partial(Api, access, paces[access]) for name, access in accesses.items()
    }
    home = Home(settings.home)
    with open_work_file(home, memory_limit=LANDING_MEMORY) as connection, _watching() as watcher:
        return sync(connection, home, ways, options, watcher=watcher)


@contextlib.contextmanager
def _watching() -> Iterator["Watcher | None"]:
    if not sys.stderr.isatty():
        yield None
        return
    from loaders.commands.progress import list_progress

    with list_progress("syncing") as watcher:
        yield watcher


def _as_json(summary: "SyncSummary") -> dict[str, Any]:
    kinds = [
        {
            "organization_id": entry.organization_id,
            "kind": entry.kind,
            "pages": entry.pages,
            **{name: getattr(entry, name) for name in COUNTS},
            "skipped": entry.skipped,
            "covered_from_at": _written(entry.covered_from_at),
            "covered_to_at": _written(entry.covered_to_at),
            "is_complete": entry.is_complete,
            "error": entry.error,
        }
        for entry in summary.kinds
    ]
    totals = {name: sum(getattr(entry, name) for entry in summary.kinds) for name in ("pages", *COUNTS, "skipped")}
    said = {"warnings": summary.warnings, "errors": summary.errors}
    return {"load_id": summary.load_id, "kinds": kinds, "totals": totals, **said}


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _as_text(summary: "SyncSummary") -> str:
    rows = [["list", "pages", *COUNTS, ""]]
    organizations = {entry.organization_id for entry in summary.kinds}
    for entry in summary.kinds:
        name = entry.kind if len(organizations) == 1 else f"{entry.organization_id} {entry.kind}"
        rows.append([name, str(entry.pages), *(str(getattr(entry, count)) for count in COUNTS), _note(entry)])
    totals = _as_json(summary)["totals"]
    rows.append(["total", *(str(totals[name]) for name in ("pages", *COUNTS)), ""])
    return "\n".join([*aligned(rows), *quarantine_note([entry.reasons for entry in summary.kinds])])


def _note(entry: "KindSummary") -> str:
    if entry.error:
        return "stopped"
    if entry.covered_to_at is None:
        return "not complete"
    return f"{entry.skipped} pages landed before" if entry.skipped else ""


def report_sync(summary: "SyncSummary") -> None:
    """Say on stderr, in a line, what a sync did: for commands whose result is something else."""
    _warn(summary)
    totals = _as_json(summary)["totals"]
    counts = ", ".join(f"{totals[name]:,} {name}" for name in COUNTS[1:5])
    skipped = f", {totals['skipped']:,} of {totals['pages']:,} pages landed before" if totals["skipped"] else ""
    say(f"Synced {totals['records']:,} records: {counts}{skipped}.", err=True)


def _warn(summary: "SyncSummary") -> None:
    for warning in summary.warnings:
        say(f"warning: {warning}", err=True)


def raise_sync_failures(summary: "SyncSummary", *, strict: bool) -> None:
    """Raise DataError where the exit code must not be 0; what landed has landed all the same."""
    problems = list(summary.errors)
    quarantined = sum(entry.quarantined for entry in summary.kinds)
    if strict and quarantined:
        problems.append(f"--strict: {quarantined} quarantined. See which and why: meterhouse quarantine list")
    if problems:
        raise DataError("\nerror: ".join(problems))
