"""Random worlds: many tiny organizations in one landing, each with what makes metering and rating go wrong."""

import json
import random
import re
import uuid
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.oracle.boundaries import boundaries
from tests.oracle.records import Json

# What the generator leaves out because the models are known to disagree with the oracle there: name and reason.
KNOWN_DISAGREEMENTS: dict[str, str] = {
    "consumption_below_zero_on_tiers": (
        "a tiered price of a meter whose consumption is negative has no amount by choice, although billable_units is 0 "
        "there (max(0, consumed - credited)) and no units cost nothing"
    ),
    "reset_of_a_meter_of_another_plan": (
        "a meter.reset on a meter that the customer's subscription carries only under another plan of its own ends its "
        "period: which plan it is on is known only once the periods are"
    ),
}

ORGANIZATIONS = 36
HISTORY_START = datetime(2023, 11, 1)
HISTORY_END = datetime(2024, 6, 20)
EARLY = datetime(2019, 1, 1)
# Month ends, a leap day, a boundary of periods that start on the 1st, and one that leaves records after itself.
AS_OF = [datetime(2024, 6, 30), datetime(2024, 7, 1), datetime(2024, 6, 1), datetime(2024, 5, 31, 12)]
STARTS = [
    datetime(2024, 1, 31),
    datetime(2024, 2, 29),
    datetime(2023, 12, 31, 23, 59, 59, 999999),
    datetime(2024, 3, 31, 12, 30),
    datetime(2023, 11, 30, 0, 0, 1),
    datetime(2024, 3, 1),
    datetime(2024, 1, 1),
    datetime(2020, 2, 29, 6),
    datetime(2024, 1, 30, 8),
]
INTERVALS = [("month", 1)] * 6 + [("month", 2), ("month", 3), ("year", 1), ("week", 1), ("week", 2), ("day", 10)]
FUNCTIONS = ["count", "sum", "sum", "sum", "max", "min", "avg", "unique"]
FUNCTIONS_THAT_ONLY_GROW = ["count", "sum", "sum", "max", "unique"]
NUMBER_PROPERTIES = [
    "units",
    "units",
    "units",
    "metadata.units",
    "score",
    "nested.depth.v",
    "_cost.amount",
    "_llm.total_tokens",
]
UNIQUE_PROPERTIES = ["tier", "score", "flag", "nested.model", "name"]
FILTER_PROPERTIES = ["tier", "units", "score", "flag", "nested.depth.v", "nested.model", "nested", "_llm.model"]
OPERATORS = ["eq", "ne", "gt", "gte", "lt", "lte", "like", "not_like"]
VALUES: list[Any] = ["gold", "silver", "g", "%", "_", "\\", "10", "1", "", 1, 0, 10, -3, 7, True, False, "True", "."]
NAMES = ["call", "call", "call", "api.call", "Call", "order.paid"]


def iso(at: datetime) -> str:
    return f"{at.isoformat()}Z"


def raw_number(text: str) -> str:
    """Mark a number that JSON's writer would write in another way."""
    return f"\x01{text}\x01"


KINDS = ("customers", "meters", "products", "subscriptions", "orders", "events", "submitted")


class Landing:
    """Records by kind, and the instant they are judged at."""

    def __init__(self, as_of: datetime) -> None:
        self.as_of = as_of
        self.records: dict[str, list[Json]] = {kind: [] for kind in KINDS}

    def lines(self) -> dict[str, list[str]]:
        return {kind: [_line(record) for record in records] for kind, records in self.records.items()}

    def write(self, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for kind, lines in self.lines().items():
            paths.append(folder / f"{kind}.jsonl")
            paths[-1].write_text("".join(f"{line}\n" for line in lines))
        return paths


class World(Landing):
    """One landing of many organizations, drawn from a seed."""

    def __init__(self, seed: int, organizations: int = ORGANIZATIONS) -> None:
        self.random = random.Random(seed)
        super().__init__(self.random.choice(AS_OF))
        for _ in range(organizations):
            _Organization(self)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))


def _line(record: Json) -> str:
    return re.sub(r'"\\u0001([^"\\]*)\\u0001"', r"\1", json.dumps(record))


def _is_accepted(key: str, value: Any) -> bool:
    """What Polar takes as metadata of a submission: text, numbers and booleans at the top, and a whole `_cost`."""
    return key == "_cost" or isinstance(value, str | int | float)


class _Organization:
    """Fills the world's lists with the records of one organization."""

    def __init__(self, world: World) -> None:
        self.world, self.random = world, world.random
        self.organization_id = world.uuid()
        self.is_whole_seconds = self.random.random() < 0.3
        # Usage only grows here, and some of it is received just before an instant at which something changes.
        self.only_grows = self.random.random() < 0.5 and "worth_of_an_edge_below_zero" in KNOWN_DISAGREEMENTS
        self.has_edges = self.only_grows or "worth_of_an_edge_below_zero" not in KNOWN_DISAGREEMENTS
        self.has_negatives = not self.only_grows and self.random.random() < 0.5
        self.instants: list[datetime] = []
        self.customers: list[Json] = []
        self.meters: list[Json] = []
        self.products: list[Json] = []
        self._add_customers()
        self._add_meters()
        self._add_products()
        for customer in self.customers:
            self._add_history(customer)
        self._add_strangers()

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def add(self, kind: str, record: Json) -> Json:
        record["organization_id"] = self.organization_id
        self.world.records[kind].append(record)
        return record

    # --- who and what ---

    def _add_customers(self) -> None:
        for number in range(self.random.randint(1, 3)):
            external_id = f"client-{number}" if self.chance(0.8) else None
            created_at = self.moment() if self.chance(0.2) else EARLY
            deleted_at = self.moment() if self.chance(0.15) else None
            if deleted_at is not None and deleted_at <= created_at:
                created_at = EARLY
            self._add_customer(external_id, created_at, deleted_at)
            if deleted_at is not None and external_id is not None and self.chance(0.5):
                self._add_customer(external_id, deleted_at + timedelta(days=self.random.randint(0, 20)), None)

    def _add_customer(self, external_id: str | None, created_at: datetime, deleted_at: datetime | None) -> None:
        self.instants += [at for at in (created_at, deleted_at) if at is not None and at > EARLY]
        customer: Json = {
            "id": self.world.uuid(),
            "created_at": iso(created_at),
            "modified_at": None,
            "metadata": {},
            "external_id": external_id,
            "email": "customer@example.com",
            "email_verified": True,
            "type": "individual",
            "name": None,
            "deleted_at": iso(deleted_at) if deleted_at else None,
        }
        self.customers.append(self.add("customers", customer))

    def _add_meters(self) -> None:
        for number in range(self.random.randint(1, 3)):
            self._add_meter(f"Meter {number}", self.moment() if self.chance(0.1) else EARLY, None)
        if self.chance(0.2):
            self._add_meter("Archived", EARLY, self.moment())

    def _add_meter(self, name: str, created_at: datetime, archived_at: datetime | None) -> None:
        self.instants += [at for at in (created_at, archived_at) if at is not None and at > EARLY]
        function = self.random.choice(FUNCTIONS_THAT_ONLY_GROW if self.only_grows else FUNCTIONS)
        aggregation: Json = {"func": function}
        if function == "unique":
            aggregation["property"] = self.random.choice(UNIQUE_PROPERTIES)
        elif function != "count":
            fields = ["name"] if self.chance(0.3) else ["timestamp"] if self.is_whole_seconds else []
            aggregation["property"] = self.random.choice(NUMBER_PROPERTIES * 2 + fields)
        meter = {
            "id": self.world.uuid(),
            "created_at": iso(created_at),
            "modified_at": None,
            "metadata": {},
            "name": name,
            "unit": "scalar",
            "filter": self._filter(),
            "aggregation": aggregation,
            "archived_at": iso(archived_at) if archived_at else None,
        }
        self.meters.append(self.add("meters", meter))

    def _filter(self, depth: int = 0) -> Json:
        """Half of all meters take a name, as real ones do; the rest take what coercions make of them."""
        if depth == 0 and self.chance(0.6):
            clauses: list[Json] = [{"property": "name", "operator": "like", "value": "call"}]
            if self.chance(0.4):
                clauses.append(self._clause())
            return {"conjunction": "and", "clauses": clauses}
        clauses = [
            self._filter(depth + 1) if depth < 2 and self.chance(0.3) else self._clause()
            for _ in range(self.random.choice([0, 1, 1, 2, 2, 3]))
        ]
        return {"conjunction": self.random.choice(["and", "or", "or"]), "clauses": clauses}

    def _clause(self) -> Json:
        prefix = "metadata." if self.chance(0.2) else ""
        kind = self.random.random()
        if kind < 0.1:
            seconds = int((self.moment() - datetime(1970, 1, 1)).total_seconds())
            operator = self.random.choice(["gt", "gte", "lt", "lte", "ne"])
            return {"property": f"{prefix}timestamp", "operator": operator, "value": seconds}
        if kind < 0.3:
            value = self.random.choice([*NAMES, "cal", "c%", 1])
            operator = self.random.choice(OPERATORS)
            return {
                "property": f"{prefix}{self.random.choice(['name', 'source'])}",
                "operator": operator,
                "value": value,
            }
        if kind < 0.4:
            operator = self.random.choice(["eq", "ne", "gt", "gte", "lt", "lte"])
            return {"property": f"{prefix}_cost.amount", "operator": operator, "value": self.random.choice([0, 1, "1"])}
        path = f"{prefix}{self.random.choice(FILTER_PROPERTIES)}"
        return {"property": path, "operator": self.random.choice(OPERATORS), "value": self.random.choice(VALUES)}

    def _add_products(self) -> None:
        interval = self.random.choice(INTERVALS)
        self.currencies = ["usd", "eur"] if self.chance(0.2) else ["usd"]
        has_meter_cycle = interval[0] == "year" and self.chance(0.7)
        for number in range(2):
            product: Json = {
                "id": self.world.uuid(),
                "created_at": iso(EARLY),
                "modified_at": None,
                "metadata": {},
                "name": f"Plan {number}",
                "description": None,
                "recurring_interval": interval[0],
                "recurring_interval_count": interval[1],
                "meter_interval": "month" if has_meter_cycle else None,
                "meter_interval_count": 1 if has_meter_cycle else None,
                "is_recurring": True,
                "is_archived": False,
            }
            versions = [self._version(product, EARLY)]
            if self.chance(0.25):
                repriced_at = self.moment()
                versions.append({**self._version(product, repriced_at), "modified_at": iso(repriced_at)})
                self.instants.append(repriced_at)
                if "price_of_a_product_never_modified_before" in KNOWN_DISAGREEMENTS:
                    versions[0]["modified_at"] = product["created_at"]
            for version in versions:
                self.add("products", version)
            self.products.append({**product, "versions": versions})

    def _version(self, product: Json, created_at: datetime) -> Json:
        prices = []
        for currency in self.currencies:
            prices.append(self._fixed_price(product, created_at, currency))
            for meter in self.meters:
                if meter["archived_at"] is None and self.chance(0.85):
                    prices.append(self._metered_price(product, meter, created_at, currency))
                    if self.chance(0.1):
                        prices.append(self._metered_price(product, meter, created_at, currency))
        return {**product, "prices": prices}

    def _price(self, product: Json, created_at: datetime, currency: str) -> Json:
        return {
            "id": self.world.uuid(),
            "created_at": iso(created_at),
            "modified_at": None,
            "source": "catalog",
            "price_currency": currency,
            "is_archived": False,
            "product_id": product["id"],
        }

    def _fixed_price(self, product: Json, created_at: datetime, currency: str) -> Json:
        common = self._price(product, created_at, currency)
        return {**common, "amount_type": "fixed", "price_amount": self.random.choice([0, 1000, 4900])}

    def _metered_price(self, product: Json, meter: Json, created_at: datetime, currency: str) -> Json:
        common = self._price(product, created_at, currency)
        cap = self.random.choice([None, None, None, 0, 50, 1000])
        common |= {"cap_amount": cap, "meter_id": meter["id"], "meter": {"id": meter["id"], "name": meter["name"]}}
        can_be_negative = self.has_negatives and meter["aggregation"]["func"] not in ("count", "unique")
        must_be_unit = can_be_negative and "consumption_below_zero_on_tiers" in KNOWN_DISAGREEMENTS
        if must_be_unit or self.chance(0.6):
            return {**common, "amount_type": "metered_unit", "unit_amount": self._rate()}
        bounds = sorted(self.random.sample([1, 2, 3, 5, 10, 50, 100], self.random.randint(1, 3)))
        limits: list[int | None] = [*bounds, None] if self.chance(0.8) else [*bounds]
        tiers = [{"bound": bound, "unit_amount": self._rate()} for bound in limits]
        kind = "graduated" if self.only_grows else self.random.choice(["volume", "graduated"])
        return {**common, "amount_type": "metered_tiers", "tiers": {"type": kind, "tiers": tiers}}

    def _rate(self) -> str:
        return self.random.choice(["100", "0.5", "2.5", "33.5", "10", "0.000000000001", "1.234567890123", "0.1", "7"])

    # --- what happens to a customer ---

    def _add_history(self, customer: Json) -> None:
        created_at = datetime.fromisoformat(customer["created_at"][:-1])
        histories: list[_History] = []
        for number in range(self.random.choice([0, 1, 1, 1, 1, 1, 2, 2, 2])):
            starts = [start for start in STARTS if start >= created_at] or [created_at + timedelta(days=1)]
            start = self.random.choice(starts) if self.chance(0.8) else max(created_at, self.moment())
            # No two subscriptions of a customer start at one instant: which one came first would not be said.
            step = timedelta(seconds=1) if self.is_whole_seconds else timedelta(microseconds=1)
            start += number * step
            while any(history.started_at == start for history in histories):
                start += step
            histories.append(_History(self, customer, start))
        instants = [at for history in histories for at in history.instants]
        self._add_credits(customer, instants, histories)
        members = self._members()
        edges = [end for history in histories for _, end in history.usage_periods]
        for _ in range(self.random.randint(10, 80)):
            self._add_usage(customer, self.instants + instants * 2, members, edges)

    def _add_credits(self, customer: Json, instants: list[datetime], histories: "list[_History]") -> None:
        """A reset is a boundary of the one subscription on its meter; without a subscription it may be anywhere."""
        for meter in self.meters:
            if meter["archived_at"] is not None or not self.chance(0.5):
                continue
            batch = [self.near(instants + self.instants) for _ in range(self.random.randint(1, 5))]
            received = self.near(instants + self.instants) if self.chance(0.3) else None
            for at in sorted(at for at in set(batch) if self._is_known(customer, meter, at, received)):
                if any(history.changes_around(max(at, received or at)) for history in histories):
                    continue
                units = self.random.choice([1, 2, 5, 10, 100, -3, -50])
                told = {"meter_id": meter["id"], "units": units, "rollover": self.chance(0.3)}
                self.add_event(
                    "meter.credited", customer, at, told, ingested_at=max(at, received) if received else None
                )
            users = [history for history in histories if meter["id"] in history.meters]
            resets = [self.moment(), self.moment()] if not users else users[0].renewals if len(users) == 1 else []
            if "reset_of_a_meter_of_another_plan" in KNOWN_DISAGREEMENTS and len(users) < len(histories):
                resets = []
            for at in self.random.sample(resets, min(len(resets), self.random.randint(0, 3))):
                delay = timedelta(minutes=self.random.choice([0, 7, 200]))
                self.add_event("meter.reset", customer, at, {"meter_id": meter["id"]}, ingested_at=at + delay)

    @staticmethod
    def _is_known(customer: Json, meter: Json, at: datetime, received: datetime | None) -> bool:
        """Polar credits customers and meters that exist."""
        last = iso(max(at, received) if received else at)
        first = max(customer["created_at"], meter["created_at"])
        return bool(first <= iso(at) and last < (customer["deleted_at"] or "9"))

    def _members(self) -> list[Json]:
        """A member is always named in the same way: by both ids, or by one of them."""
        members = []
        for number in range(self.random.randint(0, 3)):
            member_id, external_id = self.world.uuid(), f"member-{number}"
            pair = self.random.choice([(member_id, external_id), (member_id, None), (None, external_id)])
            members.append({"member_id": pair[0], "external_member_id": pair[1]})
        return [{"member_id": None, "external_member_id": None}, *members]

    def _add_usage(self, customer: Json, instants: list[datetime], members: list[Json], edges: list[datetime]) -> None:
        occurred_at = self.near(instants)
        received_at = self._received(occurred_at, instants) if self.chance(0.6) else None
        edge = self._edge_after(max(occurred_at, received_at or occurred_at), edges)
        if edge is not None and not self.has_edges:
            occurred_at, received_at = edge, None
        by_external_id = customer["external_id"] is not None and self.chance(0.5)
        event = {
            "id": self.world.uuid(),
            "timestamp": self._written(occurred_at),
            "customer_id": None if by_external_id else customer["id"],
            "customer": None,
            "external_customer_id": customer["external_id"] if by_external_id else None,
            **self.random.choice(members),
            "child_count": 0,
            "parent_id": None,
            "label": "Usage",
            "source": "user",
            "name": self.random.choice(NAMES),
            "metadata": self._metadata(),
        }
        if received_at is not None:
            event |= {"ingested_at": iso(received_at), "external_id": None}
        counts_nested = any("nested" in meter["aggregation"].get("property", "") for meter in self.meters)
        if by_external_id and not counts_nested and self.chance(0.1):
            self._submit(event, is_recorded=self.chance(0.3))
            return
        self.add("events", event)

    def _submit(self, event: Json, is_recorded: bool) -> None:
        """As the merchant sent it: beside the recorded copy, or without one; that counts after the last recorded."""
        external_id = f"sent-{event['id']}"
        sent = {
            key: event[key] for key in ("timestamp", "external_customer_id", "external_member_id", "name", "metadata")
        }
        sent = {key: value for key, value in sent.items() if value is not None}
        sent["metadata"] = {key: value for key, value in sent["metadata"].items() if _is_accepted(key, value)}
        if is_recorded:
            self.add("events", {**event, "external_id": external_id})
        elif self.chance(0.5):
            sent["timestamp"] = iso(HISTORY_END + timedelta(hours=self.random.randint(1, 200)))
        self.add("submitted", {**sent, "external_id": external_id})

    @staticmethod
    def _edge_after(at: datetime, edges: list[datetime]) -> datetime | None:
        """Return the end of a period to which an instant is so close that its usage may be billed in the next one."""
        return next((edge for edge in edges if at < edge <= at + timedelta(minutes=21)), None)

    def _received(self, occurred_at: datetime, instants: list[datetime]) -> datetime:
        """At once, a little or days later, on an instant at which something changes, or before (a wrong clock)."""
        kind = self.random.random()
        if kind < 0.4:
            return occurred_at + timedelta(seconds=self.random.choice([0, 1, 59]))
        if kind < 0.6:
            return occurred_at + timedelta(days=self.random.randint(1, 45))
        if kind < 0.95:
            return max(occurred_at, self.near(instants))
        return occurred_at - timedelta(hours=1)

    def _add_strangers(self) -> None:
        for _ in range(self.random.randint(0, 3)):
            self._add_usage({"id": self.world.uuid(), "external_id": "stranger"}, self.instants, self._members(), [])

    def _written(self, at: datetime) -> str:
        if self.chance(0.1):
            return f"{(at + timedelta(hours=5, minutes=30)).isoformat()}+05:30"
        return iso(at)

    def _metadata(self) -> Json:
        numbers: list[Any] = [1, 2, 3, 7, 10, 0, -3, 100, 0.1, 0.2, 2.675, 1.995, 0.5, 33.333, -0.25, 1.0]
        numbers += [raw_number("1e2"), raw_number("2.50"), raw_number("12345678.123456789012"), raw_number("1E-3")]
        properties = {meter["aggregation"].get("property") for meter in self.meters}
        if not self.has_negatives:
            numbers = [number for number in numbers if isinstance(number, str) or number >= 0]
        if "timestamp" in properties and "inexact_beside_a_long_number" in KNOWN_DISAGREEMENTS:
            numbers = [number for number in numbers if not isinstance(number, str)]
        odd: list[Any] = ["7", "many", True, False, None, [1], {"of": 2}]
        metadata: Json = {}
        if self.chance(0.95):
            metadata["units"] = self.random.choice(numbers) if self.chance(0.9) else self.random.choice(odd)
        if self.chance(0.8):
            metadata["tier"] = self.random.choice(["gold", "silver", "Gold", "100%", "a_b", "c\\d", "1", 1, 1.0, True])
        if self.chance(0.6):
            metadata["score"] = self.random.choice(
                [1, 1.0, 10, 1.5, -3 if self.has_negatives else 0, "1", "10", "gold", True]
            )
        if self.chance(0.5):
            metadata["flag"] = self.random.choice([True, False, True, 1, 0, "True", "t"])
        if self.chance(0.5):
            inner: Json = {"model": self.random.choice(["gold", "m-1", 10])}
            inner["depth"] = {"v": self.random.choice([*numbers, "7", True])} if self.chance(0.8) else "flat"
            metadata["nested"] = inner if self.chance(0.9) else "flat"
        if self.chance(0.4):
            amount = self.random.choice([0.25, "0.25", "1.5", 1, "12", 1.234567890123, "0.000000000001"])
            is_long = any(isinstance(value, str) and "\x01" in value for value in self._leaves(metadata))
            if is_long and "inexact_beside_a_long_number" in KNOWN_DISAGREEMENTS:
                amount = self.random.choice([0.25, 1, 1.5])
            metadata["_cost"] = {"amount": amount, "currency": "usd"}
        if self.chance(0.3):
            tokens = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
            metadata["_llm"] = {"vendor": "v", "model": self.random.choice(["gold", "m-1"]), **tokens}
        if self.chance(0.1):
            metadata["name"] = self.random.choice(["call", "k", 1])
        if "unique_without_its_property" in KNOWN_DISAGREEMENTS:
            self._complete(metadata)
        return metadata

    def _leaves(self, value: Any) -> list[Any]:
        return (
            [leaf for inner in value.values() for leaf in self._leaves(inner)] if isinstance(value, dict) else [value]
        )

    def _complete(self, metadata: Json) -> None:
        """Give the event what unique meters count."""
        for meter in self.meters:
            if meter["aggregation"]["func"] == "unique":
                head, _, tail = meter["aggregation"]["property"].partition(".")
                if not tail:
                    metadata.setdefault(head, self.random.choice(["gold", "k", 1, True]))
                elif not isinstance(metadata.get(head), dict):
                    metadata[head] = {tail: self.random.choice(["gold", "m-1", 10])}

    # --- instants ---

    def moment(self) -> datetime:
        seconds = int((HISTORY_END - HISTORY_START).total_seconds())
        at = HISTORY_START + timedelta(seconds=self.random.randrange(seconds))
        return at if self.is_whole_seconds else at + timedelta(microseconds=self.random.randrange(1_000_000))

    def near(self, instants: list[datetime]) -> datetime:
        """Half the time an instant at which something changes, or one just beside it; else any."""
        near = [at for at in instants if HISTORY_START <= at <= HISTORY_END]
        if not near or self.chance(0.5):
            return self.moment()
        steps: list[float] = [0, 0, 1, -1, 60, -60] if self.is_whole_seconds else [0, 0, 1e-6, -1e-6, 1, -1]
        if not self.has_edges:
            steps = [abs(step) for step in steps]
        at = self.random.choice(near) + timedelta(seconds=self.random.choice(steps))
        # Up, so as not to fall before the instant again.
        return at.replace(microsecond=0) + timedelta(seconds=1) if self.is_whole_seconds and at.microsecond else at

    def add_event(
        self, name: str, customer: Json, at: datetime, metadata: Json, ingested_at: datetime | None = None
    ) -> None:
        event = {
            "id": self.world.uuid(),
            "timestamp": iso(at),
            "customer_id": customer["id"],
            "customer": None,
            "external_customer_id": None,
            "member_id": None,
            "external_member_id": None,
            "child_count": 0,
            "parent_id": None,
            "label": name,
            "source": "system",
            "name": name,
            "metadata": metadata,
        }
        if ingested_at is not None:
            event["ingested_at"] = iso(ingested_at)
        self.add("events", event)


class _History:
    """One subscription from its start to now, told by objects, by events, or by both."""

    def __init__(self, organization: _Organization, customer: Json, started_at: datetime) -> None:
        self.organization, self.customer, self.random = organization, customer, organization.random
        self.world = organization.world
        self.subscription_id = self.world.uuid()
        self.started_at = started_at
        self.product = self.random.choice(organization.products)
        self.interval = (self.product["recurring_interval"], self.product["recurring_interval_count"])
        self.meter_interval = self.product["meter_interval"]
        self.is_told_by_object = self.random.random() < 0.8
        self.currency = self.random.choice(organization.currencies)
        self.ended_at: datetime | None = None
        self.trial_ends_at: datetime | None = None
        self.paused_at: datetime | None = None
        self.resumed_at: datetime | None = None
        self.reinstated_at: datetime | None = None
        self.revoked_at: datetime | None = None
        self.is_end_told_by_event = self.random.random() < 0.7
        self.changes: list[tuple[datetime, Json]] = []
        # A change for the next period, by the boundary at which it takes effect: when it was asked for.
        self.requests: dict[datetime, datetime] = {}
        self.is_told_by_events = not self.is_told_by_object or self.random.random() < 0.75
        self._plan()
        self.periods = self._periods(self.interval)
        self.usage_periods = self._periods((self.meter_interval, 1)) if self.meter_interval else self.periods
        self._write()
        self.instants = self._instants()
        ends = {end for _, end in self.usage_periods} - {self.ended_at, self.paused_at}
        self.renewals = sorted(end for end in ends if HISTORY_START <= end <= HISTORY_END)
        products = [self.product, *(product for _, product in self.changes)]
        versions = [version for product in products for version in product["versions"]]
        self.meters = {p["meter_id"] for version in versions for p in version["prices"] if "meter_id" in p}

    def _instants(self) -> list[datetime]:
        """When something changes for its usage."""
        changes = [at for at, _ in self.changes] + [
            at for at in (self.revoked_at, self.reinstated_at) if at is not None
        ]
        return sorted({*changes, *(at for period in self.usage_periods for at in period)})

    def _later(self, low: int = 1, high: int = 90) -> datetime:
        start = max(self.started_at, HISTORY_START)
        step = timedelta(days=self.random.randint(low, high), seconds=self.random.randrange(86400))
        return min(start + step, HISTORY_END)

    def _plan(self) -> None:
        """Decide on a trial, changes of plan, a pause, an end; never two that Polar does not say how to join."""
        if self.is_told_by_object and not self.meter_interval and self.random.random() < 0.3:
            self.trial_ends_at = self.started_at + timedelta(days=self.random.choice([7, 14, 30, 31]))
        kind = self.random.random()
        after_trial = self.trial_ends_at or self.started_at
        if kind < 0.35 and not self.meter_interval:
            self._plan_changes()
        elif kind < 0.45 and not self.meter_interval:
            paused_at = self._later(20, 100)
            if paused_at > after_trial:
                self.paused_at = paused_at
                if self.random.random() < 0.7:
                    self.resumed_at = paused_at + timedelta(days=self.random.randint(1, 40))
                if self.resumed_at and self.resumed_at > HISTORY_END:
                    self.resumed_at = None
        elif kind < 0.5 and not self.meter_interval:
            self.revoked_at = max(self._later(), after_trial + timedelta(hours=1))
            self.reinstated_at = self.revoked_at + timedelta(hours=self.random.choice([1, 50, 900]))
            if self.reinstated_at > HISTORY_END:
                self.revoked_at = self.reinstated_at = None
            self.is_told_by_events = True
        elif kind < 0.6:
            ended_at = self._later()
            self.ended_at = ended_at if ended_at > self.started_at else None
        elif kind < 0.75:
            ends = [end for _, end in self._periods(self.interval) if end <= HISTORY_END]
            self.ended_at = self.random.choice(ends) if ends else None

    def _plan_changes(self) -> None:
        """To the other plan, and sometimes back; sometimes exactly at a boundary."""
        carried, at = self.product, max(self.started_at, self.trial_ends_at or self.started_at)
        can_return = (
            len(self.product["versions"]) == 1 or "plan_taken_again_at_another_price" not in KNOWN_DISAGREEMENTS
        )
        for _ in range(self.random.choice([1, 1, 1, 2]) if can_return else 1):
            ends = [end for _, end in self._periods(self.interval) if at < end <= HISTORY_END]
            at = max(at + timedelta(hours=1), self._later(1, 120))
            if ends and self.random.random() < 0.2:
                at = ends[0]
            if self.changes and "plan_taken_again_in_one_period" in KNOWN_DISAGREEMENTS:
                changed = self.changes[-1][0]
                at = max(at, next(end for _, end in self._periods(self.interval) if changed < end))
            asked_at = at
            if self.is_told_by_events and self.random.random() < 0.25:
                at = next(end for _, end in self._periods(self.interval) if at < end)
            if at >= HISTORY_END or any(at <= earlier for earlier, _ in self.changes):
                break
            if asked_at < at:
                self.requests[at] = asked_at
            carried = next(product for product in self.organization.products if product is not carried)
            self.changes.append((at, carried))

    def changes_around(self, at: datetime) -> bool:
        """Whether the period of an instant has a change of plan that disagreements keep apart from credits."""
        if "credits_of_a_period_with_a_plan_change" not in KNOWN_DISAGREEMENTS:
            return False
        return any(
            start <= at < end and start < changed < end
            for start, end in self.usage_periods
            for changed, _ in self.changes
        )

    def _periods(self, interval: tuple[str, int]) -> list[tuple[datetime, datetime]]:
        """What was and what will be, to a while after the last record."""
        limit = HISTORY_END + timedelta(days=800)
        starts = [(self.started_at, self.paused_at or self.ended_at)]
        if self.resumed_at:
            starts.append((self.resumed_at, self.ended_at))
        periods = []
        for start, stop in starts:
            ends = [start]
            if self.trial_ends_at and start == self.started_at:
                ends.append(self.trial_ends_at)
            for end in boundaries(ends[-1], interval):
                ends.append(end)
                if end > limit or (stop and end >= stop):
                    break
            for period in pairwise(ends):
                if not stop or period[0] < stop:
                    periods.append((period[0], min(period[1], stop) if stop else period[1]))
        return periods

    # --- how it is told ---

    def _write(self) -> None:
        if self.is_told_by_object:
            self._write_objects()
        if not self.is_told_by_object or (self.is_told_by_events and self.random.random() < 0.5):
            self._event("subscription.created", self.started_at, self._told(self.product) | self._start())
        self._write_events()
        self._write_orders()

    def _start(self) -> Json:
        return {"started_at": iso(self.started_at)}

    def _told(self, product: Json) -> Json:
        return {
            "subscription_id": self.subscription_id,
            "product_id": product["id"],
            "amount": 0,
            "currency": self.currency,
            "recurring_interval": self.interval[0],
            "recurring_interval_count": self.interval[1],
        }

    def _event(self, name: str, at: datetime, metadata: Json) -> None:
        self.organization.add_event(name, self.customer, at, metadata)

    def _write_events(self) -> None:
        are_known = "plan_change_told_by_objects_beside_events" in KNOWN_DISAGREEMENTS or self.random.random() < 0.7
        if not self.is_told_by_object or (self.is_told_by_events and (are_known or self.requests)):
            carried = self.product
            for at, product in self.changes:
                asked_at = self.requests.get(at, at)
                told = {"subscription_id": self.subscription_id}
                if asked_at < at:
                    postponed = {"product_id": product["id"], "proration_behavior": "next_period"}
                    self._event("subscription.updated", asked_at, told | postponed)
                told |= {"old_product_id": carried["id"], "new_product_id": product["id"]}
                self._event("subscription.product_updated", asked_at, told)
                carried = product
        carried = self.changes[-1][1] if self.changes else self.product
        if self.paused_at:
            told = self._told(carried) | {"paused_at": iso(self.paused_at)}
            self._event("subscription.paused", self.paused_at, told)
        if self.resumed_at:
            self._event("subscription.resumed", self.resumed_at, self._told(carried))
            if self.is_told_by_events:
                self._event("subscription.cycled", self.resumed_at, self._told(carried))
        if self.revoked_at and self.reinstated_at:
            self._event(
                "subscription.canceled", self.revoked_at, self._told(carried) | {"canceled_at": iso(self.revoked_at)}
            )
            self._event("subscription.revoked", self.revoked_at, self._told(carried))
            self._event("subscription.reinstated", self.reinstated_at, self._told(carried))
        if self.random.random() < 0.15 and not (self.ended_at or self.paused_at or self.revoked_at):
            late_at = self._later()
            self._event("subscription.past_due", late_at, self._told(carried) | {"past_due_at": iso(late_at)})
            self._event(
                "subscription.reactivated",
                min(late_at + timedelta(days=self.random.choice([3, 45])), HISTORY_END),
                self._told(carried),
            )
        if self.ended_at and (not self.is_told_by_object or self.is_end_told_by_event):
            told = self._told(carried) | {"canceled_at": iso(self.ended_at), "ends_at": iso(self.ended_at)}
            self._event("subscription.canceled", self.ended_at, told)
            self._event("subscription.revoked", self.ended_at, self._told(carried))
        for _, end in self.periods:
            is_renewal = end not in (self.ended_at, self.paused_at) and end <= HISTORY_END
            is_heard = self.is_told_by_events and self.random.random() < 0.6
            if is_renewal and (is_heard or end in self.requests):
                # The job that renews runs a little late; the boundary stays where it was.
                cycled_at = end + timedelta(minutes=self.random.choice([0, 1, 7, 180]))
                at_renewal = [product for at, product in self.changes if at <= end]
                self._event(
                    "subscription.cycled", cycled_at, self._told(at_renewal[-1] if at_renewal else self.product)
                )

    def _write_objects(self) -> None:
        """A version at the start, one at each change, one at the end; each may be missing, but not all."""
        versions = [(self.started_at, self.product, False), *((at, product, False) for at, product in self.changes)]
        carried = versions[-1][1]
        last = max(
            at
            for at in (self.ended_at, self.paused_at, self.resumed_at, self.reinstated_at, versions[-1][0])
            if at is not None
        )
        is_stale = self.ended_at is not None and self.is_end_told_by_event and self.random.random() < 0.3
        if last > versions[-1][0] and not is_stale:
            versions.append((last, carried, True))
        kept = [version for version in versions[:-1] if self.random.random() < 0.7]
        for at, product, _ in [*kept, versions[-1]]:
            self._write_object(at, product, is_last=at == last)

    def _write_object(self, at: datetime, product: Json, is_last: bool) -> None:
        period = next((p for p in self.periods if p[0] <= at < p[1]), None) or self.periods[-1]
        usage_period = next((p for p in self.usage_periods if p[0] <= at < p[1]), None) or self.usage_periods[-1]
        is_ended = is_last and self.ended_at is not None
        is_paused = is_last and self.paused_at is not None and self.resumed_at is None
        is_period_said = self.random.random() < 0.8
        record = {
            "id": self.subscription_id,
            "created_at": iso(self.started_at),
            "modified_at": iso(at),
            "metadata": {},
            "amount": 0,
            "currency": self.currency,
            "recurring_interval": self.interval[0],
            "recurring_interval_count": self.interval[1],
            "status": "canceled" if is_ended else "paused" if is_paused else "active",
            "current_period_start": iso(period[0]) if is_period_said else None,
            "current_period_end": iso(period[1]) if is_period_said else None,
            "current_meter_period_start": iso(usage_period[0]) if self.meter_interval else None,
            "current_meter_period_end": iso(usage_period[1]) if self.meter_interval else None,
            "trial_start": iso(self.started_at) if self.trial_ends_at else None,
            "trial_end": iso(self.trial_ends_at) if self.trial_ends_at else None,
            "cancel_at_period_end": False,
            "canceled_at": iso(self.ended_at) if is_ended and self.ended_at else None,
            "started_at": iso(self.started_at),
            "ends_at": iso(self.ended_at) if is_ended and self.ended_at else None,
            "ended_at": iso(self.ended_at) if is_ended and self.ended_at else None,
            "past_due_at": None,
            "pause_at_period_end": False,
            "paused_at": iso(self.paused_at) if is_paused and self.paused_at else None,
            "resumes_at": None,
            "customer_id": self.customer["id"],
            "product_id": product["id"],
            "discount_id": None,
            "checkout_id": None,
            "seats": None,
            "units": None,
        }
        taken_at = max([self.started_at, *(changed for changed, taken in self.changes if changed <= at)])
        if self.random.random() < 0.8:
            record["prices"] = self._prices(product, taken_at)
        self.organization.add("subscriptions", record)

    def _prices(self, product: Json, taken_at: datetime) -> list[Json]:
        """The prices that the product had when the subscription took it; a newer one does not touch it."""
        versions = [v for v in product["versions"] if not v["modified_at"] or v["modified_at"] <= iso(taken_at)]
        return [price for price in versions[-1]["prices"] if price["price_currency"] == self.currency]

    def _write_orders(self) -> None:
        """Some periods are paid, some have an order that is not, some have none."""
        for _, end in self.usage_periods:
            if end > HISTORY_END or self.random.random() < 0.4:
                continue
            if end == self.ended_at and not self._is_natural_end(end):
                continue
            at = self.resumed_at if end == self.paused_at else end
            if at is None:
                continue
            reason = "subscription_meter_cycle" if self.meter_interval else "subscription_cycle"
            self._write_order(at + timedelta(minutes=self.random.choice([0, 3, 45])), reason)

    def _is_natural_end(self, end: datetime) -> bool:
        stopped, self.ended_at = self.ended_at, None
        is_natural = any(end == boundary for _, boundary in self._periods(self.interval))
        self.ended_at = stopped
        return is_natural

    def _write_order(self, created_at: datetime, reason: str) -> None:
        is_paid = self.random.random() < 0.8
        order_id, amount = self.world.uuid(), self.random.randint(0, 5000)
        amounts = {"subtotal_amount": amount, "net_amount": amount, "total_amount": amount, "due_amount": amount}
        zero = ("discount_amount", "tax_amount", "applied_balance_amount", "refunded_amount", "refunded_tax_amount")
        item = {"id": self.world.uuid(), "label": "Plan", "amount": amount, "tax_amount": 0, "proration": False}
        order = {
            "id": order_id,
            "created_at": iso(created_at),
            "modified_at": None,
            "status": "paid" if is_paid else "pending",
            "paid": is_paid,
            **amounts,
            **dict.fromkeys(zero, 0),
            "refundable_amount": amount,
            "refundable_tax_amount": 0,
            "platform_fee_amount": 0,
            "platform_fee_currency": None,
            "currency": self.currency,
            "billing_reason": reason,
            "customer_id": self.customer["id"],
            "product_id": self.product["id"],
            "discount_id": None,
            "subscription_id": self.subscription_id,
            "checkout_id": None,
            "metadata": {},
            "items": [{**item, "created_at": iso(created_at), "modified_at": None, "product_price_id": None}],
            "description": "Plan",
        }
        self.organization.add("orders", order)
