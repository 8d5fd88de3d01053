"""`meterhouse quarantine`: read what was rejected, and why; land what has become valid."""

import base64
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from loaders.commands.options import Settings, format_option, home_option
from loaders.commands.printing import printable, say
from loaders.errors import DataError, UsageError

if TYPE_CHECKING:
    from loaders.replay import ReplaySummary

REASON_CODES = (
    "invalid_utf8",
    "invalid_json",
    "not_an_object",
    "too_large",
    "too_deep",
    "nul_character",
    "number_out_of_range",
    "unknown_shape",
    "missing_field",
    "invalid_field",
    "missing_organization",
    "naive_timestamp",
    "future_timestamp",
    "name_too_long",
    "invalid_metadata",
)
_NAME = ("load_id", "file_number", "record_number")
_COUNTS = ("records", "landed", "duplicate", "conflict", "quarantined", "blank")
_LIST = """
select
    q.load_id, q.file_number, q.record_number, f.file_name, q.reason_code, q.field, q.message, q.status
from raw.quarantine as q
inner join raw.loads as f on f.load_id = q.load_id and f.file_number = q.file_number
where $include_replayed or q.status = 'open'
order by q.load_id, q.file_number, q.record_number
"""
_SHOW = """
select
    q.load_id, q.file_number, q.record_number, f.file_name, q.byte_offset, q.kind, q.organization_id, q.reason_code,
    q.field, q.message, q.found, q.status, q.replayed_load_id, q.sha256, q.payload
from raw.quarantine as q
inner join raw.loads as f on f.load_id = q.load_id and f.file_number = q.file_number
where q.load_id = $load_id and q.file_number = $file_number and q.record_number = $record_number
"""


@click.group("quarantine")
def command() -> None:
    """List, show and replay rejected records.

    \b
    Example:
      meterhouse quarantine list
    """


@command.command("list")
@click.option("--all", "include_replayed", is_flag=True, help="Include records that landed later.")
@format_option
@home_option
@click.pass_obj
def list_records(settings: Settings, include_replayed: bool, output_format: str) -> None:
    """List rejected records with their file, record number and reason.

    \b
    Example:
      meterhouse quarantine list --format json
    """
    rows = _query(settings, _LIST, {"include_replayed": include_replayed})
    if output_format == "json":
        click.echo(json.dumps([{"id": _name(row), **row} for row in rows], indent=2))
        return
    for row in rows:
        where = f"{printable(row['file_name'])}, record {row['record_number']}"
        status = "" if row["status"] == "open" else f" ({row['status']})"
        say(f"{_name(row)}  {where}: {row['reason_code']}{status}: {row['message']}")
    click.echo(f"{len(rows)} rejected. Read one: meterhouse quarantine show ID" if rows else "None.", err=True)


@command.command("show")
@click.argument("record_id", metavar="ID")
@format_option
@home_option
@click.pass_obj
def show_record(settings: Settings, record_id: str, output_format: str) -> None:
    """Show one rejected record: what was found, and its bytes as they came.

    ID is load, file and record number, as `quarantine list` prints it.

    \b
    Example:
      meterhouse quarantine show 1.1.17
    """
    rows = _query(settings, _SHOW, dict(zip(_NAME, _read_name(record_id), strict=True)))
    if not rows:
        raise DataError(f"{record_id}: no such rejected record. See the ids: meterhouse quarantine list --all")
    row = rows[0]
    payload: bytes = row.pop("payload")
    if output_format == "json":
        click.echo(json.dumps({"id": record_id, **row, **_payload_fields(payload)}, indent=2))
        return
    for name, value in row.items():
        click.echo(f"{name}: {'' if value is None else printable(str(value))}")
    click.echo("payload:")
    # A terminal would obey control characters in hostile bytes; a pipe gets every byte as it came.
    shown = printable(payload.decode("utf-8", "backslashreplace")).encode() if sys.stdout.isatty() else payload
    click.echo(shown)


@command.command("replay")
@click.option("--load-id", type=int, metavar="N", help="Only records that this load rejected.")
@click.option(
    "--reason", type=click.Choice(REASON_CODES), metavar="CODE", help="Only records rejected for this reason."
)
@click.option("--record", "record_id", metavar="LOAD.FILE.RECORD", help="Only this record, as the list names it.")
@click.option(
    "--organization-id",
    envvar="METERHOUSE_ORGANIZATION_ID",
    show_envvar=True,
    metavar="ID",
    help="The organization of records that carry none.",
)
@click.option("--from", "corrected", metavar="FILE", help="Land its lines in place of the selected records, in order.")
@format_option
@home_option
@click.pass_obj
def replay_records(
    settings: Settings,
    load_id: int | None,
    reason: str | None,
    record_id: str | None,
    organization_id: str | None,
    corrected: str | None,
    output_format: str,
) -> None:
    """Land the rejected records that are valid now.

    Records become valid after an upgrade, with an organization, when the clock has moved on, or by a corrected copy: a
    FILE with one record a line, for the selected records in the order of the list. What is still bad stays rejected;
    replaying again changes nothing.

    \b
    Example:
      meterhouse quarantine replay --organization-id ORGANIZATION
      meterhouse quarantine replay --record 1.1.17 --from corrected.jsonl
    """
    from loaders.landing import LoadOptions
    from loaders.replay import ReplaySummary, Selection, replay, replay_corrected
    from loaders.warehouse import Home, open_work_file

    record = None if record_id is None else _read_name(record_id)
    selection = Selection(load_id=load_id, reason_code=reason, record=record)
    options = LoadOptions(organization_id=organization_id or None)
    home = Home(settings.home)
    if home.work_file.exists():
        with open_work_file(home) as connection:
            if corrected is None:
                summary = replay(connection, home, selection, options)
            else:
                summary = replay_corrected(connection, home, selection, options, corrected)
    elif corrected is None:
        summary = ReplaySummary()
    else:
        raise DataError(f"{home.path}: nothing was loaded, so nothing waits for a correction.")
    say(json.dumps(_replay_as_json(summary), indent=2) if output_format == "json" else _replay_as_text(summary))


def _replay_as_json(summary: "ReplaySummary") -> dict[str, Any]:
    files = [{"path": file.path, **{name: getattr(file, name) for name in _COUNTS}} for file in summary.files]
    return {
        "load_id": summary.load_id,
        "files": files,
        "totals": {name: sum(file[name] for file in files) for name in _COUNTS},
        "still_open": dict(sorted(summary.still_open.items())),
    }


def _replay_as_text(summary: "ReplaySummary") -> str:
    totals = _replay_as_json(summary)["totals"]
    counts = ", ".join(f"{totals[name]} {name}" for name in _COUNTS[1:4])
    lines = [f"Replayed {totals['records']} records: {counts}."]
    if summary.still_open:
        reasons = sorted(summary.still_open.items(), key=lambda item: (-item[1], item[0]))
        lines += [f"{sum(summary.still_open.values())} stay rejected:", *(f"  {code}: {n}" for code, n in reasons)]
        lines.append("See which and why: meterhouse quarantine list")
    return "\n".join(lines)


def _payload_fields(payload: bytes) -> dict[str, str | None]:
    try:
        text: str | None = payload.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    return {"payload": text, "payload_base64": base64.b64encode(payload).decode("ascii")}


def _query(settings: Settings, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    from loaders.warehouse import Home, open_work_file

    home = Home(settings.home)
    if not home.work_file.exists():
        return []
    with open_work_file(home) as connection:
        cursor = connection.execute(sql, parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _name(row: dict[str, Any]) -> str:
    return f"{row['load_id']}.{row['file_number']}.{row['record_number']}"


def _read_name(record_id: str) -> tuple[int, int, int]:
    parts = record_id.replace(":", ".").split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise UsageError(f"{record_id}: no record id. Write it like 1.1.17, as `meterhouse quarantine list` prints it.")
    load_id, file_number, record_number = map(int, parts)
    return load_id, file_number, record_number
