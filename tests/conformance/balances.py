"""Credits cases: a customer's balance on a meter since its last reset, and what rolls over at one."""

from datetime import datetime, timedelta
from typing import Any

from tests.conformance.scenario import Scenario, Warehouse, awaits
from tests.conformance.world import START, Json, iso, stored

RESET_SECOND = 1000


def second(number: float) -> datetime:
    """Return the instant of a second on the cases' clock."""
    return START + timedelta(seconds=number)


def running_sum(grants: list[int]) -> int:
    """Return what is left of grants and revocations, step by step never below zero."""
    total = 0
    for units in grants:
        total = max(0, total + units)
    return total


class Ledger(Scenario):
    """Shared: a customer known by both ids, and the windows of the ledger."""

    def window(self, warehouse: Warehouse, window_end_at: datetime | None) -> dict[str, Any]:
        end = None if window_end_at is None else stored(window_end_at)
        return warehouse.row(
            "select consumed_units, credited_units, balance_units, window_start_at from credit_ledger "
            "where organization_id = ? and meter_id = ? and window_end_at is not distinct from ?",
            self.organization.id,
            self.meter_id,
            end,
        )

    def grant(self, name: str, at: datetime, metadata: Json, **fields: Any) -> None:
        named = {"meter_id": self.organization.uuid("meter", metadata["meter_id"])}
        self.organization.system_event(name, at, metadata={**metadata, **named}, **fields)

    meter_id: str


class Balance(Ledger):
    """The last, open window after a history of usage, credits and resets."""

    area = "credits"
    required = frozenset(("meter", "events"))
    compares = frozenset(("consumed_units", "credited_units", "balance"))

    def land(self) -> None:
        meter = self.input["meter"]
        self.meter_id = self.organization.meter(meter["aggregation"], name=meter["id"], meter_filter=meter["filter"])
        price = self.organization.metered_price(self.meter_id)
        self.organization.sell([price], external_id="ext-C", started_at=START - timedelta(hours=1))
        for number, event in enumerate(self.input["events"]):
            at, received = second(event["t"]), {"ingested_at": iso(second(event.get("ingested", event["t"])))}
            if event["source"] == "system":
                self.grant(event["name"], at, event["metadata"], **received)
                continue
            holder = {"customer_id": self.organization.uuid("customer", "C")}
            if "external_customer_id" in event:
                holder = {"external_customer_id": event["external_customer_id"]}
            self.organization.event(number, event["name"], event["metadata"], at, **received, **holder)

    @awaits("credit_ledger")
    def check_the_open_window(self, warehouse: Warehouse) -> None:
        window = self.window(warehouse, None)
        assert window["consumed_units"] == self.expected["consumed_units"]
        assert window["credited_units"] == self.expected["credited_units"]
        assert window["balance_units"] == self.expected["balance"]

    def check_the_billing_period_since_the_reset(self, warehouse: Warehouse) -> None:
        row = warehouse.rows(
            "select consumed_units, credited_units from meter_usage where organization_id = ? and meter_id = ? "
            "and period_start_at <= ? order by period_start_at desc",
            self.organization.id,
            self.meter_id,
            stored(second(RESET_SECOND)),
        )[0]
        assert row["consumed_units"] == self.expected["consumed_units"]
        assert row["credited_units"] == self.expected["credited_units"]


class Rollover(Ledger):
    """A reset: Polar derives what rolls over from the window that closes, and writes it as a credit of the next one."""

    area = "credits"
    required = frozenset(("credits", "usage"))
    optional = frozenset(("cutoff",))
    compares = frozenset(("rollover_units",))

    def land(self) -> None:
        self.organization.customer()
        self.meter_id = self.organization.meter({"func": "sum", "property": "units"})
        self.reset_at = second(self.input.get("cutoff", RESET_SECOND))
        for number, grant in enumerate(self.input["credits"]):
            metadata = {"meter_id": "m1", "units": grant["units"], "rollover": grant["rollover"]}
            self.grant("meter.credited", second(grant.get("t", number + 1)), metadata)
        usage = self.input["usage"]
        for number, used in enumerate(usage if isinstance(usage, list) else [{"units": usage}]):
            self.organization.usage(number, used["units"], second(used.get("t", RESET_SECOND // 2 + number)))
        self.grant("meter.reset", self.reset_at, {"meter_id": "m1"})
        if self.expected["rollover_units"]:
            metadata = {"meter_id": "m1", "units": self.expected["rollover_units"], "rollover": True}
            self.grant("meter.credited", self.reset_at, metadata)

    @awaits("credit_ledger")
    def check_what_rolls_over_follows_from_the_closed_window(self, warehouse: Warehouse) -> None:
        carried = running_sum([grant["units"] for grant in self.input["credits"] if grant["rollover"]])
        balance = self.window(warehouse, self.reset_at)["balance_units"]
        assert min(max(int(balance), 0), carried) == self.expected["rollover_units"]

    @awaits("credit_ledger")
    def check_it_is_credited_in_the_next_window(self, warehouse: Warehouse) -> None:
        assert self.window(warehouse, None)["credited_units"] == self.expected["rollover_units"]
