"""`meterhouse run`: the one command for a scheduler."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loaders.commands.build import raise_failures, read_as_of, run_build
from loaders.commands.load import land, raise_load_failures, report_load
from loaders.commands.options import Settings, home_option
from loaders.commands.printing import printable, say
from loaders.commands.publish import run_publish
from loaders.commands.sync import is_sync_configured, raise_sync_failures, report_sync, sync_by_environment
from loaders.errors import DataError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from loaders.summary import Summary
    from loaders.warehouse import Home

STATUSES = (
    "not_comparable",
    "pending",
    "unbilled",
    "unexpected",
    "matched",
    "within_tolerance",
    "underbilled",
    "overbilled",
)
FAIL_ON_EXIT_CODE = 3


@click.command("run")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option(
    "--as-of",
    envvar="METERHOUSE_AS_OF",
    show_envvar=True,
    metavar="TIMESTAMP",
    help="Classify periods and orders as of this instant (default: now).",
)
@click.option("--fail-on", metavar="STATUS,...", help="End with exit code 3 when rows of these statuses exist.")
@click.option(
    "--organization-id",
    envvar="METERHOUSE_ORGANIZATION_ID",
    show_envvar=True,
    metavar="ID",
    help="The organization of records that carry none.",
)
@home_option
@click.pass_obj
def command(
    settings: Settings, paths: tuple[str, ...], as_of: str | None, fail_on: str | None, organization_id: str | None
) -> int:
    """Land PATHs and received webhooks, build, test, publish, and print what usage and money say.

    Without a PATH it syncs first where POLAR_ACCESS_TOKEN is set (see 'meterhouse sync'). What 'meterhouse webhooks'
    received since the last run is landed either way. The schedule's one command: running it again changes nothing, and
    where nothing is new and no period or grace has ended since the last build, it only prints the summary.

    \b
    Example:
      meterhouse run events.jsonl orders/
      meterhouse run --fail-on unbilled,underbilled
    """
    from loaders.publish import is_published
    from loaders.sources.spool import Spool
    from loaders.summary import summarize
    from loaders.transform import is_current
    from loaders.warehouse import Home, locked

    instant, watched = read_as_of(as_of), _read_statuses(fail_on)
    load_error: DataError | None = None
    home = Home(settings.home)
    with locked(home):
        if paths:
            load_error = _land(settings, paths, organization_id)
        elif is_sync_configured():
            load_error = _sync(settings)
        if Spool(home.path).facts().segments:
            load_error = _joined(load_error, land_webhooks(home, organization_id))
        if is_current(home, instant):
            click.echo("Nothing is new since the last build.", err=True)
        else:
            raise_failures(run_build(settings, as_of=instant, only_affected=True))
        if not is_published(home):
            run_publish(settings)
        summary = summarize(home.published_file)
    print_summary(summary)
    if load_error is not None:
        raise load_error
    return FAIL_ON_EXIT_CODE if any(summary.count(status) for status in watched) else 0


def _land(settings: Settings, paths: tuple[str, ...], organization_id: str | None) -> DataError | None:
    """Land and report; hand back what went wrong, for the files that could be landed are worth building."""
    summary = land(settings, list(paths), organization_id=organization_id)
    report_load(summary)
    try:
        raise_load_failures(summary, strict=False)
    except DataError as error:
        return error
    return None


def _sync(settings: Settings) -> DataError | None:
    """Sync and report; hand back what went wrong, for what had arrived is worth building."""
    summary = sync_by_environment(settings)
    report_sync(summary)
    try:
        raise_sync_failures(summary, strict=False)
    except DataError as error:
        return error
    return None


def _joined(first: DataError | None, second: DataError | None) -> DataError | None:
    both = [str(error) for error in (first, second) if error is not None]
    return DataError("\nerror: ".join(both)) if both else None


def land_webhooks(home: "Home", organization_id: str | None) -> DataError | None:
    """Land what the receiver keeps; hand back which of its segments could not be read whole."""
    from loaders.landing import LANDING_MEMORY, LoadOptions, land_spool
    from loaders.warehouse import open_work_file

    with open_work_file(home, memory_limit=LANDING_MEMORY) as connection:
        summary, damaged = land_spool(connection, home, LoadOptions(organization_id=organization_id or None))
    report_load(summary, "webhooks")
    problems = [file.error for file in summary.files if file.error is not None]
    what = "holds bytes that are no delivery; what is whole in it has landed. It is kept as {}.damaged: see why there."
    problems += [f"{file.path}: {what.format(file.path)}" for file in damaged]
    return DataError("\nerror: ".join(problems)) if problems else None


def _read_statuses(text: str | None) -> list[str]:
    statuses = [status.strip() for status in (text or "").split(",") if status.strip()]
    for status in statuses:
        if status not in STATUSES:
            raise UsageError(f"--fail-on: no such status: {status!r}. Choose from {', '.join(STATUSES)}.")
    return statuses


def print_summary(summary: "Summary") -> None:
    """Print what usage and money say, on stdout."""
    from rich.console import Console

    # A log has no width of its own: wide enough that no amount is cut.
    width = None if sys.stdout.isatty() else 118
    # Customers may be called like rich's own tags: without markup they are text.
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    console.print(
        f"\n{summary.events_landed:,} records landed, {summary.usage_events:,} usage events, "
        f"{summary.customers:,} customers, {summary.members:,} members, as of {summary.as_of}"
    )
    if summary.quarantined:
        console.print(f"{summary.quarantined:,} records quarantined: see 'meterhouse quarantine list'")
    for table in (_money_table(summary), _status_table(summary), _largest_table(summary)):
        if not table.row_count:
            say(f"\n{table.title}: none")
            continue
        with console.capture() as drawn:
            console.print(table)
        # Padding to the full width and empty rows are noise in a log.
        lines = [line.rstrip() for line in drawn.get().splitlines()]
        console.print("\n" + "\n".join(line for line in lines if line))
    say(f"\nPublished: {_shown_path(summary.path)}")


def _shown_path(path: Path) -> str:
    """Relative to where the user stands, if it lies there."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _table(title: str, *columns: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        numeric = column in ("orders", "rows", "expected", "billed", "variance")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    return table


def _money_table(summary: "Summary") -> "Table":
    table = _table("Expected and billed", "currency", "orders", "expected", "billed", "variance")
    for money in summary.money:
        amounts = (_amount(value, money.digits) for value in (money.expected, money.billed))
        table.add_row(money.currency, f"{money.order_count:,}", *amounts, _signed(money.variance, money.digits))
    return table


def _status_table(summary: "Summary") -> "Table":
    table = _table("Orders by status", "status", "currency", "rows", "variance")
    for line in summary.statuses:
        table.add_row(line.status, line.currency, f"{line.row_count:,}", _signed(line.variance, line.digits))
    return table


def _largest_table(summary: "Summary") -> "Table":
    table = _table("Largest exceptions", "variance", "currency", "status", "cause", "customer", "until", "order")
    for case in summary.largest:
        amount = _signed(case.variance, case.digits)
        who = (case.customer, case.period, case.order_id or "none")
        table.add_row(amount, *map(printable, (case.currency, case.status, case.cause, *who)))
    return table


def _amount(value: Decimal, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _signed(value: Decimal, digits: int) -> str:
    return f"{value:+,.{digits}f}" if value else _amount(value, digits)
