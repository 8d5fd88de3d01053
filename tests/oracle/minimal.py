"""The smallest landings in which models and oracle once disagreed: one organization for each."""

from datetime import datetime
from typing import Any

from tests.oracle.generator import Landing
from tests.oracle.records import Json

NEW_YEAR = "2024-01-01T00:00:00Z"
AS_OF = datetime(2024, 4, 15)


class Case:
    """One organization with one customer and one meter; every id starts with its name."""

    def __init__(self, landing: Landing, name: str, function: str = "count", path: str | None = None) -> None:
        self._landing, self.name = landing, name
        self._add("customers", "customer", {"external_id": None, "email": "customer@example.com", "deleted_at": None})
        self.meter("meter", function, path)

    def _add(self, kind: str, record_id: str, fields: Json) -> None:
        common: Json = {
            "id": self.id(record_id),
            "organization_id": self.name,
            "created_at": NEW_YEAR,
            "modified_at": None,
        }
        if kind == "customers":
            common |= {"type": "individual", "email_verified": True}
        self._landing.records[kind].append({**common, **fields})

    def id(self, name: str) -> str:
        return f"{self.name}-{name}"

    def meter(self, meter_id: str, function: str, path: str | None) -> None:
        aggregation = {"func": function} | ({"property": path} if path else {})
        taken = {"conjunction": "and", "clauses": [{"property": "name", "operator": "eq", "value": "call"}]}
        shape = {"name": "Meter", "filter": taken, "aggregation": aggregation, "archived_at": None}
        self._add("meters", meter_id, shape)

    def price(self, price_id: str, amount: int) -> Json:
        return {
            "id": self.id(price_id),
            "created_at": NEW_YEAR,
            "modified_at": None,
            "source": "catalog",
            "price_currency": "usd",
            "is_archived": False,
            "amount_type": "metered_unit",
            "unit_amount": str(amount),
            "cap_amount": None,
            "meter_id": self.id("meter"),
        }

    def product(self, product_id: str, price: Json, modified_at: str | None = None) -> None:
        kind = {"name": "Plan", "is_recurring": True, "is_archived": False}
        cycle = {"recurring_interval": "month", "recurring_interval_count": 1}
        self._add("products", product_id, {**kind, **cycle, "prices": [price], "modified_at": modified_at})

    def subscription(
        self, product_id: str, price: Json | None = None, modified_at: str = NEW_YEAR, started_at: str = NEW_YEAR
    ) -> None:
        nothing = ("current_period_start", "current_period_end", "trial_start", "trial_end", "canceled_at", "ended_at")
        shape = {
            **dict.fromkeys(nothing),
            "modified_at": modified_at,
            "started_at": started_at,
            "status": "active",
            "amount": 0,
            "currency": "usd",
            "recurring_interval": "month",
            "recurring_interval_count": 1,
            "cancel_at_period_end": False,
            "customer_id": self.id("customer"),
            "product_id": self.id(product_id),
        }
        self._add("subscriptions", "subscription", shape | ({"prices": [price]} if price else {}))

    def event(self, name: str, at: str, metadata: Json, source: str = "system") -> None:
        shape: dict[str, Any] = {"source": source, "name": name, "timestamp": at, "metadata": metadata}
        shape |= {"customer": None, "customer_id": self.id("customer"), "external_customer_id": None}
        self._add("events", f"event-{len(self._landing.records['events']):03}", shape)

    def call(self, at: str, **metadata: Any) -> None:
        self.event("call", at, metadata, source="user")

    def meter_event(self, name: str, at: str, meter_id: str = "meter", **metadata: Any) -> None:
        self.event(name, at, {"meter_id": self.id(meter_id), **metadata})

    def created(self, product_id: str) -> None:
        told = {"product_id": self.id(product_id), "amount": 0, "currency": "usd", "started_at": NEW_YEAR}
        told |= {"recurring_interval": "month", "recurring_interval_count": 1}
        self.event("subscription.created", NEW_YEAR, {"subscription_id": self.id("subscription"), **told})

    def changed(self, at: str, old: str, new: str) -> None:
        told = {"old_product_id": self.id(old), "new_product_id": self.id(new)}
        self.event("subscription.product_updated", at, {"subscription_id": self.id("subscription"), **told})


def all_landings() -> Landing:
    landing = Landing(AS_OF)
    for add in (
        _edge,
        _unique,
        _objects,
        _delisted,
        _again,
        _repriced,
        _credits,
        _inexact,
        _reset,
        _reset_of_another_plan,
        _below_zero,
    ):
        add(landing)
    return landing


def _edge(landing: Landing) -> None:
    case = Case(landing, "worth_of_an_edge_below_zero", "sum", "units")
    case.product("plan", case.price("price", 100))
    case.subscription("plan")
    case.call("2024-01-31T23:50:00Z", units=-3)
    case.call("2024-02-10T00:00:00Z", units=5)


def _unique(landing: Landing) -> None:
    case = Case(landing, "unique_without_its_property", "unique", "user")
    case.product("plan", case.price("price", 100))
    case.subscription("plan")
    case.call("2024-01-10T00:00:00Z", user="a")
    case.call("2024-01-11T00:00:00Z")


def _two_plans(landing: Landing, name: str, function: str = "count", path: str | None = None) -> Case:
    case = Case(landing, name, function, path)
    case.product("basic", case.price("basic-price", 100))
    case.product("large", case.price("large-price", 200))
    return case


def _objects(landing: Landing) -> None:
    case = _two_plans(landing, "plan_change_told_by_objects_beside_events")
    case.created("basic")
    case.subscription("basic", case.price("basic-price", 100))
    case.subscription("large", case.price("large-price", 200), modified_at="2024-02-10T00:00:00Z")
    case.call("2024-03-20T00:00:00Z")


def _delisted(landing: Landing) -> None:
    case = Case(landing, "price_of_a_product_never_modified_before")
    case.product("plan", case.price("a-first-price", 100))
    case.product("plan", case.price("later-price", 200), modified_at="2024-02-01T00:00:00Z")
    case.subscription("plan", started_at="2024-03-01T00:00:00Z", modified_at="2024-03-01T00:00:00Z")
    case.call("2024-03-10T00:00:00Z")


def _again(landing: Landing) -> None:
    case = _two_plans(landing, "plan_taken_again_in_one_period")
    case.subscription("basic")
    case.changed("2024-01-10T00:00:00Z", "basic", "large")
    case.changed("2024-01-12T00:00:00Z", "large", "basic")
    case.call("2024-01-05T00:00:00Z")


def _repriced(landing: Landing) -> None:
    case = Case(landing, "plan_taken_again_at_another_price")
    first, later = case.price("first-price", 100), case.price("later-price", 200)
    case.product("basic", first, modified_at=NEW_YEAR)
    case.product("basic", later, modified_at="2024-02-15T00:00:00Z")
    case.product("large", case.price("large-price", 300))
    case.subscription("basic", first)
    case.subscription("basic", later, modified_at="2024-03-01T00:00:00Z")
    case.changed("2024-02-01T00:00:00Z", "basic", "large")
    case.changed("2024-03-01T00:00:00Z", "large", "basic")
    case.call("2024-01-05T00:00:00Z")


def _credits(landing: Landing) -> None:
    case = _two_plans(landing, "credits_of_a_period_with_a_plan_change", "max", "units")
    case.subscription("basic")
    case.meter_event("meter.credited", "2024-01-10T00:00:00Z", units=5, rollover=False)
    case.call("2024-01-11T00:00:00Z", units=7)
    case.changed("2024-01-20T00:00:00Z", "basic", "large")


def _inexact(landing: Landing) -> None:
    case = Case(landing, "inexact_beside_a_long_number", "sum", "_cost.amount")
    case.product("plan", case.price("price", 100))
    case.subscription("plan")
    for day in (10, 11, 12):
        cost = {"amount": "0.1", "currency": "usd"}
        case.call(f"2024-01-{day}T00:00:00Z", _cost=cost, other=12345678901234567890)


def _reset(landing: Landing) -> None:
    case = Case(landing, "reset_of_a_meter_that_is_not_carried")
    case.meter("other-meter", "sum", "units")
    case.product("plan", case.price("price", 100))
    case.subscription("plan")
    case.meter_event("meter.reset", "2024-01-15T00:00:00Z", "other-meter")
    case.call("2024-01-10T00:00:00Z")
    case.call("2024-01-20T00:00:00Z")


def _reset_of_another_plan(landing: Landing) -> None:
    case = Case(landing, "reset_of_a_meter_of_another_plan")
    case.meter("other-meter", "sum", "units")
    case.product("basic", case.price("price", 100))
    case.product("large", {**case.price("other-price", 200), "meter_id": case.id("other-meter")})
    case.subscription("basic")
    case.changed("2024-03-01T00:00:00Z", "basic", "large")
    case.meter_event("meter.reset", "2024-01-15T00:00:00Z", "other-meter")
    case.call("2024-01-10T00:00:00Z")
    case.call("2024-01-20T00:00:00Z")


def _below_zero(landing: Landing) -> None:
    case = Case(landing, "consumption_below_zero_on_tiers", "sum", "units")
    price = case.price("price", 100)
    del price["unit_amount"]
    tiers = [{"bound": 10, "unit_amount": "100"}, {"bound": None, "unit_amount": "50"}]
    case.product("plan", {**price, "amount_type": "metered_tiers", "tiers": {"type": "graduated", "tiers": tiers}})
    case.subscription("plan")
    case.call("2024-01-10T00:00:00Z", units=-1)
