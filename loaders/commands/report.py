"""`meterhouse report`: what usage and money say, for a person."""

from pathlib import Path

import click

from loaders.commands.options import Settings, home_option
from loaders.commands.printing import say
from loaders.commands.run import print_summary


@click.command("report")
@click.option(
    "--html", "html_file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write one page."
)
@click.option(
    "--csv", "csv_folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Write tables."
)
@click.option("--organization-id", metavar="ID", help="Of one organization; the page and the tables only.")
@home_option
@click.pass_obj
def command(settings: Settings, html_file: Path | None, csv_folder: Path | None, organization_id: str | None) -> None:
    """Print the reconciliation of the published file: what was expected and billed, and what needs a person.

    With --html one page with charts and evidence, that opens in any browser with the network off and prints well. With
    --csv the answers of the queries in dashboards/, one file each, safe to open in a spreadsheet.

    \b
    Example:
      meterhouse report
      meterhouse report --html report.html --csv tables
    """
    from loaders.summary import summarize
    from loaders.warehouse import Home

    published = Home(settings.home).published_file
    if html_file is None and csv_folder is None:
        print_summary(summarize(published))
        return
    from loaders.report import read_report, render_html, write_csv

    report = read_report(published, organization_id)
    if html_file is not None:
        html_file.write_text(render_html(report), encoding="utf-8")
        say(str(html_file))
    if csv_folder is not None:
        for path in write_csv(report, csv_folder):
            say(str(path))
