"""The reconciliation for a person: figures, charts and exceptions of a published file, on one page.

Every figure comes from a query in `dashboards/`: what the page says, SQL on the published file says too. The page holds
all it needs, so it opens with the network off and can be mailed or filed.
"""

import html
import json
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from string import Template
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from loaders.project import PROJECT_FOLDER
from loaders.warehouse import open_published_copy, quote_literal

DASHBOARDS = PROJECT_FOLDER / "dashboards"
_TOP = 12
_EXCEPTIONS = 25
_DIRECTIONS = {"billed too little": "#d1495b", "billed too much": "#edae49", "in all": "#6b7a8f"}

Frame = pl.DataFrame


@dataclass(frozen=True)
class Report:
    """The answers of the queries in `dashboards/`, by their names, of one organization or all."""

    path: Path
    frames: dict[str, Frame]
    digits: dict[str, int]

    def __getitem__(self, name: str) -> Frame:
        return self.frames[name]


def read_report(published: Path, organization_id: str | None = None) -> Report:
    """Ask every query of `dashboards/`. Raises HomeError where nothing is published."""
    frames = {}
    with open_published_copy(published) as reader:
        digits = dict(reader.sql("select currency, minor_unit_digits from currencies").fetchall())
        for path in sorted(DASHBOARDS.glob("*.sql")):
            frame = reader.sql(path.read_text(encoding="utf-8")).pl()
            if organization_id is not None and "organization_id" in frame.columns:
                frame = frame.filter(pl.col("organization_id") == organization_id)
            frames[path.stem] = frame
    return Report(published, frames, digits)


def render_html(report: Report) -> str:
    """Return the page."""
    sections = [
        _Section(
            "Expected and billed",
            "What usage and prices say each month's orders should come to, before discount and tax, and what they did.",
            [
                (currency, _side_by_side(rows, "billing_month", "expected", "billed"))
                for currency, rows in _by_currency(report["expected_and_billed_by_month"])
            ],
        ),
        _Section(
            "Where the difference went",
            "From expected to billed, cause by cause. What cannot be compared or is not due yet is left out.",
            [(currency, _waterfall(rows)) for currency, rows in _by_currency(report["variance_by_cause"])],
        ),
        _exceptions(report["exceptions"], report.digits),
        _Section(
            "What is used",
            "Usage events by day, and the customers with most of them.",
            [
                ("Events by day", _usage_by_day(report["usage_by_day"])),
                ("Customers with most events", _top_customers(report["top_customers"])),
            ],
        ),
        _Section(
            "What it costs and leaves",
            "Costs as events carry them, in whole units of their currency; margin is revenue less cost.",
            [
                ("Cost by model", _cost_by_model(report["cost_by_model"])),
                *(
                    (f"Smallest and largest margins, {currency}", _margins(rows))
                    for currency, rows in _by_currency(report["margins_by_customer"])
                ),
            ],
        ),
        _Section(
            "What came in",
            "Revenue and what is left of it after fees, refunds and disputes, as Polar's dashboard counts it.",
            [
                (currency, _side_by_side(rows, "revenue_month", "revenue", "net_revenue"))
                for currency, rows in _by_currency(report["revenue_by_month"])
            ],
        ),
        _quality(report["freshness"], report["quarantine"]),
    ]
    charts: dict[str, Any] = {}
    body = "".join(_numbered(section, charts) for section in sections)
    template = Template((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    return template.substitute(
        subtitle=_subtitle(report["freshness"]),
        tiles=_tiles(report),
        sections=body,
        # A text in the data must not end the script it stands in, nor open another one there.
        charts=json.dumps(charts, default=str).replace("<", "\\u003c"),
        bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script"),
    )


def write_csv(report: Report, folder: Path) -> list[Path]:
    """Write each answer to a file of its own; a text that looks like a formula to a spreadsheet gets a quote first."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, frame in report.frames.items():
        neutral = frame.with_columns(
            pl.when(pl.col(pl.String).str.contains(r"^[=+\-@\t\r]"))
            .then(pl.lit("'") + pl.col(pl.String))
            .otherwise(pl.col(pl.String))
            .name.keep()
        )
        path = folder / f"{name}.csv"
        neutral.write_csv(path)
        written.append(path)
    return written


# Sections: a title, what it says, and charts or ready HTML.

_Chart = tuple[str, alt.Chart | alt.LayerChart | None]


@dataclass(frozen=True)
class _Section:
    title: str
    text: str
    charts: list[_Chart]
    ready: str = ""


def _numbered(section: _Section, charts: dict[str, Any]) -> str:
    figures = ""
    for caption, chart in section.charts:
        if chart is None:
            figures += (
                f"<figure><figcaption>{html.escape(caption)}</figcaption><p class='empty'>Nothing to show.</p></figure>"
            )
            continue
        name = f"chart-{len(charts)}"
        charts[name] = chart.to_dict()
        figures += (
            f"<figure><figcaption>{html.escape(caption)}</figcaption><div id='{name}' class='chart'></div></figure>"
        )
    if not section.charts and not section.ready:
        figures = "<p class='empty'>Nothing to show.</p>"
    head = f"<h2>{section.title}</h2><p>{section.text}</p>"
    return f"<section>{head}<div class='figures'>{figures}</div>{section.ready}</section>"


def _by_currency(frame: Frame) -> list[tuple[str, Frame]]:
    """The rows of each currency, the one with most of them first: two currencies are never added up."""
    rows = frame.filter(pl.col("currency").is_not_null())
    counts = rows.group_by("currency").len().sort(["len", "currency"], descending=[True, False])
    return [(currency, rows.filter(pl.col("currency") == currency)) for currency in counts["currency"].to_list()]


def _chart(frame: Frame, height: int) -> alt.Chart:
    # Charts draw doubles; the exact figures are in the queries' answers.
    floats = frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64))
    return alt.Chart(alt.Data(values=json.loads(json.dumps(floats.to_dicts(), default=str)))).properties(
        width="container", height=height
    )


def _side_by_side(rows: Frame, month: str, first: str, second: str) -> alt.Chart | None:
    """Two amounts of each month as bars; `month` and the amounts are columns."""
    sides = {name: name.replace("_", " ") for name in (first, second)}
    months = rows.group_by(month).agg(pl.col(first, second).sum()).sort(month).rename(sides)
    long = months.unpivot(index=month, variable_name="side", value_name="amount")
    if long.is_empty():
        return None
    shown = list(sides.values())
    return _chart(long, 220).mark_bar(cornerRadiusEnd=2).encode(
        x=alt.X(f"yearmonth({month}):O", title=None, axis=alt.Axis(labelAngle=0, format="%b %Y")),
        xOffset=alt.XOffset("side:N", sort=shown),
        y=alt.Y("amount:Q", title=None, axis=alt.Axis(format="~s")),
        color=_colors("side", shown),
        tooltip=[f"yearmonth({month}):T", "side:N", alt.Tooltip("amount:Q", format=",.2f")],
    )  # fmt: skip


def _waterfall(rows: Frame) -> alt.Chart | None:
    causes = (
        rows.group_by("cause").agg(pl.col("variance").sum(), pl.col("order_count").sum())
        .filter(pl.col("variance") != 0).sort("variance")
    )  # fmt: skip
    if causes.is_empty():
        return None
    reached, steps = Decimal(0), []
    for row in causes.iter_rows(named=True):
        start, reached = reached, reached + row["variance"]
        steps.append({
            "cause": row["cause"].replace("_", " "), "from": float(start), "to": float(reached),
            "variance": float(row["variance"]), "orders": row["order_count"],
            "direction": "billed too little" if row["variance"] < 0 else "billed too much",
        })  # fmt: skip
    steps.append({"cause": "in all", "from": 0.0, "to": float(reached), "variance": float(reached), "orders": None,
                  "direction": "in all"})  # fmt: skip
    return alt.Chart(alt.Data(values=steps)).properties(width="container", height=220).mark_bar(cornerRadius=2).encode(
        x=alt.X("cause:N", sort=None, title=None, axis=alt.Axis(labelAngle=-25)),
        y=alt.Y("from:Q", title=None), y2="to:Q",
        color=_colors("direction", list(_DIRECTIONS), list(_DIRECTIONS.values())),
        tooltip=["cause:N", alt.Tooltip("variance:Q", format="+,.2f"), "orders:Q"],
    )  # fmt: skip


def _usage_by_day(frame: Frame) -> alt.Chart | None:
    if frame.is_empty():
        return None
    names = frame.group_by("event_name").agg(pl.col("event_count").sum()).sort("event_count", descending=True)
    shown = names["event_name"].to_list()[: _TOP // 2]
    days = (
        frame.with_columns(
            pl.when(pl.col("event_name").is_in(shown)).then(pl.col("event_name")).otherwise(pl.lit("others"))
        )
        .group_by("usage_date", "event_name").agg(pl.col("event_count").sum()).sort("usage_date", "event_name")
    )  # fmt: skip
    return _chart(days, 260).mark_bar(binSpacing=0).encode(
        x=alt.X("usage_date:T", title=None),
        y=alt.Y("event_count:Q", stack=True, title=None, axis=alt.Axis(format="~s")),
        color=_colors("event_name", [*shown, "others"] if len(names) > len(shown) else shown, None),
        tooltip=["usage_date:T", "event_name:N", alt.Tooltip("event_count:Q", format=",")],
    )  # fmt: skip


def _top_customers(frame: Frame) -> alt.Chart | None:
    if frame.is_empty():
        return None
    customers = (
        frame.group_by("customer")
        .agg(pl.col("event_count").sum())
        .sort("event_count", "customer", descending=[True, False])
    )
    shown = frame.join(customers.head(_TOP).select("customer"), on="customer", how="semi")
    rows = shown.group_by("customer", "event_name").agg(pl.col("event_count").sum()).sort("customer", "event_name")
    return _chart(rows, 300).mark_bar(cornerRadiusEnd=2).encode(
        y=alt.Y("customer:N", sort=customers["customer"].to_list()[:_TOP], title=None, axis=alt.Axis(labelLimit=160)),
        x=alt.X("sum(event_count):Q", title=None, axis=alt.Axis(format="~s")),
        color=alt.Color("event_name:N", legend=None), tooltip=["customer:N", "event_name:N", "event_count:Q"],
    )  # fmt: skip


def _cost_by_model(frame: Frame) -> alt.Chart | None:
    rows = (
        frame.with_columns(pl.coalesce("llm_model", pl.lit("no model")).alias("model"))
        .group_by("model", "cost_currency").agg(pl.col("cost").sum(), pl.col("event_count").sum())
        .sort("cost", descending=True).head(_TOP)
    )  # fmt: skip
    if rows.is_empty():
        return None
    return _chart(rows, 260).mark_bar(cornerRadiusEnd=2, color="#00798c").encode(
        y=alt.Y("model:N", sort=None, title=None, axis=alt.Axis(labelLimit=160)),
        x=alt.X("cost:Q", title=None),
        tooltip=["model:N", alt.Tooltip("cost:Q", format=",.4f"), "cost_currency:N", "event_count:Q"],
    )  # fmt: skip


def _margins(rows: Frame) -> alt.Chart | None:
    known = rows.filter(pl.col("margin").is_not_null()).sort("margin", "customer")
    if known.is_empty():
        return None
    half = _TOP // 2
    shown = known if len(known) <= _TOP else pl.concat([known.head(half), known.tail(half)])
    shown = shown.with_columns(
        pl.when(pl.col("margin") < 0).then(pl.lit("loss")).otherwise(pl.lit("margin")).alias("side"),
        # The same name in two organizations is two customers.
        pl.when(pl.col("customer").is_duplicated())
        .then(pl.col("customer") + " · " + pl.col("organization_id").str.slice(0, 4))
        .otherwise(pl.col("customer")).alias("customer"),
    )  # fmt: skip
    return _chart(shown, 260).mark_bar(cornerRadiusEnd=2).encode(
        y=alt.Y("customer:N", sort=None, title=None, axis=alt.Axis(labelLimit=160)),
        x=alt.X("margin:Q", title=None, axis=alt.Axis(format="~s")),
        color=_colors("side", ["loss", "margin"], ["#d1495b", "#00798c"]),
        tooltip=["customer:N", *(alt.Tooltip(f"{name}:Q", format=",.2f") for name in ("revenue", "cost", "margin"))],
    )  # fmt: skip


def _colors(field: str, values: list[str], colors: list[str] | None = None) -> alt.Color:
    palette = ["#8fb8de", "#2f6690", "#00798c", "#edae49", "#d1495b", "#8d6a9f", "#9aa5b1"]
    scale = alt.Scale(domain=values, range=colors or palette[: len(values)])
    return alt.Color(f"{field}:N", scale=scale, legend=alt.Legend(title=None, orient="top"))


def _exceptions(frame: Frame, digits: dict[str, int]) -> _Section:
    text = "What needs a person, the most money first. The evidence query shows the rows behind it."
    if frame.is_empty():
        return _Section("Exceptions", "Nothing needs a person.", [], "<p class='empty'>Nothing to show.</p>")
    rows = ""
    for row in frame.head(_EXCEPTIONS).iter_rows(named=True):
        amount = f"{_amount(row['amount'], digits.get(row['currency'], 2))} {_text(row['currency'])}"
        evidence = f"<details><summary>Evidence</summary><code>{_text(_evidence(row))}</code></details>"
        rows += f"<tr><td class='number'>{amount}</td><td>{_text(row['customer'])}</td>"
        rows += f"<td>{_text(row['explanation'])}{evidence}</td></tr>"
    more = len(frame) - _EXCEPTIONS
    note = f"<p>{more:,} more in the table revenue_leakage.</p>" if more > 0 else ""
    head = "<tr><th>Amount</th><th>Customer</th><th>What and why</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return _Section("Exceptions", text, [], f"<div class='wide'>{table}</div>{note}")


# By an exception's kind: the table its rows are in, and the columns that lead there with what they must hold.
_EVIDENCE: dict[str, tuple[str, dict[str, str]]] = {
    **{
        kind: ("unbilled_usage", {"customer_key": "{customer_key}", "outcome": outcome})
        for kind, outcome in {
            "usage_without_price": "no_price",
            "usage_without_subscription": "no_subscription",
            "usage_of_unknown_customer": "unknown_customer",
            "stranded_usage": "stranded",
        }.items()
    },
    "unrecorded_usage": ("delivery_reconciliation", {"delivery_reconciliation_key": "{key}"}),
    "meter_mismatch": ("meter_matching_differences", {"meter_key": "{key}"}),
    "cost_above_revenue": ("customer_margins", {"customer_key": "{customer_key}", "currency": "{currency}"}),
}
_OF_AN_ORDER = ("order_reconciliation", {"order_reconciliation_key": "{key}"})


def _evidence(row: dict[str, Any]) -> str:
    """The query, to be read and copied, that leads from an exception to the rows it comes from."""
    table, wanted = _EVIDENCE.get(row["kind"], _OF_AN_ORDER)
    conditions = [f"{column} = {quote_literal(value.format(**row))}" for column, value in wanted.items()]
    return f"select * from {table} where {' and '.join(conditions)}"  # noqa: S608


def _quality(freshness: Frame, quarantine: Frame) -> _Section:
    facts = freshness.row(0, named=True)
    items = [
        ("Published", f"{facts['published_at']:%Y-%m-%d %H:%M} UTC, meterhouse {facts['meterhouse_version']}"),
        ("Judged as of", f"{facts['as_of']:%Y-%m-%d %H:%M} UTC"),
        (
            "Data up to",
            f"{facts['data_horizon_at']:%Y-%m-%d %H:%M} UTC" if facts["data_horizon_at"] else "nothing landed",
        ),
        ("Records", f"{facts['record_count'] or 0:,}, of them {facts['usage_event_count']:,} usage events that count"),
        ("Usage of customers Polar does not know", f"{facts['unknown_customer_event_count']:,} events"),
        ("In quarantine", f"{facts['quarantined_count']:,} records, {facts['conflict_count']:,} conflicting ones"),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in items)
    rows = "".join(
        f"<tr><td>{_text(row['reason_code'])}</td><td>{_text(Path(row['file_name']).name)}</td>"
        f"<td class='number'>{row['record_count']:,}</td><td>{_text(row['message'])}</td></tr>"
        for row in quarantine.head(_TOP).iter_rows(named=True)
    )
    head = "<tr><th>Reason</th><th>File</th><th>Records</th><th>What to do</th></tr>"
    table = f"<div class='wide'><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>" if rows else ""
    return _Section(
        "Freshness and quarantine", "How fresh this is, and what could not be used.", [], f"<dl>{listed}</dl>{table}"
    )


def _tiles(report: Report) -> str:
    tiles = ""
    ahead = {row["currency"]: row for row in _sums(report["open_periods"], ["expected_so_far", "expected_at_end"])}
    for row in _sums(report["expected_and_billed_by_month"], ["order_count", "expected", "billed", "variance"]):
        currency = row["currency"]

        def amount(value: Decimal, *, sign: bool = False, currency: str = currency) -> str:
            return _amount(value, report.digits.get(currency, 2), sign=sign)

        note = f"<p>{amount(row['expected'])} expected, {amount(row['billed'])} billed</p>"
        if open_periods := ahead.get(currency):
            so_far, at_end = amount(open_periods["expected_so_far"]), amount(open_periods["expected_at_end"])
            note += f"<p>Open periods: {so_far} so far, {at_end} at this pace</p>"
        kind = "even" if row["variance"] == 0 else "off"
        figure = amount(row["variance"], sign=True)
        tiles += f"<article><h3>{_text(currency)}</h3><p class='figure {kind}'>{figure}</p>{note}</article>"
    return tiles or "<article><p class='empty'>No order can be compared yet.</p></article>"


def _sums(frame: Frame, columns: list[str]) -> list[dict[str, Any]]:
    rows = frame.filter(pl.col("currency").is_not_null()).group_by("currency").agg(pl.col(columns).sum())
    return rows.sort(columns[0], descending=True).to_dicts()


def _subtitle(freshness: Frame) -> str:
    facts = freshness.row(0, named=True)
    return f"as of {facts['as_of']:%d %B %Y}, {facts['usage_event_count']:,} usage events"


def _amount(value: Decimal | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "not known"
    rounded = value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{rounded:+,}" if sign and rounded else f"{rounded:,}"


def _text(value: Any) -> str:
    return html.escape("" if value is None else str(value))
