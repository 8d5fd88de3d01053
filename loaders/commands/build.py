"""`meterhouse build`: models and tests."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from loaders.commands.options import Settings, home_option
from loaders.commands.printing import say
from loaders.commands.progress import counted_progress
from loaders.errors import BuildError, UsageError

if TYPE_CHECKING:
    from loaders.transform import BuildResult, Failure


_SHOWN_FAILURES = 10


@click.command("build")
@click.option("--full-refresh", is_flag=True, help="Rebuild every model from the raw records.")
@click.option("--select", multiple=True, metavar="SELECTOR", help="Build only this part (dbt's selection syntax).")
@click.option(
    "--as-of",
    envvar="METERHOUSE_AS_OF",
    show_envvar=True,
    metavar="TIMESTAMP",
    help="Classify periods and orders as of this instant (default: now).",
)
@home_option
@click.pass_obj
def command(settings: Settings, full_refresh: bool, select: tuple[str, ...], as_of: str | None) -> None:
    """Build the models from what is landed and test them.

    \b
    Example:
      meterhouse build
      meterhouse build --as-of 2026-05-01T00:00:00Z
    """
    raise_failures(run_build(settings, full_refresh=full_refresh, select=select, as_of=read_as_of(as_of)))


def read_as_of(text: str | None) -> datetime | None:
    """Read --as-of: ISO 8601, UTC without an offset."""
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--as-of: no ISO 8601 instant: {text!r}. Write it like 2026-05-01T00:00:00Z.") from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def run_build(
    settings: Settings,
    *,
    full_refresh: bool = False,
    select: tuple[str, ...] = (),
    as_of: datetime | None = None,
    only_affected: bool = False,
) -> "BuildResult":
    """Build with a progress bar on a terminal, and say on stderr what came of it."""
    from loaders.transform import build
    from loaders.warehouse import Home

    with counted_progress("building") as progress:
        result = build(
            Home(settings.home),
            as_of=as_of,
            full_refresh=full_refresh,
            select=select,
            only_affected=only_affected,
            progress=progress,
        )
    for warning in result.warnings:
        say(f"finding: {_described(warning)}", err=True)
    kept = f" {result.kept_count} models are as they were." if result.kept_count else ""
    say(
        f"Built {result.model_count} models and ran {result.test_count} tests in {result.seconds:.1f} s, "
        f"as of {result.as_of:%Y-%m-%d %H:%M:%S} UTC.{kept}",
        err=True,
    )
    return result


def raise_failures(result: "BuildResult") -> None:
    """Raise BuildError where a model or a test failed."""
    if result.failures:
        shown = [f"  {_described(failure)}" for failure in result.failures[:_SHOWN_FAILURES]]
        if len(result.failures) > _SHOWN_FAILURES:
            shown.append(f"  and {len(result.failures) - _SHOWN_FAILURES} more: see logs/dbt.log in the home folder")
        what = "\n".join(shown)
        raise BuildError(
            f"the build failed in {len(result.failures)} places:\n{what}\n"
            "Nothing will be published from it; the last published file stays. Mend the cause and build again."
        )


def _described(failure: "Failure") -> str:
    if failure.status in ("fail", "warn"):
        which = f": {failure.rules}" if failure.rules else ""
        return f"{failure.row_count:,} rows against {failure.name}{which}"
    # dbt's first line says where, the second what.
    lines = [line.strip() for line in failure.message.splitlines() if line.strip()]
    return f"{failure.name}: {': '.join(lines[:2]) or failure.status}"
