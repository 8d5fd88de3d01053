"""The landed records, read into plain values; nothing is judged here."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
EPOCH = datetime(1970, 1, 1)


def instant(text: str) -> datetime:
    """Read an ISO-8601 instant as UTC without a zone, as the published tables have it."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def instant_or_none(text: str | None) -> datetime | None:
    return None if text is None else instant(text)


@dataclass(frozen=True, eq=False)
class Event:
    event_id: str
    source: str
    name: str
    occurred_at: datetime
    received_at: datetime
    customer_id: str | None
    external_customer_id: str | None
    member: tuple[str | None, str | None] | None
    metadata: Json

    @property
    def epoch_seconds(self) -> int:
        """The timestamp as filters and aggregations read it: truncated (semantics, 4.2)."""
        return int((self.occurred_at - EPOCH).total_seconds())

    @property
    def billed_at(self) -> datetime:
        return max(self.occurred_at, self.received_at)


@dataclass(frozen=True)
class Customer:
    customer_id: str
    external_id: str | None
    created_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True)
class Meter:
    meter_id: str
    filter: Json
    function: str
    property: str | None
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True)
class Tier:
    bound: Decimal | int | None
    unit_amount: Decimal


@dataclass(frozen=True)
class Price:
    price_id: str
    meter_id: str
    kind: str
    unit_amount: Decimal | None
    tiers: tuple[Tier, ...]
    cap_amount: int | None
    currency: str


@dataclass(frozen=True)
class ProductVersion:
    valid_from: datetime
    meter_interval: tuple[str, int] | None
    prices: tuple[Price, ...]


@dataclass(frozen=True)
class SubscriptionVersion:
    """A Subscription object as it was at modified_at."""

    modified_at: datetime
    product_id: str
    prices: tuple[Price, ...] | None
    trial_ends_at: datetime | None
    ended_at: datetime | None
    current_period: tuple[datetime, datetime] | None


@dataclass
class SubscriptionRecords:
    """All that is landed of one subscription."""

    subscription_id: str
    customer_id: str
    started_at: datetime
    currency: str
    interval: tuple[str, int]
    versions: list[SubscriptionVersion] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class Order:
    order_id: str
    subscription_id: str
    reason: str
    created_at: datetime
    is_paid: bool


@dataclass
class Organization:
    organization_id: str
    customers: list[Customer] = field(default_factory=list)
    meters: list[Meter] = field(default_factory=list)
    products: dict[str, list[ProductVersion]] = field(default_factory=dict)
    subscriptions: dict[str, SubscriptionRecords] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def parse(lines: Iterable[str]) -> list[Json]:
    """Read JSON lines with every fraction as it was written."""
    return [json.loads(line, parse_float=Decimal) for line in lines]


def organizations(kinds: dict[str, list[Json]]) -> list[Organization]:
    """Sort the records of all kinds into their organizations."""
    found: dict[str, Organization] = {}

    def of(record: Json) -> Organization:
        organization_id = record["organization_id"]
        return found.setdefault(organization_id, Organization(organization_id))

    for record in kinds["customers"]:
        of(record).customers.append(_customer(record))
    for record in kinds["meters"]:
        of(record).meters.append(_meter(record))
    for record in kinds["products"]:
        of(record).products.setdefault(record["id"], []).append(_product(record))
    for record in kinds["subscriptions"]:
        _add_version(of(record), record)
    for record in kinds["orders"]:
        of(record).orders.append(_order(record))
    for record in kinds["events"]:
        of(record).events.append(_event(record))
    for organization in found.values():
        _add_subscription_events(organization)
    for organization in found.values():
        own = [record for record in kinds["submitted"] if of(record) is organization]
        organization.events += _counted(own, [record for record in kinds["events"] if of(record) is organization])
    return list(found.values())


def _event(record: Json) -> Event:
    occurred_at = instant(record["timestamp"])
    received_at = instant_or_none(record.get("ingested_at")) or occurred_at
    member = (record.get("member_id"), record.get("external_member_id"))
    return Event(
        event_id=record["id"],
        source=record["source"],
        name=record["name"],
        occurred_at=occurred_at,
        received_at=max(occurred_at, received_at),
        customer_id=record["customer_id"],
        external_customer_id=record["external_customer_id"],
        member=None if member == (None, None) else member,
        metadata=record["metadata"],
    )


def _counted(submitted: list[Json], recorded: list[Json]) -> list[Event]:
    """Return the submissions that count: no recorded copy, and outside the time that recorded usage covers."""
    copies = {record.get("external_id") for record in recorded}
    usage = [instant(record["timestamp"]) for record in recorded if record["source"] == "user"]
    alone = [_submission(record) for record in submitted if record["external_id"] not in copies]
    return [event for event in alone if not usage or not min(usage) <= event.occurred_at <= max(usage)]


def _submission(record: Json) -> Event:
    known = {"id": record["external_id"], "source": "user", "customer_id": None}
    return _event({**record, **known})


def _customer(record: Json) -> Customer:
    times = instant(record["created_at"]), instant_or_none(record["deleted_at"])
    return Customer(record["id"], record["external_id"], *times)


def _meter(record: Json) -> Meter:
    aggregation = record["aggregation"]
    times = instant(record["created_at"]), instant_or_none(record["archived_at"])
    return Meter(record["id"], record["filter"], aggregation["func"], aggregation.get("property"), *times)


def _prices(records: list[Json]) -> tuple[Price, ...]:
    return tuple(_price(record) for record in records if record["amount_type"].startswith("metered_"))


def _price(record: Json) -> Price:
    common = {"price_id": record["id"], "meter_id": record["meter_id"], "currency": record["price_currency"]}
    cap = record["cap_amount"]
    if record["amount_type"] == "metered_unit":
        return Price(**common, kind="unit", unit_amount=Decimal(record["unit_amount"]), tiers=(), cap_amount=cap)
    tiers = tuple(Tier(tier["bound"], Decimal(tier["unit_amount"])) for tier in record["tiers"]["tiers"])
    return Price(**common, kind=record["tiers"]["type"], unit_amount=None, tiers=tiers, cap_amount=cap)


def _interval(record: Json, prefix: str) -> tuple[str, int] | None:
    name = record.get(f"{prefix}_interval")
    return None if name is None else (name, record.get(f"{prefix}_interval_count") or 1)


def _product(record: Json) -> ProductVersion:
    valid_from = instant(record["modified_at"] or record["created_at"])
    return ProductVersion(valid_from, _interval(record, "meter"), _prices(record["prices"]))


def _add_version(organization: Organization, record: Json) -> None:
    interval = _interval(record, "recurring")
    assert interval is not None
    known = organization.subscriptions.setdefault(
        record["id"],
        SubscriptionRecords(
            record["id"], record["customer_id"], instant(record["started_at"]), record["currency"], interval
        ),
    )
    start, end = record["current_period_start"], record["current_period_end"]
    known.versions.append(
        SubscriptionVersion(
            modified_at=instant(record["modified_at"] or record["created_at"]),
            product_id=record["product_id"],
            prices=_prices(record["prices"]) if "prices" in record else None,
            trial_ends_at=instant_or_none(record["trial_end"]),
            ended_at=instant_or_none(record["ended_at"]),
            current_period=(instant(start), instant(end)) if start and end else None,
        )
    )
    known.versions.sort(key=lambda version: version.modified_at)


def _add_subscription_events(organization: Organization) -> None:
    """Attach the subscription.* events, and make known what only subscription.created tells of."""
    events = [e for e in organization.events if e.source == "system" and e.name.startswith("subscription.")]
    for event in sorted(events, key=lambda event: (event.occurred_at, event.name != "subscription.created")):
        told, subscription_id = event.metadata, event.metadata["subscription_id"]
        if subscription_id not in organization.subscriptions:
            assert event.name == "subscription.created", f"{event.name} of a subscription of which nothing is known"
            interval = _interval(told, "recurring")
            assert interval is not None
            assert event.customer_id is not None
            started_at = instant(told["started_at"])
            organization.subscriptions[subscription_id] = SubscriptionRecords(
                subscription_id, event.customer_id, started_at, told["currency"], interval
            )
        organization.subscriptions[subscription_id].events.append(event)


def _order(record: Json) -> Order:
    created_at = instant(record["created_at"])
    return Order(record["id"], record["subscription_id"], record["billing_reason"], created_at, record["paid"])
