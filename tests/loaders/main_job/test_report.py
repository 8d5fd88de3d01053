"""The report says what SQL on the published file says, draws every chart, and lets nothing in the data run."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars
import pytest

from loaders.report import DASHBOARDS, read_report, render_html, write_csv
from tests.loaders.main_job.conftest import AS_OF, World, begun_home

Cli = Callable[..., subprocess.CompletedProcess[str]]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def browse(page: Path, profile: Path, *options: str) -> tuple[str, str]:
    """Open a page in headless Chromium without a network; return the document as drawn, and the console."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", "--virtual-time-budget=20000",
        "--window-size=1280,4800", "--enable-logging=stderr", "--v=0", *options, "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return done.stdout, "\n".join(console)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it to see the report drawn")
@pytest.mark.parametrize("options", [(), ("--blink-settings=preferredColorScheme=0",)], ids=["light", "dark"])
def test_each_chart_is_drawn_with_the_network_off(
    world: World, tmp_path: Path, cli: Cli, options: tuple[str, ...]
) -> None:
    page = tmp_path / "report.html"
    cli("report", "--html", page, home=world.home)
    document, console = browse(page, tmp_path / "profile", *options)

    assert console == ""
    names = re.findall(r"<div id=\"(chart-\d+)\"", document.replace("'", '"'))
    assert len(names) >= 9
    drawn = re.split(r"id=\"chart-\d+\"", document.replace("'", '"'))[1:]
    for name, chart in zip(names, drawn, strict=True):
        svg = chart[: chart.index("</svg>")]
        marks = re.findall(r"<g class=\"mark-(?:rect|area)[^\"]*\".*?</g>", svg)
        assert any(mark.count("<path") for mark in marks), f"{name} shows nothing"


def test_page_asks_nobody_for_anything(world: World) -> None:
    page = render_html(read_report(world.published.path))
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=|@import|url\(", outside_scripts)
    assert "http" not in outside_scripts


def test_data_never_runs_in_the_page(tmp_path: Path, cli: Cli) -> None:
    """A customer may be called like a tag, the end of a script, a template's placeholder, a formula."""
    nasty = [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "<img src=x onerror=alert(1)>",
        "$bundle ${x}",
        "=1+1",
        "'\"`;--",
    ]
    events = [
        {
            "organization_id": "o", "name": name, "timestamp": "2026-01-01T00:00:00Z", "external_customer_id": name,
            "metadata": {"_cost": {"amount": 5, "currency": "usd"}, "_llm": {
                "vendor": name, "model": name, "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
            }},
        }
        for name in nasty
    ]  # fmt: skip
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, events)) + "\n")
    cli("run", file, "--as-of", AS_OF, home=begun_home(tmp_path / "home"))
    report = read_report(tmp_path / "home" / "published.duckdb")
    page = render_html(report)

    outside_bundle = page[: page.index('<script type="module">')] + page[page.rindex('<script type="module">') :]
    assert "<script>alert" not in outside_bundle
    assert "<img" not in outside_bundle
    assert page.count("</script>") == 2

    paths = {path.stem: path for path in write_csv(report, tmp_path / "csv")}
    customers = polars.read_csv(paths["top_customers"])["customer"].to_list()
    assert sorted(customers) == sorted("'" + name if name.startswith("=") else name for name in nasty)


def test_an_empty_file_makes_a_page(tmp_path: Path, cli: Cli) -> None:
    cli("run", "--as-of", AS_OF, home=begun_home(tmp_path / "home"))
    page = tmp_path / "report.html"
    cli("report", "--html", page, home=tmp_path / "home")
    assert "No order can be compared yet." in page.read_text()


def test_report_on_the_terminal_is_the_summary_of_the_run(world: World, cli: Cli) -> None:
    said = cli("report", home=world.home).stdout
    assert said.split("Published:")[0] == world.run_stdout.split("Published:")[0]


def test_one_organization_is_shown_alone(world: World) -> None:
    (organization,) = world.published.rows("select min(organization_id) as id from customers")
    report = read_report(world.published.path, organization["id"])
    for name, frame in report.frames.items():
        if "organization_id" in frame.columns:
            assert frame["organization_id"].unique().to_list() in ([organization["id"]], []), name


def test_each_evidence_query_finds_its_rows(world: World) -> None:
    page = render_html(read_report(world.published.path))
    queries = re.findall(r"<code>(.*?)</code>", page)
    assert queries
    for query in queries:
        assert world.published.rows(query.replace("&#x27;", "'")), query


@pytest.mark.parametrize("query", sorted(DASHBOARDS.glob("*.sql")), ids=lambda path: path.stem)
def test_each_dashboard_query_asks_a_question_and_answers_it(world: World, query: Path) -> None:
    text = query.read_text()
    assert re.match(r"-- [A-Z][^\n]*\?\n-- ", text), "the first line is the question, the next ones say what a row is"
    assert world.published.rows(text), "the simulated world has an answer to each"


def test_dashboard_sums_are_the_tables_sums(world: World) -> None:
    """In minor units: what the page shows in whole ones is the exact tables' money."""
    with duckdb.connect(str(world.published.path), read_only=True) as reader:
        shown = (DASHBOARDS / "expected_and_billed_by_month.sql").read_text()
        totals = reader.execute(
            f"select currency, sum(variance) from ({shown}) group by currency order by 1"
        ).fetchall()
        exact = reader.execute(
            "select r.currency, sum(r.variance_amount) / pow(10, any_value(c.minor_unit_digits)) "
            "from order_reconciliation as r join currencies as c on r.currency = c.currency "
            "where r.status not in ('not_comparable', 'pending') group by 1 order by 1"
        ).fetchall()
    assert [(currency, float(total)) for currency, total in totals] == [
        (name, round(total, 3)) for name, total in exact
    ]
