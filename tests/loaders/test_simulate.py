"""The simulated world: byte-identical, loadable with Polar's own types, and in agreement with its own answers."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from polar.base import deserialize
from polar.v2026_10 import outputs

from loaders.simulate import write_world

pytestmark = pytest.mark.filterwarnings("error")

MODELS = {
    "customers": outputs.Customer,
    "meters": outputs.Meter,
    "orders": outputs.Order,
    "products": outputs.Product,
    "refunds": outputs.Refund,
    "subscriptions": outputs.Subscription,
}
STATUSES = {
    "matched",
    "within_tolerance",
    "underbilled",
    "overbilled",
    "unbilled",
    "pending",
    "unexpected",
    "not_comparable",
}
CAUSES = {
    "none",
    "rounding",
    "cutoff_timing",
    "trial",
    "one_time",
    "missing_order",
    "unpaid_order",
    "proration",
    "incomplete_history",
    "unexplained",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world")
    write_world(directory)
    return directory


@pytest.fixture(scope="module")
def answers(world: Path) -> Any:
    return json.loads((world / "answers.json").read_text())


def data_files(world: Path) -> list[Path]:
    return sorted(path for path in (world / "data").rglob("*") if path.is_file())


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def documents(path: Path) -> list[Any]:
    """The whole file as one document, or a document a line."""
    text = content(path).decode("utf-8-sig")
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def records(path: Path) -> Iterator[Any]:
    for document in documents(path):
        if isinstance(document, list):
            yield from document
        elif "events" in document:
            yield from document["events"]
        elif "items" in document and "pagination" in document:
            yield from document["items"]
        else:
            yield document


def readable(world: Path) -> list[Path]:
    return [path for path in data_files(world) if path.name != "broken.jsonl"]


def kind_of(path: Path) -> str:
    names = {path.parent.name, path.name.split(".")[0]}
    return next(kind for kind in (*MODELS, "events", "webhooks") if kind in names)


def recorded_events(world: Path) -> list[Any]:
    events = [record for path in readable(world) if kind_of(path) == "events" for record in records(path)]
    return [event for event in events if "source" in event]


def all_orders(world: Path) -> list[Any]:
    paths = readable(world)
    landed = [record for path in paths if kind_of(path) == "orders" for record in records(path)]
    return landed + [hook["data"] for path in paths if kind_of(path) == "webhooks" for hook in records(path)]


def test_same_seed_writes_the_same_bytes(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path)
    first = {path.relative_to(world): path.read_bytes() for path in world.rglob("*") if path.is_file()}
    second = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert first == second


def test_another_seed_writes_another_world_with_the_same_statuses(world: Path, tmp_path: Path, answers: Any) -> None:
    write_world(tmp_path, seed=8)
    other = json.loads((tmp_path / "answers.json").read_text())
    assert other["order_reconciliation"] != answers["order_reconciliation"]
    verdicts = [[(row["status"], row["cause"]) for row in each["order_reconciliation"]] for each in (answers, other)]
    assert verdicts[0] == verdicts[1]


def test_scale_multiplies_usage(answers: Any, tmp_path: Path) -> None:
    write_world(tmp_path, scale=3)
    larger = json.loads((tmp_path / "answers.json").read_text())
    before, after = (sum(row["usage_events"] for row in each["usage"]) for each in (answers, larger))
    assert 3000 <= before <= 6000
    assert 2.5 * before < after < 3 * before


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_resources_load_with_the_types_of_polar(world: Path, kind: str) -> None:
    found = [record for path in readable(world) if kind_of(path) == kind for record in records(path)]
    assert found
    for record in found:
        deserialize(record, MODELS[kind])


def test_recorded_events_load_with_the_types_of_polar(world: Path) -> None:
    events = recorded_events(world)
    assert {event["source"] for event in events} == {"user", "system"}
    for event in events:
        loaded: Any = deserialize(event, outputs.Event)
        assert type(loaded) is outputs.UserEvent or event["source"] == "system"


def test_webhooks_carry_orders_of_polar(world: Path) -> None:
    hooks = [record for path in readable(world) if kind_of(path) == "webhooks" for record in records(path)]
    assert hooks
    for hook in hooks:
        assert {"type", "timestamp", "data"} <= set(hook)
        deserialize(hook["data"], outputs.Order)


def test_every_kind_of_system_event_the_stories_need_is_there(world: Path) -> None:
    names = {event["name"] for event in recorded_events(world) if event["source"] == "system"}
    subscription = {"created", "cycled", "canceled", "revoked", "paused", "resumed", "past_due", "reactivated"}
    assert {f"subscription.{name}" for name in subscription | {"updated", "product_updated"}} <= names
    assert {"order.paid", "order.refunded", "order.voided", "meter.credited", "meter.reset"} <= names
    assert {"balance.order", "balance.credit_order", "balance.refund", "balance.refund_reversal"} <= names


def tax_behaviors(world: Path) -> dict[str, set[str]]:
    """Tax behaviors by organization."""
    behaviors: dict[str, set[str]] = defaultdict(set)
    for path in readable(world):
        for product in records(path) if kind_of(path) == "products" else ():
            behaviors[product["organization_id"]] |= {price["tax_behavior"] for price in product["prices"]}
    return behaviors


def test_money_identities_hold_on_every_order(world: Path) -> None:
    behaviors = tax_behaviors(world)
    for order in all_orders(world):
        is_inclusive = behaviors[order["customer"]["organization_id"]] == {"inclusive"}
        base = order["subtotal_amount"] - order["discount_amount"]
        assert order["subtotal_amount"] == sum(item["amount"] for item in order["items"])
        assert order["total_amount"] == order["net_amount"] + order["tax_amount"]
        assert order["net_amount"] == base - (order["tax_amount"] if is_inclusive else 0)
        assert order["due_amount"] == max(0, order["total_amount"] + order["applied_balance_amount"])
        assert 0 <= order["refunded_amount"] <= max(0, order["net_amount"] + order["applied_balance_amount"])


def test_order_events_repeat_the_money_of_the_order(world: Path, answers: Any) -> None:
    orders = {row["order_id"]: row for row in answers["orders"]}
    paid: set[str] = set()
    for event in recorded_events(world):
        metadata = event["metadata"]
        if event["name"] == "order.paid":
            order = orders[metadata["order_id"]]
            paid.add(order["order_id"])
            assert metadata["amount"] == order["total_amount"] == order["net_amount"] + order["tax_amount"]
            assert event["timestamp"] == order["paid_at"] > order["created_at"]
        elif event["name"] in ("balance.order", "balance.credit_order"):
            order = orders[metadata["order_id"]]
            assert event["timestamp"] == order["created_at"]
            assert metadata.get("net_amount", metadata["amount"]) == order["net_amount"]
            assert metadata["fee"] == order["platform_fee_amount"]
    assert paid == {row["order_id"] for row in answers["orders"] if row["is_paid"]}


def test_metered_lines_are_units_times_price(world: Path, answers: Any) -> None:
    labels = [item["label"] for order in all_orders(world) for item in order["items"]]
    metered = [label for label in labels if "consumed units" in label]
    assert any("Capped at $5.00" in label for label in metered)
    assert any(",0" in label or "," in label.split("consumed")[0] for label in metered)
    assert any("x $0.00002000000001" in label for label in metered)
    assert any("x ¥0.015" in label for label in metered)


def test_landing_answers_count_every_record(world: Path, answers: Any) -> None:
    landing = answers["landing"]
    by_path = {row["path"]: row for row in landing["files"]}
    assert set(by_path) == {str(path.relative_to(world)) for path in data_files(world)}
    for path in readable(world):
        row = by_path[str(path.relative_to(world))]
        assert row["records"] == len(list(records(path)))
    for row in (*by_path.values(), landing["totals"]):
        assert row["records"] == row["landed"] + row["duplicate"] + row["conflict"] + row["quarantined"]
    for name in ("records", "landed", "duplicate", "conflict", "quarantined", "blank"):
        assert landing["totals"][name] == sum(row[name] for row in by_path.values())
        assert landing["totals"][name] > 0


def test_duplicates_and_conflicts_are_what_their_keys_say(world: Path, answers: Any) -> None:
    """Counted again from the files alone: by id for recorded events and by external id for submitted ones."""
    first: dict[tuple[str, str, str], str] = {}
    verdicts: dict[str, int] = defaultdict(int)
    for path in readable(world):
        if kind_of(path) != "events":
            continue
        for event in records(path):
            shape = "id" if "source" in event else "external_id"
            if event.get(shape) is None:
                continue
            key = (event["organization_id"], shape, event[shape])
            body = json.dumps([event["name"], event["timestamp"], event["metadata"]], sort_keys=True)
            verdicts["landed" if key not in first else "duplicate" if first[key] == body else "conflict"] += 1
            first.setdefault(key, body)
    rows = [row for row in answers["landing"]["files"] if "/events" in row["path"]]
    assert verdicts["duplicate"] == sum(row["duplicate"] for row in rows)
    assert verdicts["conflict"] == sum(row["conflict"] for row in rows)


def test_meter_usage_adds_up_to_the_metered_amount_of_its_order(answers: Any) -> None:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for row in answers["meter_usage"]:
        sums[row["subscription_id"], row["period_start_at"]] += row["expected_amount"]
    compared = [row for row in answers["order_reconciliation"] if "expected_metered_amount" in row]
    assert sum(row["expected_metered_amount"] > 0 for row in compared) > 50
    for row in compared:
        if row["period_start_at"]:
            assert row["expected_metered_amount"] == sums[row["subscription_id"], row["period_start_at"]]
        else:
            assert row["expected_metered_amount"] == 0


def test_reconciliation_covers_every_status_and_its_arithmetic_holds(answers: Any) -> None:
    rows = answers["order_reconciliation"]
    assert {row["status"] for row in rows} == STATUSES
    assert {row["cause"] for row in rows} == CAUSES
    assert {row["comparison"] for row in rows} == {"lines", "order_total"}
    assert len({row["key"] for row in rows}) == len(rows)
    for row in rows:
        assert (row["variance_amount"] is None) == (row["status"] == "not_comparable")
        if row["status"] == "not_comparable":
            continue
        billed = row.get("billed_subtotal_amount", 0) - row.get("proration_amount", 0)
        expected = row["expected_subtotal_amount"]
        assert expected == row["expected_static_amount"] + row["expected_metered_amount"]
        assert row["variance_amount"] == billed - expected


def test_planted_discrepancies_are_the_only_ones(answers: Any) -> None:
    odd = [row for row in answers["order_reconciliation"] if row["status"] not in ("matched", "not_comparable")]
    found: dict[tuple[str, str], int] = defaultdict(int)
    for row in odd:
        found[row["status"], row["cause"]] += 1
    assert found == {
        ("within_tolerance", "rounding"): 1,
        ("within_tolerance", "cutoff_timing"): 2,
        ("underbilled", "unexplained"): 2,
        ("overbilled", "unexplained"): 2,
        ("unbilled", "missing_order"): 2,
        ("unbilled", "unpaid_order"): 1,
        ("pending", "missing_order"): 1,
        ("pending", "unpaid_order"): 1,
        ("unexpected", "unexplained"): 1,
    }


def test_every_paid_order_has_one_reconciliation_row(answers: Any) -> None:
    paid = {row["order_id"] for row in answers["orders"] if row["is_paid"]}
    reconciled = [row["order_id"] for row in answers["order_reconciliation"] if row["order_id"] in paid]
    assert sorted(reconciled) == sorted(paid)


def test_billing_outcomes_cover_what_can_become_of_an_event(answers: Any) -> None:
    outcomes = {row["outcome"] for row in answers["billing_outcomes"]}
    assert outcomes == {
        "no_meter",
        "non_numeric",
        "before_meter",
        "unknown_customer",
        "no_subscription",
        "no_price",
        "trial",
        "stranded",
        "billed",
        "awaiting_order",
        "open",
    }


def test_usage_totals_agree_in_every_cut(answers: Any) -> None:
    events = sum(row["usage_events"] for row in answers["usage"])
    for section in ("customer_months", "usage_daily"):
        assert sum(row["event_count"] for row in answers[section]) == events
    tokens = [sum(row["llm_total_tokens"] for row in answers[name]) for name in ("customer_months", "usage_daily")]
    assert tokens[0] == tokens[1] > 0
    outcomes = sum(row["count"] for row in answers["billing_outcomes"])
    assert outcomes >= events


def test_canaries_are_where_personal_data_is(world: Path) -> None:
    text = b"".join(content(path) for path in data_files(world))
    for canary in (b"canary-email", b"canary-name", b"canary-address", b"canary-prompt", b"canary-response"):
        assert canary in text
    assert b"canary" not in (world / "answers.json").read_bytes()


def test_nothing_crosses_organizations(answers: Any) -> None:
    by_external: dict[str, set[str]] = defaultdict(set)
    for row in answers["customer_months"]:
        by_external[row["external_customer_id"]].add(row["organization_id"])
    assert len(by_external["customer-01"]) == 2
    ids = [row["organization_id"] for row in answers["identities"]]
    assert len(set(ids)) == 3
