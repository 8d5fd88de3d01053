"""Put the organizations together and write the folder."""

from pathlib import Path

from loaders.simulate.answers import Answers
from loaders.simulate.files import DataFile, dump
from loaders.simulate.happenings import Happenings
from loaders.simulate.instants import AS_OF, iso
from loaders.simulate.layout import Layout
from loaders.simulate.metering import Metering
from loaders.simulate.model import Chance, Json, Organization
from loaders.simulate.ordering import Ordering
from loaders.simulate.organization_a import organization_a
from loaders.simulate.organization_b import organization_b
from loaders.simulate.organization_c import organization_c
from loaders.simulate.organization_d import organization_d
from loaders.simulate.shapes import Shapes

README = (
    "data/ holds a simulated world of four organizations in every form that can be landed: "
    "`meterhouse load data`, then `meterhouse build --as-of 2026-05-10T00:00:00Z`. "
    "answers.json beside it says what the warehouse must then show, keyed by Polar's own ids; "
    "a key that a row lacks is not part of its answer.\n"
)

KEYS = {
    "absent": "a key that a row lacks, or a section for a table not listed here, is not part of the answer",
    "landing": "one load of data/ into an empty home, files in order of their paths",
    "customer_months": "organization_id, customer_id (null: unknown to Polar), external_customer_id, month",
    "usage_daily": "organization_id, event_name, usage_date",
    "meter_usage": "subscription_id, price_id, period_start_at; rows of no usage and no credits may be left out",
    "orders": "order_id",
    "order_reconciliation": "order_id, or subscription_id@due_at where no order exists",
    "billing_outcomes": "organization_id, outcome",
    "totals_by_currency": "organization_id, currency; paid orders only",
    "order_lines": "order_id, label; only orders whose objects are landed",
    "meter_reconciliation": "subscription_id, period_start_at, price_id, currency",
    "credit_ledger": "customer_id, meter_id; the open window of customers known to Polar",
    "member_allocations": "subscription_id, price_id, period_start_at, external_member_id (null: unattributed); "
    "no expected_amount where equal remainders decide",
    "revenue_daily": "organization_id, currency, revenue_date",
    "customer_margins": "organization_id, customer_id (null: unknown to Polar), external_customer_id, currency, month",
    "customers_at_a_loss": "organization_id, customer: Polar's id, else the merchant's",
    "orders_settled": "order_id; paid orders only",
}


def write_world(directory: Path, seed: int = 7, scale: int = 1) -> None:
    """Write `data/`, `answers.json` and `README.txt`; the same seed and scale give the same bytes on any day."""
    chance = Chance(seed)
    files: list[DataFile] = []
    sections: dict[str, list[Json]] = {}
    for make in (organization_a, organization_b, organization_c, organization_d):
        files += _tell(make(chance, scale), chance, sections)
    for file in files:
        file.write(directory / "data")
    directory.joinpath("README.txt").write_text(README, encoding="utf-8")
    directory.joinpath("answers.json").write_bytes(dump(_answers(files, sections, seed, scale), indent=1))


def _tell(organization: Organization, chance: Chance, sections: dict[str, list[Json]]) -> list[DataFile]:
    """The organization's files; its answers are added to `sections`."""
    metering = Metering(organization)
    ordering = Ordering(organization, metering, chance)
    for name, rows in Answers(organization, metering, ordering).sections().items():
        sections.setdefault(name, []).extend(rows)
    shapes = Shapes(organization, metering, ordering, chance)
    happenings = Happenings(organization, ordering, chance)
    return list(Layout(organization, shapes, ordering, happenings).files())


def _answers(files: list[DataFile], sections: dict[str, list[Json]], seed: int, scale: int) -> Json:
    counts = [file.counts() for file in sorted(files, key=lambda file: file.path)]
    names = ("records", "landed", "duplicate", "conflict", "quarantined", "blank")
    totals = {name: sum(row[name] for row in counts) for name in names}
    return {
        "as_of": iso(AS_OF),
        "seed": seed,
        "scale": scale,
        "keys": KEYS,
        "landing": {"files": counts, "totals": totals},
        **sections,
    }
