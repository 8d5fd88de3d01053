"""The worked cases of Polar's rules, read where they lie: which of them are run, which cannot be and why."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.loaders.main_job.conftest import SHARED

CASES_FILE = SHARED / "conformance" / "polar_cases.json"
AREAS = frozenset(
    (
        "filter",
        "aggregation",
        "credits",
        "rating",
        "attribution",
        "order_amounts",
        "refunds",
        "dedup",
        "hierarchy",
        "validation",
        "metrics",
    )
)

# What Polar computes inside itself: no record that lands shows it, and no published column answers it. A case that is
# added later stands under the reason of the listed ones where it has their form and no scenario reads that form.
NOT_RUN = {
    "aggregation-033-quantities-include-system": "what the quantities endpoint counts, not what is billed",
    "order_amounts-021-platform-fee": "the fee's formula: the fee itself lands, its rates do not",
    "order_amounts-030-allocate-fixed-uneven": "splitting a discount over prices: only prorated lines land",
    "order_amounts-033-allocate-percentage": "splitting a discount over prices: only prorated lines land",
    "order_amounts-041-proration-half-even": "proration arithmetic: only its result lands, without the factor",
    "order_amounts-042-seat-change-truncates": "proration arithmetic: only its result lands, without the factor",
    "refunds-006-tax-from-net-too-high": "a request that Polar refuses leaves no record",
}

# What cases expect and no table publishes: the rest of such a case is compared.
UNPUBLISHED = {
    "balance_after": "a customer's balance is Polar's own account; no record carries it",
    "refund_tax_amount": "refunded amounts are published net of tax",
    "refunded_tax_amount": "refunded amounts are published net of tax",
}


@dataclass(frozen=True)
class Case:
    """One worked case: what happened, and what Polar makes of it."""

    id: str
    area: str
    input: dict[str, Any]
    expected: dict[str, Any]

    @property
    def form(self) -> frozenset[str]:
        return frozenset(self.input)


def read_cases(path: Path = CASES_FILE) -> list[Case]:
    """Return the cases of the areas that are run; none where the file is not there."""
    if not path.is_file():
        return []
    listed = json.loads(path.read_text())["cases"]
    return [
        Case(case["id"], case["area"], written_out(case["input"]), case["expected"])
        for case in listed
        if case["area"] in AREAS
    ]


def written_out(value: Any) -> Any:
    """Return the value with every `{"repeat": text, "times": n}` as the text it stands for."""
    if isinstance(value, list):
        return [written_out(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"repeat", "times"}:
            return value["repeat"] * value["times"]
        return {name: written_out(item) for name, item in value.items()}
    return value
