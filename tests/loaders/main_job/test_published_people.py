"""What readers see of people is what two vars say: nothing personal by default."""

import json
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from tests.loaders.main_job.conftest import World, plain_dbt


def built(world: World, home: Path, variables: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """The three tables that show people, made with these vars from what the world's home has."""
    shutil.copytree(world.home, home)
    models = ["stg_polar__customer_details", "customers", "members", "usage_events"]
    return plain_dbt("run", "--vars", json.dumps(variables), "--full-refresh", "--select", *models, home=home)


def rows(home: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        return work.execute(sql).fetchall()


def test_hashed_ids_compare_and_cannot_be_read(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = built(world, home, {"published_external_ids": "hashed"})
    assert done.returncode == 0, done.stdout
    for table, column in (
        ("customers", "external_customer_id"),
        ("members", "external_member_id"),
        ("usage_events", "external_id"),
    ):
        key = f"{table.removesuffix('s')}_key"
        plain = {
            UUID(row[key]): (row["organization_id"], row[column])
            for row in world.published.rows(f"select * from {table}")
        }
        found = dict(rows(home, f"select {key}, {column} from marts.{table}"))
        assert found.keys() == plain.keys()
        assert all((found[name] is None) == (value is None) for name, (_, value) in plain.items())
        shown = {value for value in found.values() if value is not None}
        assert len(shown) == len({pair for pair in plain.values() if pair[1] is not None}) > 0
        assert not shown & {value for _, value in plain.values()}


def test_chosen_fields_are_added_and_no_others(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = built(world, home, {"published_customer_fields": ["email"]})
    assert done.returncode == 0, done.stdout
    columns = {row[0] for row in rows(home, "select column_name from (describe marts.customers)")}
    published = {row["column_name"] for row in world.published.rows("select column_name from (describe customers)")}
    assert columns - published == {"email"}
    landed = dict(rows(home, "select resource_id, payload ->> 'email' from raw.resources where kind = 'customers'"))
    found = dict(rows(home, "select customer_id, email from marts.customers where email is not null"))
    assert found
    assert all(found[customer_id] == email for customer_id, email in landed.items() if customer_id in found)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"published_customer_fields": ["tax_id"]}, "takes name and email, not 'tax_id'"),
        ({"published_external_ids": "secret"}, "is 'plain' or 'hashed', not 'secret'"),
    ],
)
def test_other_values_stop_the_build(world: World, tmp_path: Path, variables: dict[str, object], message: str) -> None:
    done = built(world, tmp_path / "home", variables)
    assert done.returncode != 0
    assert message in done.stdout
