"""`meterhouse load`: land files."""

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from loaders.commands.options import Settings, format_option, home_option
from loaders.commands.printing import printable, say
from loaders.errors import DataError, UsageError
from loaders.records import KIND_OPTIONS

if TYPE_CHECKING:
    from loaders.landing import FileSummary, LoadSummary, Progress

COUNTS = ("records", "landed", "duplicate", "conflict", "quarantined", "blank")


@click.command("load")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--kind", type=click.Choice(KIND_OPTIONS), default="auto", show_default=True, help="What the records are."
)
@click.option(
    "--organization-id",
    envvar="METERHOUSE_ORGANIZATION_ID",
    show_envvar=True,
    metavar="ID",
    help="The organization of records that carry none.",
)
@click.option("--landed-at", metavar="TIMESTAMP", help="When a backfill was truly received (UTC without an offset).")
@click.option("--strict", is_flag=True, help="End with exit code 1 when a record was quarantined.")
@format_option
@home_option
@click.pass_obj
def command(
    settings: Settings,
    paths: tuple[str, ...],
    kind: str,
    organization_id: str | None,
    landed_at: str | None,
    strict: bool,
    output_format: str,
) -> None:
    """Land files, folders (recursively), globs, or - for standard input.

    Landing again what was landed changes nothing. A bad record never stops the good ones: it is quarantined.

    \b
    Example:
      meterhouse load events.jsonl
    """
    summary = land(settings, list(paths), kind=kind, organization_id=organization_id, landed_at=landed_at)
    say(json.dumps(_as_json(summary), indent=2) if output_format == "json" else _as_text(summary))
    raise_load_failures(summary, strict=strict)


def land(
    settings: Settings,
    paths: list[str],
    *,
    kind: str = "auto",
    organization_id: str | None = None,
    landed_at: str | None = None,
) -> "LoadSummary":
    """Land files with a progress bar on a terminal."""
    from loaders.landing import LANDING_MEMORY, LoadOptions, land_files
    from loaders.warehouse import Home, open_work_file

    options = LoadOptions(
        kind=kind,
        organization_id=organization_id or None,
        landed_at=None if landed_at is None else _read_landed_at(landed_at),
    )
    home = Home(settings.home)
    with open_work_file(home, memory_limit=LANDING_MEMORY) as connection, _progress() as progress:
        return land_files(connection, home, paths, options, progress=progress)


def read_instant(option: str, text: str) -> datetime:
    """Return the instant that an option names; UTC without an offset. Raises UsageError."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option}: no ISO 8601 instant: {text!r}. Write it like 2026-01-31T23:30:00Z.") from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _read_landed_at(text: str) -> datetime:
    instant = read_instant("--landed-at", text)
    if instant > datetime.now(UTC):
        raise UsageError(f"--landed-at: lies in the future: {text!r}. Give the time at which the files were received.")
    return instant


@contextlib.contextmanager
def _progress() -> Iterator["Progress | None"]:
    if not sys.stderr.isatty():
        yield None
        return
    from loaders.commands.progress import terminal_progress

    with terminal_progress("landing") as progress:
        yield progress


def _as_json(summary: "LoadSummary") -> dict[str, Any]:
    files = [
        {"path": file.path, **_counts(file), "skipped": file.skipped, "error": file.error} for file in summary.files
    ]
    return {"load_id": summary.load_id, "files": files, "totals": _totals(summary)}


def _counts(file: "FileSummary") -> dict[str, int]:
    return {name: getattr(file, name) for name in COUNTS}


def _totals(summary: "LoadSummary") -> dict[str, int]:
    totals = {name: sum(getattr(file, name) for file in summary.files) for name in COUNTS}
    totals["skipped"] = sum(file.skipped for file in summary.files)
    totals["error"] = sum(file.error is not None for file in summary.files)
    return totals


def _as_text(summary: "LoadSummary") -> str:
    rows = [["file", *COUNTS, ""]]
    for file in summary.files:
        note = "landed before" if file.skipped else "not landed" if file.error else ""
        rows.append([printable(file.path), *(str(count) for count in _counts(file).values()), note])
    totals = _totals(summary)
    rows.append(["total", *(str(totals[name]) for name in COUNTS), ""])
    return "\n".join([*aligned(rows), *quarantine_note([file.reasons for file in summary.files])])


def report_load(summary: "LoadSummary", what: str = "records") -> None:
    """Say on stderr, in a line or two, what a load did: for commands whose result is something else."""
    totals = _totals(summary)
    skipped = f", {totals['skipped']:,} of {len(summary.files):,} files landed before" if totals["skipped"] else ""
    counts = ", ".join(f"{totals[name]:,} {name}" for name in COUNTS[1:5])
    say(f"Read {totals['records']:,} {what}: {counts}{skipped}.", err=True)


def aligned(rows: list[list[str]]) -> list[str]:
    """Return the rows as lines: the first column and the last to the left, numbers between them to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        numbers = (cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *numbers, row[-1]]).rstrip())
    return lines


def quarantine_note(found: list[dict[str, int]]) -> list[str]:
    """Return the lines that say how many records were refused for which reason."""
    reasons: dict[str, int] = {}
    for some in found:
        for reason, count in some.items():
            reasons[reason] = reasons.get(reason, 0) + count
    if not reasons:
        return []
    lines = [f"  {reason}: {count}" for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]
    return ["", "quarantined:", *lines, "See which and why: meterhouse quarantine list"]


def raise_load_failures(summary: "LoadSummary", *, strict: bool) -> None:
    """Raise DataError where the exit code must not be 0; what landed has landed all the same."""
    problems = [file.error for file in summary.files if file.error is not None]
    for file in summary.files:
        if file.needs_organization:
            what = "no record carries an organization. Load it with --organization-id ID"
            problems.append(f"{file.path}: {what}, or set METERHOUSE_ORGANIZATION_ID.")
    quarantined = sum(file.quarantined for file in summary.files)
    if strict and quarantined:
        problems.append(f"--strict: {quarantined} quarantined. See which and why: meterhouse quarantine list")
    if problems:
        raise DataError("\nerror: ".join(problems))
