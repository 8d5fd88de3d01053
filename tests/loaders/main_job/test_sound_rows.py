"""Each kind of rule that `sound_rows` holds fails where one row breaks it, and names rule, columns and row."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loaders import dbt_plugin
from tests.loaders.main_job.conftest import AS_OF, ROOT, World, meterhouse
from tests.parsed_project import shared_parse

# Which row is broken, how, and the rule and columns that the test of its table must name.
DAMAGE = {
    "never_null": (
        "customers",
        "update {table} set is_known_to_polar = null where {key} = '{row}'",
        {("customers_rows_are_sound", "never_null", "is_known_to_polar")},
    ),
    "never_null of the key": (
        "subscriptions",
        "insert into {table} select * replace (null as subscription_key) from {table} where {key} = '{row}'",
        {("subscriptions_rows_are_sound", "never_null", "subscription_key")},
    ),
    "never_null_where": (
        "customer_margins",
        "update {table} set margin_currency = null where {key} = '{row}'",
        {("customer_margins_rows_are_sound", "never_null_where", "margin_currency")},
    ),
    "never_negative": (
        "meter_usage",
        "update {table} set billable_units = -1 where {key} = '{row}'",
        {("meter_usage_rows_are_sound", "never_negative", "billable_units")},
    ),
    "accepted_values": (
        "billing_periods",
        "update {table} set period_type = 'week' where {key} = '{row}'",
        {("billing_periods_rows_are_sound", "accepted_values", "period_type")},
    ),
    "accepted_values that only warn": (
        "orders",
        "update {table} set billing_reason = 'whim' where {key} = '{row}'",
        {("orders_types_and_reasons_are_known", "accepted_values", "billing_reason")},
    ),
    "unique key": (
        "products",
        "insert into {table} from {table} where {key} = '{row}'",
        {("products_rows_are_sound", "unique", "product_key")},
    ),
    "unique grain in which nulls agree": (
        "credit_ledger",
        "insert into {table} select * replace (uuid() as credit_ledger_key) from {table} where {key} = '{row}'",
        {("credit_ledger_rows_are_sound", "unique", "customer_key, meter_id, window_start_at")},
    ),
    "reference to nothing": (
        "members",
        "update {table} set customer_key = uuid() where {key} = '{row}'",
        {("members_rows_are_sound", "references", "customer_key")},
    ),
    "reference to another organization": (
        "order_reconciliation",
        "update {table} set organization_id = 'another' where {key} = '{row}'",
        {
            ("order_reconciliation_rows_are_sound", "references", column)
            for column in ("customer_key", "subscription_key", "order_key", "billing_period_key")
        },
    ),
}
CHOICE = {
    "customer_margins": "margin_amount is not null",
    "credit_ledger": "window_start_at is null",
    # One that has no lines: meter_reconciliation refers to none of its rows.
    "order_reconciliation": "paid_at is not null and billing_period_key is not null and comparison = 'order_total'",
}


def key_of(table: str) -> str:
    return f"{table.removesuffix('s')}_key"


@pytest.fixture(scope="module")
def broken(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, Any]]:
    """A built world with one row broken for each kind of rule: those rows, and what the tests say of it."""
    folder = tmp_path_factory.mktemp("sound_rows")
    shutil.copytree(world.home, folder / "home")
    rows = {}
    with duckdb.connect(str(folder / "home" / "meterhouse.duckdb")) as work:
        for kind, (table, damage, _) in DAMAGE.items():
            key, whole = key_of(table), f"marts.{table}"
            sql = f"select min({key}) from {whole} where {CHOICE.get(table, 'true')}"
            (row,) = work.execute(sql).fetchone() or (None,)
            assert row is not None, table
            # By the key as it is published; where the test knows of no key, in all of the row.
            rows[kind] = str(row) if kind.endswith("warn") else row.hex
            work.execute(damage.format(table=whole, key=key, row=rows[kind]))
    return rows, run_tests(folder / "home")


def run_tests(home: Path) -> dict[str, Any]:
    """dbt's results of the tests of rules, by name, with the rows each returns as `rows`."""
    from dbt.cli.main import dbtRunner

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("METERHOUSE_HOME", str(home))
        environment.setenv("METERHOUSE_AS_OF", AS_OF)
        folders = ["--project-dir", str(ROOT), "--profiles-dir", str(ROOT)]
        folders += ["--target-path", str(home / "target"), "--log-path", str(home / "logs")]
        try:
            with shared_parse(home):
                outcome = dbtRunner().invoke(
                    ["test", "--select", "test_name:sound_rows", "--quiet", "--log-level", "none", *folders]
                )
        finally:
            dbt_plugin.close_all()
    assert outcome.exception is None
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        return {
            result.node.name: (str(result.status), set(work.execute(result.node.compiled_code).fetchall()))
            for result in outcome.result.results
            if result.node.resource_type == "test"
        }


@pytest.mark.parametrize("kind", DAMAGE)
def test_broken_rule_is_named_with_its_columns_and_row(
    broken: tuple[dict[str, str], dict[str, Any]], kind: str
) -> None:
    rows, results = broken
    _, _, expected = DAMAGE[kind]
    for name, rule, columns in expected:
        status, found = results[name]
        assert status == ("warn" if kind.endswith("warn") else "fail")
        names = [
            row_name for found_rule, found_columns, row_name in found if (found_rule, found_columns) == (rule, columns)
        ]
        assert len(names) == 1
        assert kind in ("never_null of the key", "unique grain in which nulls agree") or rows[kind] in names[0]


def test_nothing_but_the_broken_rules_fails(broken: tuple[dict[str, str], dict[str, Any]]) -> None:
    _, results = broken
    found = {(name, *row[:2]) for name, (status, rows) in results.items() if status != "pass" for row in rows}
    assert found == {rule for _, _, rules in DAMAGE.values() for rule in rules}
    assert {status for status, _ in results.values()} == {"pass", "fail", "warn"}


def test_failed_build_says_which_rule_of_the_model_is_broken(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(world.home, home)
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        work.execute(
            "update staging.stg_polar__usage_events set event_name = null "
            "where usage_event_key = (select min(usage_event_key) from staging.stg_polar__usage_events)"
        )
        # Else nothing but new loads would be read.
        work.execute("update raw.builds set project = 'another'")
    failed = meterhouse("build", "--as-of", AS_OF, home=home, expect=1)
    assert "  1 rows against stg_polar__usage_events_rows_are_sound: never_null (event_name) 1\n" in failed.stderr
