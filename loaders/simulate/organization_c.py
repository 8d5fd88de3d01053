"""Organization C: small, euro and yen, prices including tax, and the same external customer ids as organization A."""

from decimal import Decimal

from loaders.simulate.catalog import COMPLETION, REQUEST, Builder
from loaders.simulate.instants import at
from loaders.simulate.model import API, Chance, Organization, RefundPlan


def organization_c(chance: Chance, scale: int) -> Organization:
    """Build the whole organization."""
    rates = {"eur": Decimal("1.1"), "jpy": Decimal("0.68")}
    organization = Organization(
        "c",
        chance.uuid("organization", "c"),
        has_api_objects=True,
        tax_behavior="inclusive",
        settlement_rates=rates,
    )
    _tell(Builder(organization, chance, scale))
    return organization


def _tell(build: Builder) -> None:
    requests = build.meter("Requests", REQUEST, "count")
    tokens = build.meter("Tokens", COMPLETION, "sum", "_llm.total_tokens")
    euro = build.product(
        "Euro plan", build.fixed("Euro plan", 2400, "eur"), build.metered("Euro plan", requests, "4.2", currency="eur")
    )
    yen = build.product(
        "Yen plan", build.fixed("Yen plan", 3000, "jpy"), build.metered("Yen plan", tokens, "0.015", currency="jpy")
    )
    first = build.customer(1, tax_percent=20, country="FR")
    build.subscribe(first, euro, "2026-01-06T12:00")
    build.stream(first, REQUEST, "2026-01-06T13:00", 30)
    second = build.customer(2, tax_percent=10, country="JP", channel=API)
    build.subscribe(second, yen, "2026-01-16T12:00")
    build.stream(second, COMPLETION, "2026-01-16T13:00", 20)
    third = build.customer(3, channel=API)
    build.subscribe(third, euro, "2026-02-02T12:00", discount=build.discount("Friend 15%", basis_points=1500))
    build.stream(third, REQUEST, "2026-02-02T13:00", 20)
    # What two of these cost is more than the plan brings in four months.
    for day in (10, 20):
        build.usage(
            third, "video.rendered", at(f"2026-03-{day}T10:00"), {"_cost": {"amount": "6000.5", "currency": "usd"}}
        )
    build.organization.refunds["1@2026-03-06"] = [RefundPlan(at("2026-03-09T08:00"), 1000)]
