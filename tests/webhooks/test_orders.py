"""One order, told by a webhook, by Polar's event and by the orders API: one row, with the best of each."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loaders.sources.spool import Delivery, SegmentWriter, Spool
from tests.loaders.main_job.conftest import begun_home
from tests.webhooks.receiving import meterhouse
from tests.webhooks.test_spool import AT

AS_OF = "2026-02-01T00:00:00Z"
CUSTOMER = {"id": "c_1", "organization_id": "org_1", "external_id": "acme"}
# As a webhook shows it, when Polar has not booked its fee yet: 10.00, less 2.00, and 1.52 of tax.
ORDER: dict[str, Any] = {
    "id": "order_1",
    "created_at": "2026-01-10T00:00:00Z",
    "modified_at": "2026-01-10T00:00:05Z",
    "status": "paid",
    "paid": True,
    "subtotal_amount": 1000,
    "discount_amount": 200,
    "net_amount": 800,
    "amount": 800,
    "tax_amount": 152,
    "total_amount": 952,
    "applied_balance_amount": -52,
    "due_amount": 900,
    "refunded_amount": 0,
    "refunded_tax_amount": 0,
    "platform_fee_amount": 0,
    "currency": "usd",
    "billing_reason": "subscription_cycle",
    "customer_id": "c_1",
    "product_id": "p_1",
    "subscription_id": "s_1",
    "discount_id": None,
    "metadata": {},
    "customer": CUSTOMER,
    "items": [{"id": "i_1", "label": "Pro", "amount": 1000, "tax_amount": 152, "proration": False}],
}
WEBHOOK = {"type": "order.paid", "timestamp": "2026-01-10T00:00:06Z", "data": ORDER}
# Read later: the fee is known.
OBJECT = {**ORDER, "modified_at": "2026-01-10T01:00:00Z", "platform_fee_amount": 78}
EVENT = {
    "id": "event_1",
    "timestamp": "2026-01-10T00:00:04Z",
    "organization_id": "org_1",
    "customer_id": "c_1",
    "customer": CUSTOMER,
    "source": "system",
    "name": "order.paid",
    "metadata": {
        "order_id": "order_1",
        "product_id": "p_1",
        "subscription_id": "s_1",
        "billing_type": "recurring",
        "amount": 952,
        "net_amount": 800,
        "tax_amount": 152,
        "discount_amount": 200,
        "applied_balance_amount": -52,
        "platform_fee": 0,
        "currency": "usd",
    },
}
PARTS = {"webhook": WEBHOOK, "object": OBJECT, "event": EVENT}


def bring(home: Path, part: str) -> list[Path]:
    """Put a part where the next run finds it: the webhook in the spool, the others in files."""
    content = json.dumps(PARTS[part]).encode()
    if part == "webhook":
        spool = Spool(home)
        spool.ensure()
        writer = SegmentWriter(spool)
        writer.append([Delivery("msg_1", content, AT)])
        writer.close()
        return []
    path = home.parent / f"{home.name}_{part}.jsonl"
    path.write_bytes(content)
    return [path]


def run(home: Path, parts: Iterable[str]) -> dict[str, Any]:
    paths = [path for part in parts for path in bring(home, part)]
    meterhouse("run", *paths, "--as-of", AS_OF, home=home)
    with duckdb.connect(str(home / "published.duckdb"), read_only=True) as reader:
        cursor = reader.execute("select * from orders")
        names = [column[0] for column in cursor.description or ()]
        (row,) = cursor.fetchall()
        lines = reader.execute("select count(*), sum(amount) from order_lines").fetchone()
        revenue = reader.execute("select count(*) from order_reconciliation").fetchone()
    return {**dict(zip(names, row, strict=True)), "lines": lines, "reconciled": revenue}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(begun_home(tmp_path_factory.mktemp("orders") / "together"), PARTS)


def test_one_order_has_the_best_of_each(together: dict[str, Any]) -> None:
    expected = {
        "order_id": "order_1",
        "is_paid": True,
        "billing_type": "recurring",
        "billing_reason": "subscription_cycle",
        "subtotal_amount": 1000,
        "discount_amount": 200,
        "net_amount": 800,
        "tax_amount": 152,
        "total_amount": 952,
        "applied_balance_amount": -52,
        "paid_amount": 900,
        "platform_fee_amount": 78,
        "refunded_amount": 0,
        "has_lines": True,
        "lines": (1, 1000),
        "reconciled": (1,),
    }
    assert {name: together[name] for name in expected} == expected
    # The event says when it was paid; the webhook only when it was told.
    assert together["paid_at"].isoformat() == "2026-01-10T00:00:04"
    assert together["created_at"].isoformat() == "2026-01-10T00:00:00"


# One order of arrival in the normal tests; each is three runs of the whole job.
ARRIVALS = [
    pytest.param(parts, id="-".join(parts), marks=[] if number == 0 else [pytest.mark.slow])
    for number, parts in enumerate(itertools.permutations(PARTS))
]


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_the_three_may_come_one_by_one(tmp_path: Path, together: dict[str, Any], arrival: tuple[str, ...]) -> None:
    home = begun_home(tmp_path / "home")
    for part in arrival:
        row = run(home, [part])
        assert row["order_key"] == together["order_key"]
        assert (row["is_paid"], row["paid_amount"], row["total_amount"]) == (True, 900, 952) or part == arrival[0]
    assert row == together
