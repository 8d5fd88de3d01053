"""Filter and aggregation cases: which events a meter takes, and what they add up to."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.conformance.scenario import Scenario, Warehouse, answers, awaits, indexes
from tests.conformance.world import EVERYTHING, START, Json, Organization, instant, with_months

FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "count": len,
    "sum": sum,
    "max": max,
    "min": min,
    "avg": lambda units: sum(units) / len(units),
}


def land_events(organization: Organization, events: list[Json]) -> list[str]:
    """Land a case's events, a minute apart where they are not dated, and return their ids."""
    ids = []
    for number, event in enumerate(events):
        at = instant(event["timestamp"]) if "timestamp" in event else START + timedelta(minutes=number)
        metadata = event.get("metadata", {})
        if event.get("source", "user") == "user":
            ids.append(organization.event(number, event["name"], metadata, at))
        else:
            ids.append(organization.system_event(event["name"], at, metadata=metadata))
    return ids


def nested(path: str, value: Any) -> Json:
    """Return the metadata in which a property's path leads to the value."""
    for key in reversed(re.sub(r"^metadata\.", "", path).split(".")):
        value = {key: value}
    metadata: Json = value
    return metadata


class Matching(Scenario):
    """Which events pass a filter. Of system events only credits and resets are billed, so they have no outcome."""

    area = "filter"
    required = frozenset(("filter", "events"))
    compares = frozenset(("python", "sql"))

    def land(self) -> None:
        self.organization.customer()
        self.meter_id = self.organization.meter({"func": "count"}, meter_filter=self.input["filter"])
        self.event_ids = land_events(self.organization, self.input["events"])
        events = enumerate(self.input["events"])
        self.usage = {number for number, event in events if event.get("source", "user") == "user"}

    def check_which_events_enter_billing(self, warehouse: Warehouse) -> None:
        outcomes = warehouse.outcomes(self.organization, self.meter_id)
        assert set(indexes(self.event_ids, outcomes)) == self.usage & set(self.expected["python"])

    def check_the_others_pass_no_meter(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select e.event_id from billing_outcomes as o join usage_events as e using (usage_event_key) "
            "where o.organization_id = ? and o.meter_id is null and o.outcome = 'no_meter'",
            self.organization.id,
        )
        unmatched = set(indexes(self.event_ids, (row["event_id"] for row in rows)))
        assert unmatched == self.usage - set(self.expected["python"])

    @awaits("meter_matching_differences")
    def check_how_many_events_sql_judges_differently(self, warehouse: Warehouse) -> None:
        row = warehouse.row(
            "select sql_only_count, python_only_count from meter_matching_differences "
            "where organization_id = ? and meter_id = ?",
            self.organization.id,
            self.meter_id,
        )
        sql, python = (self.usage & set(self.expected[evaluator]) for evaluator in ("sql", "python"))
        assert row == {
            "sql_only_count": len(sql - python),
            "python_only_count": len(python - sql),
        }


class ClauseValues(Scenario):
    """Which values a clause may have. Polar refuses the others with the meter, so that only valid ones can land."""

    area = "filter"
    required = frozenset(("clause_values",))
    compares = frozenset(("valid",))

    def land(self) -> None:
        values, valid = self.input["clause_values"], self.expected["valid"]
        self.values = [value for value, is_valid in zip(values, valid, strict=True) if is_valid]
        self.organization.customer()
        self.meter_ids, self.event_ids = [], []
        for number, value in enumerate(self.values):
            clause = {"property": "v", "operator": "eq", "value": value}
            meter_filter = {"conjunction": "and", "clauses": [clause]}
            self.meter_ids.append(
                self.organization.meter({"func": "count"}, name=str(number), meter_filter=meter_filter)
            )
            at = START + timedelta(minutes=number)
            self.event_ids.append(self.organization.event(number, "usage", {"v": value}, at))

    def check_a_valid_value_equals_itself(self, warehouse: Warehouse) -> None:
        for meter_id, event_id in zip(self.meter_ids, self.event_ids, strict=True):
            assert event_id in warehouse.outcomes(self.organization, meter_id)


class Quantity(Scenario):
    """One meter over some events, sold to one customer for a year: the year's quantity."""

    area = "aggregation"
    required = frozenset(("aggregation", "events"))
    optional = frozenset(("filter",))
    compares = frozenset(("quantity", "countable_events"))

    def land(self) -> None:
        meter_filter = self.input.get("filter", EVERYTHING)
        self.meter_id = self.organization.meter(self.input["aggregation"], meter_filter=meter_filter)
        dated = [instant(event["timestamp"]) for event in self.input["events"] if "timestamp" in event]
        started_at = min([*dated, START]) - timedelta(hours=1)
        self.organization.sell([self.organization.metered_price(self.meter_id)], started_at=started_at)
        self.event_ids = land_events(self.organization, self.input["events"])

    def check_the_quantity_of_the_period(self, warehouse: Warehouse) -> None:
        assert quantities(warehouse, self.organization, self.meter_id)[0] == self.expected["quantity"]

    @answers("countable_events")
    def check_which_events_count(self, warehouse: Warehouse) -> None:
        outcomes = warehouse.outcomes(self.organization, self.meter_id)
        countable = [event_id for event_id, outcome in outcomes.items() if outcome != "non_numeric"]
        assert indexes(self.event_ids, countable) == self.expected["countable_events"]


class QuantityOfNothing(Scenario):
    """Every function over the same events, each as a meter of its own."""

    area = "aggregation"
    required = frozenset(("aggregations", "events"))
    compares = frozenset(("quantity",))

    def land(self) -> None:
        self.meter_ids = []
        for function in self.input["aggregations"]:
            aggregation = {"func": function} if function == "count" else {"func": function, "property": "units"}
            self.meter_ids.append(self.organization.meter(aggregation, name=function))
        prices = [self.organization.metered_price(meter_id, meter_id) for meter_id in self.meter_ids]
        self.organization.sell(prices, started_at=START - timedelta(hours=1))
        land_events(self.organization, self.input["events"])

    def check_the_quantity_of_the_period(self, warehouse: Warehouse) -> None:
        for meter_id in self.meter_ids:
            assert quantities(warehouse, self.organization, meter_id)[0] == self.expected["quantity"]


class Series(Scenario):
    """A series and its total: one customer's periods are the buckets, another's period holds them all."""

    area = "aggregation"
    required = frozenset(("aggregation", "interval", "timezone", "days"))
    compares = frozenset(("quantities", "total"))

    def land(self) -> None:
        aggregation = self.input["aggregation"]
        self.meter_id = self.organization.meter(aggregation)
        monday = datetime(2025, 6, 2, tzinfo=ZoneInfo(self.input["timezone"]))
        self.buckets = [
            bucket_start(monday, self.input["interval"], number) for number in range(len(self.input["days"]))
        ]
        price = self.organization.metered_price(self.meter_id)
        periods = {"bucketed": self.input["interval"], "whole": "year"}
        for customer, interval in periods.items():
            self.organization.sell([price], customer=customer, started_at=monday, interval=interval)
            for number, values in enumerate(self.input["days"]):
                for place, value in enumerate(values):
                    at = self.buckets[number] + timedelta(hours=place + 1)
                    metadata = nested(aggregation.get("property", "units"), value)
                    holder = {"customer_id": self.organization.uuid("customer", customer)}
                    self.organization.event((customer, number, place), "usage", metadata, at, **holder)

    def check_the_quantity_of_each_bucket(self, warehouse: Warehouse) -> None:
        found = quantities(warehouse, self.organization, self.meter_id, customer="bucketed")
        assert found[: len(self.buckets)] == self.expected["quantities"]

    def check_the_total(self, warehouse: Warehouse) -> None:
        total = quantities(warehouse, self.organization, self.meter_id, customer="whole")[0]
        assert total == self.expected["total"]


class SecondFunction(Scenario):
    """A meter per customer and a second function across customers, as a question to meter_usage."""

    area = "aggregation"
    required = frozenset(("aggregation", "customer_aggregation", "events"))
    optional = frozenset(("filter",))
    compares = frozenset(("quantity",))

    def land(self) -> None:
        meter_filter = self.input.get("filter", EVERYTHING)
        self.meter_id = self.organization.meter(self.input["aggregation"], meter_filter=meter_filter)
        price = self.organization.metered_price(self.meter_id)
        events = self.input["events"]
        self.customers = list(dict.fromkeys(event["customer"] for event in events))
        for customer in self.customers:
            self.organization.sell([price], customer=customer)
        for number, event in enumerate(events):
            metadata = {name: value for name, value in event.items() if name != "customer"}
            holder = {"customer_id": self.organization.uuid("customer", event["customer"])}
            self.organization.event(number, "usage", metadata, START + timedelta(minutes=number), **holder)

    def check_the_quantity_across_customers(self, warehouse: Warehouse) -> None:
        found = [quantities(warehouse, self.organization, self.meter_id, name)[0] for name in self.customers]
        function = self.input["customer_aggregation"]
        assert (len(set(found)) if function == "unique" else FUNCTIONS[function](found)) == self.expected["quantity"]


def bucket_start(first: datetime, interval: str, number: int) -> datetime:
    months = {"month": 1, "year": 12}
    if interval in months:
        return with_months(first, months[interval] * number)
    return first + {"day": timedelta(days=1), "week": timedelta(weeks=1)}[interval] * number


def quantities(warehouse: Warehouse, organization: Organization, meter_id: str, customer: str = "C") -> list[float]:
    """Return a customer's consumed units on a meter, period by period."""
    rows = warehouse.rows(
        "select u.consumed_units from meter_usage as u join customers as c using (customer_key) "
        "where u.organization_id = ? and u.meter_id = ? and c.customer_id = ? order by u.period_start_at",
        organization.id,
        meter_id,
        organization.uuid("customer", customer),
    )
    assert rows, f"no usage row of {customer} on the meter"
    return [row["consumed_units"] for row in rows]
