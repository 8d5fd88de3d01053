"""The simulated world: byte-identical, loadable with Polar's own types, and in agreement with its own answers."""

import gzip
import json
import typing
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from polar.base import deserialize
from polar.v2026_10 import outputs

from loaders.cli import main
from loaders.simulate import write_world
from loaders.simulate.instants import at, boundary, iso
from loaders.simulate.rating import Tiers, rate, rate_tiers, round_half_even, running_credits

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
    "missing_subscription",
    "late_usage",
    "revoked",
    "missing_price",
    "currency_mismatch",
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


def system_event_types() -> dict[str, Any]:
    """Polar's types by event name: trying the whole union on every event would take a minute."""
    kinds = typing.get_args(outputs.SystemEvent)
    return {typing.get_args(typing.get_type_hints(kind)["name"])[0]: kind for kind in kinds}


def test_recorded_events_load_with_the_types_of_polar(world: Path) -> None:
    events = recorded_events(world)
    types = system_event_types()
    assert {event["source"] for event in events} == {"user", "system"}
    for event in events:
        deserialize(event, outputs.UserEvent if event["source"] == "user" else types[event["name"]])


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
            assert event["timestamp"] == order["paid_at"] >= order["created_at"]
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
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    # A year's first meter period starts when the year does.
    names = ("subscription_id", "period_start_at", "period_end_at")
    for row in answers["meter_usage"]:
        # A volume beyond its last tier has no amount; such an order is not compared.
        sums[tuple(row[name] for name in names)] += row["expected_amount"] or 0
    compared = [row for row in answers["order_reconciliation"] if "expected_metered_amount" in row]
    assert sum(row["expected_metered_amount"] > 0 for row in compared) > 50
    for row in compared:
        if row["period_start_at"]:
            assert row["expected_metered_amount"] == sums[tuple(row[name] for name in names)]
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
        ("overbilled", "late_usage"): 1,
        ("underbilled", "late_usage"): 1,
        ("unbilled", "missing_order"): 4,
        ("unbilled", "revoked"): 1,
        ("unbilled", "unpaid_order"): 1,
        ("pending", "missing_order"): 1,
        ("pending", "unpaid_order"): 1,
        ("unexpected", "unexplained"): 2,
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


def test_files_hold_the_usage_that_the_answers_count(world: Path, answers: Any) -> None:
    """Counted again from the files: distinct recorded events, or submissions where nothing is recorded."""
    seen: dict[str, set[str]] = defaultdict(set)
    submitted: dict[str, int] = defaultdict(int)
    for path in readable(world):
        for event in records(path) if kind_of(path) == "events" else ():
            if "source" not in event:
                submitted[event["organization_id"]] += 1
            elif event["source"] == "user":
                seen[event["organization_id"]].add(event["id"])
    counts = {row["organization_id"]: row["usage_events"] for row in answers["usage"]}
    a, b, c, d = (row["organization_id"] for row in answers["identities"])
    assert [len(seen[each]) for each in (a, c, d)] == [counts[each] for each in (a, c, d)]
    # One submission of B was logged twice; two good ones stand in the file of broken lines.
    assert submitted[b] - 1 + 2 == counts[b]


def test_metered_amount_can_be_worked_out_from_the_files(world: Path, answers: Any) -> None:
    """Requests of B's first customer, 5 February 09:00 to 5 March 09:00, at 3 cents each."""
    start, end = "2026-02-05T09:00:00Z", "2026-03-05T09:00:00Z"
    events = [event for path in readable(world) if kind_of(path) == "events" for event in records(path)]
    mine = [event for event in events if event.get("external_customer_id") == "client-1"]
    count = sum(event["name"] == "api.request" and start <= event["timestamp"] < end for event in mine)
    row = next(row for row in rows_of(answers, "meter_usage", "client-1", "b") if row["period_start_at"] == start)
    assert (row["event_count"], row["consumed_units"], row["expected_amount"]) == (count, count, 3 * count)


def test_nothing_crosses_organizations(answers: Any) -> None:
    by_external: dict[str, set[str]] = defaultdict(set)
    for row in answers["customer_months"]:
        by_external[row["external_customer_id"]].add(row["organization_id"])
    assert len(by_external["customer-01"]) == 2
    ids = [row["organization_id"] for row in answers["identities"]]
    assert len(set(ids)) == 4


def rows_of(answers: Any, section: str, customer: str, organization: str = "a") -> list[Any]:
    ids = {row["key"]: row["organization_id"] for row in answers["identities"]}
    rows = [row for row in answers[section] if row["external_customer_id"] == customer]
    return [row for row in rows if row["organization_id"] == ids[organization]]


@pytest.mark.parametrize(
    ("unit_amount", "cap", "quantity", "amount"),
    [
        pytest.param("100", None, "2.675", 267, id="the double lies below the half"),
        pytest.param("100", None, "1.995", 200, id="the double lies above the half"),
        pytest.param("2.5", None, "1", 3, id="half away from zero"),
        pytest.param("0.000000000001", None, "1000000000000", 1, id="tiny price"),
        pytest.param("33.5", None, "2.5", 84, id="fractional quantity"),
        pytest.param("10", 0, "5", 0, id="a cap of zero makes usage free"),
        pytest.param("100", None, "-5", 0, id="credits above usage are not paid back"),
    ],
)
def test_rate_rounds_once_at_the_doubles_binary_value(
    unit_amount: str, cap: int | None, quantity: str, amount: int
) -> None:
    assert rate(unit_amount, cap, Decimal(quantity)) == amount


VOLUME = Tiers("volume", ((10, "20"), (30, "14.95")))
GRADUATED = Tiers("graduated", ((10, "3"), (20, "2.25")))


@pytest.mark.parametrize(
    ("tiers", "cap", "quantity", "amount"),
    [
        pytest.param(VOLUME, None, "10", 200, id="a bound belongs to its tier"),
        pytest.param(VOLUME, None, "30", 449, id="448.5, half away from zero"),
        pytest.param(VOLUME, None, "30.5", None, id="no tier reaches that far"),
        pytest.param(VOLUME, 300, "30", 300, id="the cap comes last"),
        pytest.param(GRADUATED, None, "11.5", 33, id="33.375: rounded once, for all tiers together"),
        pytest.param(GRADUATED, None, "25", 53, id="52.5: only what the tiers cover"),
        pytest.param(GRADUATED, None, "-2", 0, id="credits above usage"),
    ],
)
def test_tiers_rate_by_volume_or_band_by_band(tiers: Tiers, cap: int | None, quantity: str, amount: int | None) -> None:
    assert rate_tiers(tiers, cap, Decimal(quantity)) == amount


def test_running_credits_never_fall_below_zero_on_the_way() -> None:
    assert running_credits([20000, -50000, 3000]) == 3000
    assert running_credits([-50, 100]) == 100


def test_prorations_round_half_to_even() -> None:
    assert [round_half_even(Decimal(base) / 2) for base in (5, 15, 25)] == [2, 8, 12]


def test_periods_from_31_january_end_with_the_month() -> None:
    ends = [iso(boundary(at("2026-01-31T09:00"), "month", count))[:10] for count in (1, 2, 3)]
    assert ends == ["2026-02-28", "2026-03-31", "2026-04-30"]


def test_below_minimum_order_becomes_debt_of_the_next(answers: Any) -> None:
    """16 requests at 1.25 are 20 cents, below the minimum of 50; the next order of 100 collects them."""
    small, later = rows_of(answers, "orders", "customer-13")
    assert (small["total_amount"], small["applied_balance_amount"], small["paid_amount"]) == (20, 0, 0)
    assert (later["total_amount"], later["applied_balance_amount"], later["paid_amount"]) == (100, 20, 120)


def test_credits_of_march_floor_at_zero(answers: Any) -> None:
    """20,000 granted on 9 March, 50,000 revoked on the 18th, 3,000 granted on the 25th."""
    rows = rows_of(answers, "meter_usage", "customer-11")
    march = next(row for row in rows if row["period_start_at"] == "2026-03-09T10:00:00Z")
    assert march["credited_units"] == 3000
    assert march["billable_units"] == march["consumed_units"] - 3000


def test_paused_period_waits_for_the_order_of_the_resume(answers: Any) -> None:
    paused = next(row for row in rows_of(answers, "meter_usage", "customer-07") if row["closing"] == "pause")
    order = next(row for row in answers["orders"] if row["order_id"] == paused["order_id"])
    assert paused["period_end_at"] == "2026-02-25T09:00:00Z"
    assert order["created_at"] == "2026-03-20T11:00:07Z"


def test_two_partial_refunds_add_up_and_a_reversed_one_does_not_count(answers: Any) -> None:
    refunded = {row["created_at"][:7]: row["refunded_amount"] for row in rows_of(answers, "orders", "customer-15")}
    assert refunded == {"2026-01": 1100, "2026-02": 2900, "2026-03": 0, "2026-04": 0}


def test_plan_change_of_team_to_scale_is_prorated_by_seconds(answers: Any) -> None:
    """20 February 16:00 to 10 March 08:00 is 17 days 16 hours of 28 days: 424 of 672 hours.

    4900 x 424/672 = 3091.67, so -3092; 19900 x 424/672 = 12555.95, so 12556: together 9464.
    """
    rows = rows_of(answers, "order_reconciliation", "customer-05")
    assert [row["proration_amount"] for row in rows if row["proration_amount"]] == [9464]


def test_late_usage_stands_in_two_orders(answers: Any) -> None:
    """12 calls at 5 cents occurred in February's period and came in March's; both orders went by occurrence."""
    rows = rows_of(answers, "order_reconciliation", "account-06", "d")
    late = {row["period_start_at"][:7]: row["variance_amount"] for row in rows if row["cause"] == "late_usage"}
    assert late == {"2026-02": 60, "2026-03": -60}


def test_revocation_with_a_meter_cycle_settles_what_is_pending(answers: Any) -> None:
    """4 calls at 2.5 cents; one of the two orders never came. Without a meter cycle nothing would be expected."""
    missing, settled = (
        rows_of(answers, "order_reconciliation", f"account-{number}", "d")[-1] for number in ("07", "08")
    )
    assert (missing["status"], missing["cause"], missing["variance_amount"]) == ("unbilled", "revoked", -10)
    assert (settled["status"], settled["billed_subtotal_amount"]) == ("matched", 10)
    stranded = rows_of(answers, "order_reconciliation", "customer-09")
    assert [row for row in stranded if row["status"] != "matched"] == []


def test_yearly_renewal_has_no_usage_and_meter_orders_no_static_amount(answers: Any) -> None:
    rows = rows_of(answers, "order_reconciliation", "account-19", "d")
    renewal = next(
        row for row in rows if row["period_end_at"] == "2026-02-12T09:00:00Z" and row["expected_static_amount"]
    )
    assert (renewal["expected_static_amount"], renewal["expected_metered_amount"]) == (60000, 0)
    monthly = [row for row in rows if row["period_start_at"] and row is not renewal]
    assert {(row["expected_static_amount"], row["expected_metered_amount"]) for row in monthly} == {(0, 8)}
    assert len(monthly) == 14


def test_seats_are_prorated_by_seconds_and_cut(answers: Any) -> None:
    """3 x 900 to 5 x 800 from 20 February 20:00 to 12 March 08:00: 1300 x 468/672 hours = 905.36."""
    rows = rows_of(answers, "order_reconciliation", "account-11", "d")
    assert [row["proration_amount"] for row in rows if row["proration_amount"]] == [905]


def test_volume_beyond_its_last_tier_has_no_amount(answers: Any) -> None:
    rows = rows_of(answers, "meter_usage", "account-04", "d")
    amounts = {(row["consumed_units"], row["expected_amount"]) for row in rows if row["event_count"]}
    assert amounts == {(30, 449), (25, 53), (31, None), (9, 27)}


def test_what_rolls_over_is_there_in_the_next_window(answers: Any) -> None:
    """22 granted and 30 used in March; 10 that lapse and 6 that stay granted in April, 5 used."""
    march = rows_of(answers, "meter_usage", "account-18", "d")[1]
    assert (march["credited_units"], march["billable_units"], march["expected_amount"]) == (22, 8, 32)
    window = next(row for row in rows_of(answers, "credit_ledger", "account-18", "d") if row["granted_units"])
    assert window["window_start_at"] == "2026-04-11T10:00:00Z"
    assert (window["granted_units"], window["consumed_units"], window["balance_units"]) == (16, 5, 11)


def test_shares_of_members_add_up(answers: Any) -> None:
    names = ("subscription_id", "price_id", "period_start_at")
    shares: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    for row in answers["member_allocations"]:
        shares[tuple(row[name] for name in names)].append(row)
    assert sum(len(group) > 1 for group in shares.values()) > 10
    for row in answers["meter_usage"]:
        group = shares.get(tuple(row[name] for name in names), [])
        if group and all("expected_amount" in share for share in group) and row["expected_amount"] is not None:
            assert sum(share["expected_amount"] for share in group) == row["expected_amount"]


def test_lines_of_orders_add_up(answers: Any) -> None:
    sums: dict[str, int] = defaultdict(int)
    for line in answers["order_lines"]:
        sums[line["order_id"]] += line["amount"]
    assert sums == {row["order_id"]: row["subtotal_amount"] for row in answers["orders"] if row["has_lines"]}
    assert {line["line_type"] for line in answers["order_lines"]} == {"metered", "static", "proration"}


def test_line_reconciliation_covers_what_lines_can_be(answers: Any) -> None:
    found = {(row["status"], row["cause"]) for row in answers["meter_reconciliation"]}
    assert {("matched", "none"), ("within_tolerance", "rounding"), ("within_tolerance", "cutoff_timing")} <= found
    assert {("overbilled", "late_usage"), ("underbilled", "late_usage"), ("unbilled", "revoked")} <= found
    causes = {cause for status, cause in found if status == "not_comparable"}
    assert causes == {"missing_price", "currency_mismatch", "incomplete_history"}


def test_events_without_a_receipt_carry_no_export_fields(world: Path) -> None:
    pages = [event for event in recorded_events(world) if "ingested_at" not in event]
    assert pages
    assert all("external_id" not in event for event in pages)


def test_command_writes_a_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "world"
    assert main(["simulate", str(target), "--seed", "3"]) == 0
    assert json.loads((target / "answers.json").read_text())["seed"] == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"Wrote {target / 'data'}; the answers are in {target / 'answers.json'}.\n"


def test_command_refuses_a_folder_that_is_not_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert main(["simulate", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: is not empty. Name a new or an empty folder.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_command_refuses_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.txt"
    target.write_text("keep")
    assert main(["simulate", str(target)]) == 2
    assert capsys.readouterr().err == f"error: {target}: is not a folder. Name a new or an empty one.\n"
