"""docs/values.md has each value that a column may hold and no other, with the words that the seeds give it."""

import csv
import json
import re
from functools import cache
from typing import Any

import pytest
import yaml

from loaders.commands.run import STATUSES
from loaders.records import KIND_OPTIONS, Context, Rejected, examine
from tests.docs.pages import FOLDER, ROOT, Section, codes, sections
from tests.loaders.conftest import NOW
from tests.loaders.main_job.conftest import SHARED, World

CONTRACT = SHARED / "contract_columns.json"
MODELS = sorted((ROOT / "models" / "marts").rglob("_*.yml"))
# Models that are published under another name.
PUBLISHED_AS = {"all_meters": "meters"}
# Columns whose values no test of the models names, because Polar's or several may stand there: their comment does.
NAMED_BY_THEIR_COMMENT = (
    "revenue_leakage.kind",
    "orders_settled.differences",
    "orders_settled.exchange_rate_basis",
    "subscriptions.status",
)

EXAMPLES = {"example", "in the sample world", "as monthly recurring revenue", "a record is known by"}


@cache
def described() -> dict[str, set[str]]:
    """By column, the values in the first column of its section's table."""
    made: dict[str, set[str]] = {}
    for section in sections(FOLDER / "values.md"):
        values = {code for table in section.tables for row in table for code in codes(row.get("value", ""))}
        for column in re.findall(r"\b\w+\.\w+\b", section.title):
            made[column] = values
    return made


def section_of(column: str) -> Section:
    (section,) = [one for one in sections(FOLDER / "values.md") if column in re.findall(r"\w+\.\w+", one.title)]
    return section


def models() -> list[dict[str, Any]]:
    return [model for path in MODELS for model in yaml.safe_load(path.read_text()).get("models", [])]


def accepted_values() -> dict[str, set[str]]:
    made = {}
    for model in models():
        table = PUBLISHED_AS.get(model["name"], model["name"])
        for test in model.get("data_tests", []):
            for column, values in test.get("sound_rows", {}).get("arguments", {}).get("accepted_values", {}).items():
                made[f"{table}.{column}"] = set(values)
        for column in model.get("columns", []):
            for test in column.get("data_tests", []):
                if "accepted_values" in test:
                    made[f"{table}.{column['name']}"] = set(test["accepted_values"]["arguments"]["values"])
    return made


def comments() -> dict[str, str]:
    return {
        f"{model['name']}.{column['name']}": column.get("description", "")
        for model in models()
        for column in model.get("columns", [])
    }


@pytest.mark.parametrize("column", sorted(accepted_values()))
def test_values_that_the_models_accept_are_described(column: str) -> None:
    assert described().get(column) == accepted_values()[column]


@pytest.mark.parametrize("column", NAMED_BY_THEIR_COMMENT)
def test_values_that_a_comment_names_are_described(column: str) -> None:
    named = {code for code in codes(comments()[column]) if not re.search(r"[./]", code)}
    assert described()[column] == named


def test_values_of_the_contract_are_described() -> None:
    if not CONTRACT.exists():
        pytest.skip("the contract's columns (../shared/contract_columns.json) are not beside this checkout")
    for column, values in json.loads(CONTRACT.read_text())["enumerations"].items():
        assert described().get(column) == set(values), column


def test_values_that_commands_take_are_described() -> None:
    assert described()["loads.kind"] == set(KIND_OPTIONS)
    assert described()["order_reconciliation.status"] == set(STATUSES)


def test_sources_of_loads_are_those_that_the_loaders_write() -> None:
    loaders = "".join(path.read_text() for path in (ROOT / "loaders").rglob("*.py"))
    assert described()["loads.source"] == set(re.findall(r"Origin\(source=\"(\w+)\"", loaders))


def test_outcomes_that_lose_money_are_those_of_the_model() -> None:
    model = (ROOT / "models" / "marts" / "reconciliation" / "unbilled_usage.sql").read_text()
    (listed,) = re.findall(r"reason in \((.+)\)", model)
    assert described()["unbilled_usage.outcome"] == set(re.findall(r"\w+", listed))


def test_each_described_column_is_held_against_something() -> None:
    """Else a value that is none could stand in the page for good. Causes share the section of order_reconciliation."""
    by_tests_above = {"loads.kind", "loads.source", "unbilled_usage.outcome", "meter_reconciliation.cause"}
    assert set(described()) == {*accepted_values(), *NAMED_BY_THEIR_COMMENT, *by_tests_above}


def test_values_of_the_sample_world_are_described(world: World) -> None:
    for column, values in described().items():
        table, name = column.split(".")
        if table == "usage_metadata":
            continue
        cells = world.published.rows(f"select distinct {name} as cell from {table} where {name} is not null")
        found = {part for row in cells for part in row["cell"].split(", ") if part}
        assert found <= values, f"{column}: {found - values}"


@pytest.mark.parametrize(
    ("column", "seed", "name"),
    [
        ("order_reconciliation.status", "reconciliation_statuses", "status"),
        ("order_reconciliation.cause", "reconciliation_causes", "cause"),
        ("billing_outcomes.outcome", "billing_outcomes_explained", "outcome"),
    ],
)
def test_words_are_those_of_the_seed(column: str, seed: str, name: str) -> None:
    with (ROOT / "seeds" / f"{seed}.csv").open(newline="", encoding="utf-8") as lines:
        seeded = {row[name]: row["explanation"] for row in csv.DictReader(lines)}
    (table,) = [table for table in section_of(column).tables if "value" in table[0]]
    assert {row["value"].strip("`"): row["meaning"] for row in table} == seeded


def test_each_value_has_an_example() -> None:
    """In its own row, as a row of a query's answer, or in a sentence below the table."""
    page = sections(FOLDER / "values.md")
    answers = [row for section in page for table in section.tables for row in table if "value" not in row]
    shown = {cell for row in answers for cell in row.values()}
    for section in page:
        below = codes(section.text.rpartition("|")[2])
        for row in (row for table in section.tables for row in table if "value" in row):
            if EXAMPLES.isdisjoint(row):
                assert set(codes(row["value"])) <= {*shown, *below}, f"{section.title}: {row['value']}"


def test_reasons_refuse_the_records_that_are_their_examples() -> None:
    (table,) = section_of("quarantined_records.reason_code").tables
    examples = {row["value"].strip("`"): codes(row["example"]) for row in table}
    judged = 0
    for reason, records in examples.items():
        for record in records:
            (one,) = examine(record.encode(), 0, Context(now=NOW))
            assert isinstance(one.verdict, Rejected), record
            assert one.verdict.reason_code == reason
            judged += 1
    # Those that no line of a page can show are described in words.
    words = {reason for reason, records in examples.items() if not records}
    assert words == {"invalid_utf8", "too_large", "too_deep", "name_too_long"}
    assert judged == len(examples) - len(words)


def test_findings_are_those_that_only_warn() -> None:
    warned = {
        path.stem
        for path in (ROOT / "tests" / "warehouse").glob("*.sql")
        if re.search(r"severity ?= ?('warn'|var\()", path.read_text())
    }
    warned |= {
        test["sound_rows"]["name"]
        for model in models()
        for test in model.get("data_tests", [])
        if test.get("sound_rows", {}).get("config", {}).get("severity") == "warn"
    }
    (section,) = [section for section in sections(FOLDER / "values.md") if section.title == "Findings"]
    assert {code for row in section.tables[0] for code in codes(row["value"])} == warned


def test_findings_of_the_sample_world_are_counted_right(world: World) -> None:
    (section,) = [section for section in sections(FOLDER / "values.md") if section.title == "Findings"]
    counted = {
        code: int(re.match(r"\d+", row["in the sample world"])[0])
        for row in section.tables[0]
        for code in codes(row["value"])
    }
    told = {name: count for count, name in re.findall(r"finding: ([\d,]+) rows against (\w+)", world.run_stderr)}
    assert {name: str(count) for name, count in counted.items() if count} == told, world.run_stderr


def test_every_type_of_price_is_rated(world: World) -> None:
    """The comment of price_type said for long that only `unit` was."""
    rated = world.published.rows(
        "select distinct p.price_type from metered_prices as p join meter_usage as u using (organization_id, price_id) "
        "where u.billable_units > 0 and u.expected_amount is not null"
    )
    assert {row["price_type"] for row in rated} == described()["metered_prices.price_type"]
    assert "so far" not in comments()["metered_prices.price_type"]
