"""What exists in the simulated world: the truth that both the written records and the answers are derived from.

Objects are compared by identity: two customers of different organizations may well look the same.
"""

import hashlib
import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from loaders.simulate.instants import CATALOG_CREATED_AT, COVERAGE_STARTS_AT, EXPORTS_START_AT
from loaders.simulate.rating import Tiers, rate, rate_tiers

Json = dict[str, Any]

# How an event reaches the warehouse; only an export tells when Polar received it.
EXPORT, API, SUBMITTED = "export", "api", "submitted"


@dataclass(frozen=True)
class Chance:
    """Everything random, drawn from the seed and a label so that one scenario never shifts another."""

    seed: int

    def generator(self, *label: object) -> random.Random:
        return random.Random("/".join(map(str, (self.seed, *label))))

    def uuid(self, *label: object) -> str:
        digest = hashlib.sha256("/".join(map(str, (self.seed, *label))).encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))


@dataclass(eq=False)
class Meter:
    meter_id: str
    name: str
    function: str
    property: str | None
    event_name: str
    created_at: datetime
    excluded_region: str | None = None
    archived_at: datetime | None = None

    def takes(self, usage: "Usage") -> bool:
        """An archived meter takes nothing any more."""
        return self.matches(usage) and not (self.archived_at and usage.received_at >= self.archived_at)

    def matches(self, usage: "Usage") -> bool:
        """Polar's Python matcher for the two clauses used here; a missing key never matches, `ne` included."""
        if usage.name != self.event_name:
            return False
        return (
            self.excluded_region is None or usage.metadata.get("region", self.excluded_region) != self.excluded_region
        )

    def value(self, usage: "Usage") -> Any:
        """The metered property, or None where the event does not count (missing, or no JSON number)."""
        if self.function == "count":
            return 1
        found: Any = usage.metadata
        for key in (self.property or "").split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if self.function == "unique" or (isinstance(found, int | float) and not isinstance(found, bool)):
            return found
        return None

    def aggregate(self, usages: Iterable["Usage"]) -> Decimal:
        """Exact decimal result; the double nearest to it is what gets rated."""
        values = [value for value in map(self.value, usages) if value is not None]
        if self.function == "unique":
            return Decimal(len(set(values)))
        numbers = [Decimal(str(value)) for value in values]
        if self.function == "avg":
            mean = Fraction(sum(numbers, Decimal(0))) / max(1, len(numbers))
            return Decimal(repr(float(mean)))
        if self.function in ("max", "min"):
            return (max if self.function == "max" else min)(numbers, default=Decimal(0))
        return sum(numbers, Decimal(0))

    def is_summable(self) -> bool:
        return self.function in ("count", "sum")


@dataclass(eq=False)
class Price:
    price_id: str
    currency: str
    static_amount: int = 0
    meter: Meter | None = None
    unit_amount: str = "0"
    cap_amount: int | None = None
    created_at: datetime | None = None
    tiers: Tiers | None = None
    seats: int | None = None
    # Pay what you want: each subscription has an amount of its own.
    is_custom: bool = False

    def rated(self, quantity: Decimal, is_capped: bool = True) -> int | None:
        """None where the tiers do not reach as far as the quantity."""
        cap_amount = self.cap_amount if is_capped else None
        if self.tiers:
            return rate_tiers(self.tiers, cap_amount, quantity)
        return rate(self.unit_amount, cap_amount, quantity)

    def for_seats(self, seats: int) -> "Price":
        """The price of so many seats, as a subscription carries it."""
        amount = self.rated(Decimal(seats))
        assert amount is not None
        return replace(self, static_amount=amount, seats=seats)


@dataclass(eq=False)
class Product:
    product_id: str
    name: str
    prices: tuple[Price, ...]
    interval: str | None = "month"
    meter_interval: str | None = None
    trial_days: int | None = None
    # False: no export and no API answer names its prices.
    is_landed: bool = True

    @property
    def static_amount(self) -> int:
        return sum(price.static_amount for price in self.prices)

    @property
    def metered_prices(self) -> list[Price]:
        return [price for price in self.prices if price.meter]


@dataclass(eq=False)
class Discount:
    discount_id: str
    name: str
    basis_points: int | None = None
    amount: int = 0

    def of(self, total: int) -> int:
        """Computed once on the sum; half away from zero."""
        if self.basis_points is None:
            return min(self.amount, total)
        return (total * self.basis_points + 5000) // 10000


@dataclass(eq=False)
class Member:
    external_id: str
    member_id: str | None = None


@dataclass(eq=False)
class Customer:
    number: int
    customer_id: str
    external_id: str | None
    created_at: datetime
    is_team: bool = False
    tax_percent: int = 0
    country: str = "US"
    channel: str = EXPORT
    opening_balance: int = 0
    members: list[Member] = field(default_factory=list)


@dataclass(eq=False)
class Phase:
    """A product on a subscription from a moment on; `proration` says how its mid-period start is invoiced.

    A change for the next period was asked for earlier (`requested_at`) and prorates nothing.
    """

    from_at: datetime
    product: Product
    prices: tuple[Price, ...]
    proration: str | None = None
    requested_at: datetime | None = None

    @property
    def static_amount(self) -> int:
        return sum(price.static_amount for price in self.prices)

    @property
    def seats(self) -> int | None:
        return next((price.seats for price in self.prices if price.seats), None)

    @property
    def metered_prices(self) -> list[Price]:
        return [price for price in self.prices if price.meter]


@dataclass(frozen=True)
class Change:
    """One planted discrepancy: `missing`, `pending`, `void`, `units` or `cents` (billed minus true).

    `by_occurrence` bills usage by when it occurred, `euro` bills in another currency. Found by the day of the order,
    a checkout's order by `first`.
    """

    kind: str
    value: int = 0


@dataclass(eq=False)
class Subscription:
    subscription_id: str
    customer: Customer
    phases: list[Phase]
    currency: str
    started_at: datetime
    trial_ends_at: datetime | None = None
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    canceled_at: datetime | None = None
    ended_at: datetime | None = None
    ending: str = "final"
    discount: Discount | None = None
    recovered_at: datetime | None = None
    changes: dict[str, Change] = field(default_factory=dict)

    def phase_at(self, moment: datetime) -> Phase:
        return [phase for phase in self.phases if phase.from_at <= moment][-1]

    def phase_before(self, moment: datetime) -> Phase:
        return [phase for phase in self.phases if phase.from_at < moment or phase is self.phases[0]][-1]

    def is_billable_at(self, moment: datetime) -> bool:
        """Trialing, active and past due count; paused and canceled do not."""
        if moment < self.started_at or (self.ended_at and moment >= self.ended_at):
            return False
        return not any(paused <= moment < resumed for paused, resumed in self.pauses)

    def price_at(self, meter: Meter, moment: datetime) -> Price | None:
        return next((price for price in self.phase_at(moment).prices if price.meter is meter), None)

    def paused_since(self, moment: datetime) -> datetime | None:
        return next((paused for paused, resumed in self.pauses if paused <= moment < resumed), None)

    @property
    def meter_interval(self) -> str | None:
        return self.phases[0].product.meter_interval


@dataclass(eq=False)
class Usage:
    event_id: str
    customer: Customer | None
    external_customer_id: str | None
    name: str
    occurred_at: datetime
    received_at: datetime
    metadata: Json
    channel: str
    external_id: str | None = None
    member: Member | None = None
    parent: "Usage | None" = None
    lost_parent: str | None = None
    child_count: int = 0
    slips: bool = False


@dataclass(eq=False)
class Credit:
    event_id: str
    customer: Customer
    meter: Meter
    units: int
    occurred_at: datetime
    received_at: datetime
    is_rollover: bool = False


@dataclass(frozen=True)
class RefundPlan:
    """A refund of net `amount`; a reversed one succeeded first and failed later."""

    at: datetime
    amount: int
    is_reversed: bool = False


@dataclass(eq=False)
class LooseOrder:
    """A paid order that no renewal explains: a one-time purchase, or one charged by mistake."""

    customer: Customer
    created_at: datetime
    amount: int
    product: Product
    subscription: Subscription | None = None


@dataclass(eq=False)
class Organization:
    key: str
    organization_id: str
    has_api_objects: bool
    tax_behavior: str = "exclusive"
    settlement_rates: dict[str, Decimal] = field(default_factory=lambda: {"usd": Decimal(1)})
    customers: list[Customer] = field(default_factory=list)
    meters: list[Meter] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    discounts: list[Discount] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)
    loose_orders: list[LooseOrder] = field(default_factory=list)
    refunds: dict[str, list[RefundPlan]] = field(default_factory=dict)
    submitted_copies: list[Usage] = field(default_factory=list)
    beside_broken: list[Usage] = field(default_factory=list)
    catalog_created_at: datetime = CATALOG_CREATED_AT
    exports_start_at: datetime = EXPORTS_START_AT
    coverage_starts_at: datetime = COVERAGE_STARTS_AT
    # Their orders are known by events only, whatever else is landed.
    without_order_objects: list[Customer] = field(default_factory=list)

    def has_order_objects(self, customer: Customer) -> bool:
        return self.has_api_objects and customer not in self.without_order_objects
