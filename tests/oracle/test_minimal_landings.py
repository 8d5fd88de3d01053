"""Landings as small as they can be, in which the warehouse once said otherwise than the oracle."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.oracle import minimal
from tests.oracle.generator import KNOWN_DISAGREEMENTS
from tests.oracle.judging import Judged, Key, agree
from tests.oracle.test_oracle import expected_lines, expected_outcomes, published_lines, published_outcomes

LANDING = minimal.all_landings()
NAMES = sorted({record["organization_id"] for record in LANDING.records["customers"]})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return Judged(LANDING, tmp_path_factory.mktemp("minimal"))


@pytest.mark.parametrize("name", NAMES)
def test_minimal_landing(name: str, judged: Judged, request: pytest.FixtureRequest) -> None:
    if name in KNOWN_DISAGREEMENTS:
        request.applymarker(pytest.mark.xfail(strict=True, raises=AssertionError, reason=KNOWN_DISAGREEMENTS[name]))

    def of_case(found: dict[Key, Any], value: Callable[[Any], Any]) -> dict[Key, Any]:
        return {key: value(one) for key, one in found.items() if key[0].startswith(f"{name}-")}

    agree(of_case(published_outcomes(judged), str), of_case(expected_outcomes(judged), str))
    published = of_case(
        published_lines(judged),
        lambda row: (row["event_count"], row["consumed_units"], row["billable_units"], row["expected_amount"]),
    )
    expected = of_case(
        expected_lines(judged),
        lambda line: (len(line.events), float(line.consumed), line.billable, line.amount[0]),
    )
    agree(published, expected)


def test_each_known_disagreement_is_shown() -> None:
    assert KNOWN_DISAGREEMENTS.keys() <= set(NAMES)
