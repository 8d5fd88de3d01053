"""What credits take off: a running sum that never falls below zero (semantics, 4.4)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from tests.oracle.aggregations import is_countable, quantity
from tests.oracle.attribution import Attribution
from tests.oracle.filters import passes
from tests.oracle.records import Event, Meter, Organization


def running_sum(units: Iterable[int]) -> int:
    """Add step by step, each step floored at zero: -50 and then 100 is 100."""
    total = 0
    for step in units:
        total = max(0, total + step)
    return total


def is_credit(event: Event) -> bool:
    return event.source == "system" and event.name == "meter.credited"


def is_reset(event: Event) -> bool:
    return event.source == "system" and event.name == "meter.reset"


@dataclass(frozen=True)
class Window:
    """One row of credit_ledger: a customer's meter between two resets."""

    customer_id: str
    meter_id: str
    start_at: datetime | None
    end_at: datetime | None
    consumed: Fraction
    credited: int
    has_content: bool


def ledger(organization: Organization) -> list[Window]:
    """Return the windows of each customer and meter that has credits, resets or usage."""
    attribution = Attribution(organization)
    windows = []
    for customer in organization.customers:
        events = [event for event in organization.events if attribution.customer_of(event) is customer]
        for meter in organization.meters:
            if meter.archived_at is None:
                windows += _windows(customer.customer_id, meter, events)
    return windows


def _windows(customer_id: str, meter: Meter, events: list[Event]) -> list[Window]:
    """A window runs from one reset's timestamp to the next and holds what was received in it."""
    own = [event for event in events if event.metadata.get("meter_id") == meter.meter_id]
    credits = sorted(filter(is_credit, own), key=lambda event: (event.occurred_at, event.event_id))
    resets = sorted({event.occurred_at for event in own if is_reset(event)})
    usage = [event for event in events if event.source == "user" and passes(event, meter.filter)]
    usage = [event for event in usage if is_countable(event, meter)]
    windows = []
    for start, end in zip([None, *resets], [*resets, None], strict=True):
        inside = [event for event in usage if _is_within(event.received_at, start, end)]
        steps = [event.metadata["units"] for event in credits if _is_within(event.received_at, start, end)]
        consumed, credited = quantity(inside, meter), running_sum(steps)
        has_content = bool(inside or steps)
        windows.append(Window(customer_id, meter.meter_id, start, end, consumed, credited, has_content))
    return windows


def _is_within(at: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= at) and (end is None or at < end)
