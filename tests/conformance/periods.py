"""Attribution cases about time: which period, which order."""

from calendar import monthrange
from datetime import datetime, timedelta

from tests.conformance.scenario import BILLABLE, Scenario, Warehouse, awaits, indexes
from tests.conformance.world import Json, instant, iso, stored, with_months

STATIC_AMOUNT = 1000
PRORATED_AMOUNT = 300
TICK = timedelta(microseconds=1)


class Cutoff(Scenario):
    """What a renewal takes. An entry is created by a job right after its event was ingested."""

    area = "attribution"
    required = frozenset(("cutoff", "pending_entries"))
    compares = frozenset(("in_order",))

    def land(self) -> None:
        self.cutoff = instant(self.input["cutoff"])
        self.entries = dict(enumerate(self.input["pending_entries"]))
        self.meter_id = self.organization.meter({"func": "sum", "property": "units"})
        prices = [self.organization.metered_price(self.meter_id), self.organization.fixed_price(STATIC_AMOUNT)]
        started_at = with_months(self.cutoff, -1)
        sale = self.organization.sell(prices, started_at=started_at, interval="month")
        self.links = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}
        self.event_ids = {}
        for number in self.of_type("metered"):
            # Units that are powers of two: a sum tells which events are in it.
            ingested = instant(self.entries[number]["created"]) - TICK
            at = instant(self.entries[number]["start"])
            self.event_ids[number] = self.organization.usage(number, 2**number, at, ingested_at=iso(ingested))
        taken = self.expected["in_order"]
        metered = {"amount": sum(2**number for number in self.of_type("metered") if number in taken)}
        items = [{**metered, "product_price_id": sale.price_ids[0]}]
        items += [{"amount": STATIC_AMOUNT, "product_price_id": sale.price_ids[1]}] * self.count_taken("cycle")
        items += [{"amount": PRORATED_AMOUNT, "proration": True}] * self.count_taken("proration")
        reason = {"billing_reason": "subscription_cycle"}
        self.order_id = self.organization.order("renewal", self.cutoff, items, **self.links, **reason)

    def of_type(self, kind: str) -> list[int]:
        return [number for number, entry in self.entries.items() if entry["type"] == kind]

    def count_taken(self, kind: str) -> int:
        return sum(number in self.expected["in_order"] for number in self.of_type(kind))

    def check_which_usage_the_order_bills(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select e.event_id from billing_outcomes as b join orders as o using (order_key) "
            "join usage_events as e using (usage_event_key) where o.order_id = ? and b.outcome = 'billed'",
            self.order_id,
        )
        billed = {row["event_id"] for row in rows}
        found = [number for number, event_id in self.event_ids.items() if event_id in billed]
        assert found == [number for number in self.expected["in_order"] if number in self.event_ids]

    def check_usage_static_price_and_prorations_add_up(self, warehouse: Warehouse) -> None:
        row = warehouse.row("select * from order_reconciliation where order_id = ?", self.order_id)
        assert row["expected_static_amount"] == STATIC_AMOUNT * self.count_taken("cycle")
        assert row["proration_amount"] == PRORATED_AMOUNT * self.count_taken("proration")
        assert (row["status"], row["variance_amount"]) == ("matched", 0)


class Backdated(Scenario):
    """An event between renewals: the order that bills it."""

    area = "attribution"
    required = frozenset(("event", "cutoffs"))
    compares = frozenset(("order_index",))

    def land(self) -> None:
        cutoffs = [instant(cutoff) for cutoff in self.input["cutoffs"]]
        self.meter_id = self.organization.meter({"func": "count"})
        at = instant(self.input["event"]["timestamp"])
        started_at = with_months(cutoffs[0], -1)
        while started_at > at:
            started_at = with_months(started_at, -1)
        price = self.organization.metered_price(self.meter_id)
        sale = self.organization.sell([price], started_at=started_at, interval="month")
        ingested = {"ingested_at": iso(instant(self.input["event"].get("ingested", self.input["event"]["timestamp"])))}
        self.organization.usage("late", 1, at, **ingested)
        links = {"subscription_id": sale.subscription_id, "product_id": sale.product_id}
        self.order_ids = []
        for number, cutoff in enumerate(cutoffs):
            item = {"amount": int(number == self.expected["order_index"]), "product_price_id": price["id"]}
            reason = {"billing_reason": "subscription_cycle"}
            self.order_ids.append(self.organization.order(str(number), cutoff, [item], **links, **reason))

    def check_which_order_bills_it(self, warehouse: Warehouse) -> None:
        row = warehouse.row(
            "select o.order_id from billing_outcomes as b left join orders as o using (order_key) "
            "where b.organization_id = ?",
            self.organization.id,
        )
        index = self.expected["order_index"]
        assert row["order_id"] == (None if index is None else self.order_ids[index])

    def check_every_order_matches(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select order_id, status from order_reconciliation where organization_id = ? and order_id is not null",
            self.organization.id,
        )
        assert {row["order_id"]: row["status"] for row in rows} == dict.fromkeys(self.order_ids, "matched")


class Trial(Scenario):
    """Usage around the end of a trial. What is not dated occurred an hour before it was ingested."""

    area = "attribution"
    required = frozenset(("trial_end", "events"))
    compares = frozenset(("billed",))

    def land(self) -> None:
        trial_end = instant(self.input["trial_end"])
        started_at = trial_end - timedelta(days=14)
        self.meter_id = self.organization.meter({"func": "count"})
        trial: Json = {"trial_start": iso(started_at), "trial_end": iso(trial_end)}
        price = self.organization.metered_price(self.meter_id)
        self.organization.sell([price], started_at=started_at, interval="month", **trial)
        self.event_ids = []
        for number, event in enumerate(self.input["events"]):
            ingested = instant(event["ingested"])
            at = instant(event["timestamp"]) if "timestamp" in event else ingested - timedelta(hours=1)
            self.event_ids.append(self.organization.usage(number, 1, at, ingested_at=iso(ingested)))

    def check_which_usage_is_billed(self, warehouse: Warehouse) -> None:
        outcomes = warehouse.outcomes(self.organization, self.meter_id)
        billed = [event_id for event_id, outcome in outcomes.items() if outcome in BILLABLE]
        assert indexes(self.event_ids, billed) == self.expected["billed"]
        assert set(outcomes.values()) <= {*BILLABLE, "trial"}


class PeriodEnds(Scenario):
    """A subscription's periods from its start, or from a start of one of its later periods."""

    area = "attribution"
    required = frozenset(("start", "interval", "interval_count", "anchor_day"))
    compares = frozenset(("period_ends",))

    def land(self) -> None:
        self.starts_at = instant(self.input["start"])
        interval, count = self.input["interval"], self.input["interval_count"]
        customer_id = self.organization.customer()
        cycle = {"recurring_interval": interval, "recurring_interval_count": count}
        prices = [self.organization.fixed_price(STATIC_AMOUNT)]
        product_id = self.organization.product("plan", prices, interval=interval, recurring_interval_count=count)
        started_at = {"started_at": iso(self.anchored_start(interval, count))}
        self.organization.subscription("S", customer_id, product_id, prices, **cycle, **started_at)

    def anchored_start(self, interval: str, count: int) -> datetime:
        """Return the earlier period start that stands on the anchor day, where this one was cut to its month."""
        anchor, months = self.input["anchor_day"], {"month": count, "year": 12 * count}.get(interval)
        start = self.starts_at
        while months and start.day != anchor:
            first = with_months(start.replace(day=1), -months)
            start = first.replace(day=min(anchor, monthrange(first.year, first.month)[1]))
        return start

    def check_the_ends(self, warehouse: Warehouse) -> None:
        rows = warehouse.rows(
            "select period_end_at from billing_periods where organization_id = ? and period_type = 'subscription' "
            "and period_start_at >= ? order by period_start_at",
            self.organization.id,
            stored(self.starts_at),
        )
        expected = [stored(instant(end)) for end in self.expected["period_ends"]]
        assert [row["period_end_at"] for row in rows][: len(expected)] == expected


class ResetTimes(Scenario):
    """Resets written when a job ran: the ledger's windows follow their timestamps, not when they were received."""

    area = "attribution"
    required = frozenset(("period_end", "runs_at"))
    compares = frozenset(("reset_timestamps",))

    def land(self) -> None:
        self.meter_ids = []
        self.organization.customer()
        resets = zip(self.input["runs_at"], self.expected["reset_timestamps"], strict=True)
        for number, (ran_at, stamped_at) in enumerate(resets):
            self.meter_ids.append(self.organization.meter({"func": "count"}, name=str(number)))
            metadata, received = {"meter_id": self.meter_ids[-1]}, {"ingested_at": iso(instant(ran_at))}
            self.organization.system_event("meter.reset", instant(stamped_at), metadata=metadata, **received)

    @awaits("credit_ledger")
    def check_where_the_open_window_starts(self, warehouse: Warehouse) -> None:
        for meter_id, stamped_at in zip(self.meter_ids, self.expected["reset_timestamps"], strict=True):
            row = warehouse.row(
                "select window_start_at from credit_ledger where organization_id = ? and meter_id = ? "
                "and window_end_at is null",
                self.organization.id,
                meter_id,
            )
            assert row["window_start_at"] == stored(instant(stamped_at))
