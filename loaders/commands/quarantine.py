"""`meterhouse quarantine`: read what was rejected, and why."""

import base64
import json
import sys
from typing import Any

import click

from loaders.commands.options import Settings, format_option, home_option
from loaders.commands.printing import printable
from loaders.errors import DataError, UsageError

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
    """List and show rejected records.

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
        click.echo(f"{_name(row)}  {where}: {row['reason_code']}{status}: {row['message']}")
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
    rows = _query(settings, _SHOW, _read_name(record_id))
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


def _read_name(record_id: str) -> dict[str, int]:
    parts = record_id.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise UsageError(f"{record_id}: no record id. Write it like 1.1.17, as `meterhouse quarantine list` prints it.")
    return dict(zip(("load_id", "file_number", "record_number"), map(int, parts), strict=True))
