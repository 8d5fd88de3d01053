"""Revenue, metrics, movements and margins against a second reading of the rules, over random businesses."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.loaders.main_job.conftest import meterhouse
from tests.oracle.generator import iso
from tests.oracle.judging import Key, Row, agree, by_key
from tests.oracle.records import Json, parse
from tests.oracle.revenue import BUCKETS, Books, Table
from tests.oracle.revenue_world import Businesses

QUICK_SEEDS = [1]
SLOW_SEEDS = list(range(2, 13))


class Judged:
    """A landing, what the job published of it, and each organization's books."""

    def __init__(self, seed: int, folder: Path) -> None:
        path = folder / "records.jsonl"
        world = Businesses(seed)
        world.write(path)
        home = folder / "home"
        home.mkdir()
        meterhouse("run", path, "--as-of", iso(world.as_of.replace(tzinfo=None)), home=home)
        self._published = home / "published.duckdb"
        records: dict[str, list[Json]] = defaultdict(list)
        for record in parse(path.read_text().splitlines()):
            records[record["organization_id"]].append(record)
        self.books = {organization: Books(own) for organization, own in records.items()}

    def rows(self, sql: str) -> list[Row]:
        with duckdb.connect(str(self._published), read_only=True) as reader:
            cursor = reader.execute(sql)
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(
    scope="module",
    params=[*QUICK_SEEDS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SLOW_SEEDS)],
    ids=lambda seed: f"businesses-{seed}",
)
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return Judged(request.param, tmp_path_factory.mktemp(f"businesses-{request.param}"))


DAY_COLUMNS = (
    *("order_count", "revenue_amount", "fee_amount", "refund_amount", "dispute_amount", "net_revenue_amount"),
    *("revenue_amount_as_polar", "net_revenue_amount_as_polar"),
)


def test_revenue_daily(judged: Judged) -> None:
    published = by_key(
        judged.rows("select * from revenue_daily"),
        lambda row: (row["organization_id"], row["currency"], row["revenue_date"]),
        lambda row: tuple(row[name] for name in DAY_COLUMNS),
    )
    expected = {
        (organization, *key): row for organization, books in judged.books.items() for key, row in books.days().items()
    }
    # A fee of zero moves nothing, in whatever currency.
    agree(published, {key: row for key, row in expected.items() if any(row) or key in published})


def buckets(judged: Judged, kind: str) -> Iterator[tuple[Key, Row]]:
    rows = judged.rows(f"select * from revenue_metrics where bucket_type = '{kind}'")
    for row in rows:
        yield (row["organization_id"], row["currency"], row["bucket_start_date"]), row


@pytest.mark.parametrize("kind", BUCKETS)
def test_revenue_metrics(judged: Judged, kind: str) -> None:
    """Every row where something happens, and of the others a part; days are many."""
    published: dict[Key, Any] = {}
    expected: dict[Key, Any] = {}
    tables = {organization: Table(books, kind) for organization, books in judged.books.items()}
    for number, (key, row) in enumerate(buckets(judged, kind)):
        if kind == "day" and number % 23 and not row["order_count"]:
            continue
        organization, currency, start = key
        expected[key] = tables[organization].row(start, currency)
        published[key] = {name: row[name] for name in expected[key]}
    assert len(published) > len(judged.books) // 2
    agree(published, expected)


def test_no_bucket_is_left_out(judged: Judged) -> None:
    """Each bucket since the organization's first one up to its last record's."""
    for kind in BUCKETS:
        found: dict[Key, list[date]] = defaultdict(list)
        for (organization, currency, start), row in buckets(judged, kind):
            found[organization, currency].append(start)
            assert row["bucket_end_date"] > start
        rows = {row["bucket_start_date"]: row["bucket_end_date"] for _, row in buckets(judged, kind)}
        for (organization, _), starts in found.items():
            assert max(starts) <= judged.books[organization].known_until < rows[max(starts)]
            calendar = sorted(start for start in starts if start >= date(2023, 1, 1))
            assert all(rows[one] == other for one, other in pairwise(calendar))


def test_mrr_movements(judged: Judged) -> None:
    parts = ("new", "reactivated", "expansion", "contraction", "churned")
    columns = ("opening_mrr_amount", *(f"{name}_mrr_amount" for name in parts), "closing_mrr_amount")
    published = by_key(
        judged.rows("select * from mrr_movements join customers using (customer_key)"),
        lambda row: (row["customer_id"], row["currency"], row["movement_month"]),
        lambda row: tuple(row[name] for name in columns),
    )
    expected = {key: row for books in judged.books.values() for key, row in books.mrr_movements().items()}
    agree(published, expected)


def test_customer_margins(judged: Judged) -> None:
    published = by_key(
        judged.rows(
            "select m.*, c.customer_id, c.external_customer_id "
            "from customer_margins as m join customers as c using (customer_key)"
        ),
        lambda row: (
            row["organization_id"],
            row["customer_id"] or row["external_customer_id"],
            row["currency"],
            row["margin_month"],
        ),
        lambda row: (row["revenue_amount"], row["net_revenue_amount"], row["cost_amount"]),
    )
    expected = {
        (organization, *key): row
        for organization, books in judged.books.items()
        for key, row in books.margins().items()
    }
    agree(published, {key: row for key, row in expected.items() if any(row) or key in published})


def test_margins_need_one_currency(judged: Judged) -> None:
    for row in judged.rows("select * from customer_margins"):
        if row["currency"] == row["cost_currency"]:
            assert row["margin_amount"] == row["revenue_amount"] - row["cost_amount"]
        else:
            assert row["margin_amount"] is None


def test_businesses_hold_what_they_are_made_for(judged: Judged) -> None:
    """What no business has is compared by nobody."""
    days = judged.rows("select * from revenue_daily")
    assert {"usd", "eur"} <= {row["currency"] for row in days}
    for name in (*DAY_COLUMNS, "refund_reversal_amount", "dispute_reversal_amount", "repeated_fee_amount"):
        assert any(row[name] for row in days), name
    assert any(row["net_revenue_amount"] != row["net_revenue_amount_as_polar"] for row in days)
    moves = judged.rows("select * from mrr_movements")
    for name in ("new", "expansion", "contraction", "churned"):
        assert any(row[f"{name}_mrr_amount"] for row in moves), name
    assert any(row["currency"] != row["cost_currency"] for row in judged.rows("select * from customer_margins"))
