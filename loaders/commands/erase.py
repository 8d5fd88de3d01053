"""`meterhouse erase`: a customer's or member's personal data goes, everywhere; the totals stay."""

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING

import click

from loaders.commands.build import raise_failures, read_as_of, run_build
from loaders.commands.options import Settings, home_option
from loaders.commands.printing import say
from loaders.commands.publish import run_publish
from loaders.commands.run import land_webhooks
from loaders.errors import HomeError, LoaderError, UsageError

if TYPE_CHECKING:
    from loaders.erase import Erasure, Target
    from loaders.warehouse import Home

_UNFINISHED = (
    "The work file is clean, but {path} may still hold the data: it is written anew once the build passes. "
    "Mend the cause and run 'meterhouse build' and 'meterhouse publish', or delete the file now."
)


_ENDED = (
    "the process that erases was ended from outside, as by a machine short of memory: the work file is as it was, or "
    "complete without the person. Run the same command again; where it finds nothing to erase any more, run "
    "'meterhouse build' and 'meterhouse publish'."
)


@click.command("erase")
@click.option("--customer", "customer_key", metavar="KEY", help="The customer with this customer_key.")
@click.option("--external-id", metavar="ID", help="The customer that events name by this external_customer_id.")
@click.option("--member", "member_key", metavar="KEY", help="One member of a customer, with this member_key.")
@click.option(
    "--organization-id",
    envvar="METERHOUSE_ORGANIZATION_ID",
    show_envvar=True,
    metavar="ID",
    required=True,
    help="The organization whose customer it is.",
)
@click.option(
    "--as-of",
    envvar="METERHOUSE_AS_OF",
    show_envvar=True,
    metavar="TIMESTAMP",
    help="Classify periods and orders as of this instant (default: now).",
)
@click.option("--dry-run", is_flag=True, help="Say how many records would be rewritten, and change nothing.")
@home_option
@click.pass_obj
def command(
    settings: Settings,
    customer_key: str | None,
    external_id: str | None,
    member_key: str | None,
    organization_id: str,
    as_of: str | None,
    dry_run: bool,
) -> None:
    """Take a person's data out of the work file, the quarantine, the published file, dbt's target and the logs.

    Each of their records is rewritten: ids become pseudonyms, and of the rest only what usage and money are made of
    stays (times, amounts, _cost, token counts, properties that meters read), so that every total stays as it was. The
    work file is written anew, everything is built and published again, and the same ids cannot land any more: their
    records count as duplicates and are not stored. There is no way back.

    \b
    Example:
      meterhouse erase --external-id acct_42 --organization-id 8f0e... --dry-run
      meterhouse erase --customer 5b1c... --organization-id 8f0e...
    """
    from loaders.erase import Target, erase
    from loaders.warehouse import Home, locked

    if sum(name is not None for name in (customer_key, external_id, member_key)) != 1:
        raise UsageError("name exactly one person: --customer KEY, --external-id ID or --member KEY.")
    home, instant = Home(settings.home), read_as_of(as_of)
    target = Target(organization_id, customer_key, external_id, member_key)
    if dry_run:
        _print(erase(home, target, dry_run=True), "Would rewrite")
        return
    with locked(home):
        # This process has read nothing yet, and never will read what the person's records said: what it builds and
        # publishes cannot hold any of it. A fork holds the lock with it.
        try:
            with ProcessPoolExecutor(1, mp_context=get_context("fork")) as apart:
                erasure, problem = apart.submit(_take_out, home, target).result()
        except BrokenProcessPool as error:
            raise HomeError(_ENDED) from error
        _print(erasure, "Rewrote")
        try:
            raise_failures(run_build(settings, as_of=instant, full_refresh=True))
            run_publish(settings)
        except LoaderError:
            if home.published_file.exists():
                say(f"error: {_UNFINISHED.format(path=home.published_file)}", err=True)
            raise
    if problem is not None:
        raise problem


def _take_out(home: "Home", target: "Target") -> tuple["Erasure", LoaderError | None]:
    """Erase the target, also from deliveries that wait; hand back which of those could not be read whole."""
    from loaders.erase import erase
    from loaders.sources.spool import Spool

    # What waits in the spool names people too.
    problem = land_webhooks(home, target.organization_id) if Spool(home.path).facts().segments else None
    return erase(home, target), problem


def _print(erasure: "Erasure", what: str) -> None:
    """Say what was found, on stdout and without a word about whom."""
    kinds = ", ".join(f"{count:,} of raw.{table}" for table, count in sorted(erasure.rewritten.items()))
    say(f"{what} {erasure.row_count:,} records that name the person by {erasure.id_count} ids: {kinds}.")
    for name in erasure.removed_files:
        say(f"Removed {name}, which could not be read and held an id.")
