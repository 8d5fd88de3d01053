"""`meterhouse status`: what is landed, built and published, and what blocks."""

import json
from typing import Any

import click

from loaders.commands.options import Settings, format_option, home_option
from loaders.commands.printing import printable, say


@click.command("status")
@format_option
@home_option
@click.pass_obj
def command(settings: Settings, output_format: str) -> None:
    """Say what is landed, built and published, how fresh it is, and what blocks.

    \b
    Example:
      meterhouse status
      meterhouse status --format json
    """
    from loaders.status import read_status
    from loaders.warehouse import Home

    status = read_status(Home(settings.home))
    say(json.dumps(status, indent=2, default=_as_text) if output_format == "json" else _described(status))


def _as_text(value: Any) -> str:
    return f"{value.isoformat()}Z" if hasattr(value, "isoformat") else str(value)


def _described(status: dict[str, Any]) -> str:
    lines = [f"home       {status['home']}"]
    for name in ("webhooks", "landed", "synced", "built", "published"):
        if name == "synced":  # files are all that many ever land: then no line
            lines += [f"{name:<10} {_facts(part)}" for part in status[name]]
            continue
        part = status[name]
        nothing = "nothing waits" if name == "webhooks" else "nothing yet"
        lines.append(f"{name:<10} {nothing if part is None else _facts(part)}")
    lines += [f"blocked    {reason}" for reason in status["blocks"]] or ["blocked    by nothing"]
    return "\n".join(map(printable, lines))


def _facts(part: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_shown(part[key])}" for key in part)


def _shown(value: Any) -> str:
    if value is None:
        return "never"
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
