"""`meterhouse export`: tables as Parquet, for tools that read no DuckDB file."""

from pathlib import Path

import click

from loaders.commands.options import Settings, home_option
from loaders.commands.printing import say


@click.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--raw", "has_raw", is_flag=True, help="The raw records too, with every payload: keep them to yourself.")
@home_option
@click.pass_obj
def command(settings: Settings, folder: Path, has_raw: bool) -> None:
    """Write the published tables to DIR as Parquet files, and print how many rows each has.

    \b
    Example:
      meterhouse export parquet
      meterhouse export backup --raw
    """
    from loaders.export import export
    from loaders.warehouse import Home

    written = export(Home(settings.home), folder, has_raw=has_raw)
    for name, count in written.items():
        say(f"{count:>12,}  {name}")
    say(f"Wrote {len(written)} files to {folder}.", err=True)
