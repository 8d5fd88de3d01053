"""Which case is read by which scenario, and what is known of those that fail."""

# Importing them makes their forms of input known.
from tests.conformance import (
    attribution,  # noqa: F401
    balances,  # noqa: F401
    metering,  # noqa: F401
    metrics,  # noqa: F401
    order_amounts,  # noqa: F401
    periods,  # noqa: F401
    rating,  # noqa: F401
    refunds,  # noqa: F401
    submissions,  # noqa: F401
)
from tests.conformance.cases import NOT_RUN, Case, read_cases
from tests.conformance.scenario import Scenario, scenario_of

# What the warehouse is known to answer wrongly: once it is mended, the entry must go.
KNOWN_DIFFERENCES: dict[str, str] = {}

CASES = read_cases()
LEFT_OUT_FORMS = {(case.area, case.form): NOT_RUN[case.id] for case in CASES if case.id in NOT_RUN}
RUN: list[tuple[Case, type[Scenario]]] = [
    (case, scenario) for case in CASES if case.id not in NOT_RUN and (scenario := scenario_of(case)) is not None
]
