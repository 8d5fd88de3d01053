"""The metrics beside the marts: valid to MetricFlow, equal to SQL, and never a sum over two currencies."""

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.loaders.main_job.conftest import ROOT, World

# MetricFlow reads the manifest below the project's folder, wherever dbt was told to write: it gets a folder of its own.
_PROJECT = ("dbt_project.yml", "profiles.yml", "models", "macros", "seeds", "tests")

_ASK = """
import json, sys
from pathlib import Path
from dbt_metricflow.cli.cli_configuration import CLIConfiguration
from metricflow.engine.metricflow_engine import MetricFlowQueryRequest
configuration = CLIConfiguration()
configuration.setup(configure_file_logging=False)
answers = []
for metrics, group_by in json.loads(sys.argv[1]):
    request = MetricFlowQueryRequest.create(metric_names=metrics, group_by_names=group_by or None)
    table = configuration.mf.query(request).result_df
    answers.append([dict(zip(table.column_names, row)) for row in table.rows])
print(json.dumps(answers, default=lambda value: str(value)[:10]))
"""

_COMPARED = "status not in ('not_comparable', 'pending')"
# What is asked of MetricFlow, by which dimensions, and the same in SQL.
_QUESTIONS: dict[str, tuple[list[str], list[str], str]] = {
    "usage": (
        ["usage", "tokens"],
        ["usage__usage_date__month", "usage__event_name", "usage__organization_id"],
        """
        select date_trunc('month', cast(occurred_at as date)), event_name, organization_id, count(*),
            sum(llm_total_tokens)
        from usage_events group by all
        """,
    ),
    "active": (
        ["active_customers", "active_members"],
        ["usage__usage_date__month"],
        """
        select date_trunc('month', usage_date), count(distinct customer_key),
            count(distinct member_key) filter (where member_key in (select member_key from members))
        from usage_daily group by all
        """,
    ),
    "usage of customers": (
        ["usage"],
        ["customer__external_customer_id", "member__external_member_id"],
        """
        select external_customer_id, external_member_id, count(*)
        from usage_events left join customers using (customer_key) left join members using (member_key) group by all
        """,
    ),
    "cost": (
        ["cost"],
        ["usage__llm_model", "usage__currency"],
        "select llm_model, cost_currency, sum(cost_amount) from usage_costs group by all",
    ),
    "reconciliation": (
        ["expected", "billed", "variance"],
        ["reconciliation__billing_date__month", "reconciliation__currency"],
        f"""
        select date_trunc('month', coalesce(period_end_at, paid_at, due_at)), currency,
            sum(expected_subtotal_amount) filter (where {_COMPARED}),
            sum(coalesce(billed_subtotal_amount, 0) - proration_amount) filter (where {_COMPARED}),
            sum(variance_amount) filter (where {_COMPARED})
        from order_reconciliation group by all
        """,
    ),
    "leakage": (
        ["leakage"],
        ["leakage__kind", "leakage__currency"],
        "select kind, currency, sum(amount) from revenue_leakage where not is_accepted group by all",
    ),
    "revenue": (
        ["revenue", "net_revenue"],
        ["revenue__revenue_date__month", "revenue__currency"],
        """
        select date_trunc('month', revenue_date), currency, sum(revenue_amount), sum(net_revenue_amount)
        from revenue_daily group by all
        """,
    ),
    "margin": (
        ["margin"],
        ["customer__external_customer_id", "margin__currency"],
        """
        select external_customer_id, margin_currency, sum(margin_amount)
        from customer_margins left join customers using (customer_key) group by all
        """,
    ),
}
_MONEY = ["cost", "expected", "billed", "variance", "leakage", "revenue", "net_revenue", "margin"]
# Half of the simulated world's rows in another currency: its own are all in dollars.
_SECOND_CURRENCY = {
    "intermediate.int_usage_costs": "cost_currency",
    "marts.revenue_daily": "currency",
    "marts.revenue_leakage": "currency",
    "marts.customer_margins": "margin_currency",
}


class Metrics:
    """A copy of the world's home folder with two currencies in every mart, and the project parsed for MetricFlow."""

    def __init__(self, world: World, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.work_file = self.home / "meterhouse.duckdb"
        shutil.copyfile(world.home / "meterhouse.duckdb", self.work_file)
        with duckdb.connect(str(self.work_file)) as connection:
            for table, currency in _SECOND_CURRENCY.items():
                connection.execute(
                    f"update {table} set {currency} = 'eur' where {currency} is not null and rowid % 2 = 0"
                )
        self._project = folder / "project"
        self._project.mkdir()
        for name in _PROJECT:
            (self._project / name).symlink_to(ROOT / name)
        self.parsing = self.run("dbt", "parse", "--show-all-deprecations")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "METERHOUSE_HOME": str(self.home),
            "DBT_TARGET_PATH": "target",
            "DBT_LOG_PATH": str(self.home / "logs"),
            "NO_COLOR": "1",
        }
        program = Path(sys.executable).parent / command[0]
        return subprocess.run(
            [program, *command[1:]], cwd=self._project, env=environment, capture_output=True, text=True, timeout=300
        )

    def ask(self, questions: list[tuple[list[str], list[str]]]) -> list[list[dict[str, Any]]]:
        done = self.run("python", "-c", _ASK, json.dumps(questions))
        assert done.returncode == 0, done.stderr[-3000:]
        return list(json.loads(done.stdout.splitlines()[-1]))

    def sql(self, query: str, names: list[str]) -> list[dict[str, Any]]:
        with duckdb.connect(str(self.work_file), read_only=True) as connection:
            connection.execute("set schema = 'marts'")
            rows = connection.execute(query).fetchall()
            return [dict(zip(names, map(_as_told, row), strict=True)) for row in rows]


def _as_told(value: Any) -> Any:
    """A value of SQL as the script prints what MetricFlow returns: it makes a double of each decimal."""
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, int | float | str) else str(value)[:10]


def _in_order(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


@pytest.fixture(scope="module")
def metrics(world: World, tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    return Metrics(world, tmp_path_factory.mktemp("metrics"))


def test_parsing_the_project_warns_of_nothing(metrics: Metrics) -> None:
    assert metrics.parsing.returncode == 0, metrics.parsing.stdout
    for word in ("WARNING", "eprecat"):
        assert word not in metrics.parsing.stdout, metrics.parsing.stdout


def test_metricflow_finds_every_metric_valid(metrics: Metrics) -> None:
    """Also that each table, column and expression is there: it asks the work file for them."""
    done = metrics.run("mf", "validate-configs", "--show-all")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [line for line in done.stdout.splitlines() if "ERRORS" in line]
    assert len(verdicts) == 6
    assert all("(ERRORS: 0, FUTURE_ERRORS: 0, WARNINGS: 0)" in line for line in verdicts), done.stdout


def test_metrics_equal_sql_and_add_no_two_currencies(metrics: Metrics) -> None:
    grouped = [(names, dimensions) for names, dimensions, _ in _QUESTIONS.values()]
    over_all = [([name], []) for name in _MONEY]
    answers = metrics.ask(grouped + over_all)
    for (name, (names, dimensions, sql)), told in zip(_QUESTIONS.items(), answers, strict=False):
        assert _in_order(told) == _in_order(metrics.sql(sql, dimensions + names)), name
        assert len(told) > 1, name
    assert dict(zip(_MONEY, answers[len(grouped) :], strict=True)) == {name: [{name: None}] for name in _MONEY}


def test_days_of_the_metrics_are_not_published(world: World) -> None:
    assert "int_days" not in world.published.tables()
