"""`meterhouse publish`: the file that dashboards open."""

from typing import TYPE_CHECKING

import click

from loaders.commands.options import Settings, home_option
from loaders.commands.printing import say

if TYPE_CHECKING:
    from loaders.publish import Publication


@click.command("publish")
@home_option
@click.pass_obj
def command(settings: Settings) -> None:
    """Write published.duckdb from the last build, if all its tests passed; print its path.

    \b
    Example:
      meterhouse publish
    """
    say(str(run_publish(settings).path))


def run_publish(settings: Settings) -> "Publication":
    """Publish and say on stderr what came of it."""
    from loaders.publish import publish
    from loaders.warehouse import Home

    publication = publish(Home(settings.home))
    # Beside `publication`, which says when, and so always changes.
    changed = "" if publication.changed_count is None else f", {publication.changed_count} of them changed"
    say(f"Published {publication.table_count} tables{changed}.", err=True)
    return publication
