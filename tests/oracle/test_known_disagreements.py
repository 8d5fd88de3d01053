"""What the random worlds leave out, shown one by one: a test that passes here says that its switch can go."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.oracle import minimal
from tests.oracle.generator import KNOWN_DISAGREEMENTS
from tests.oracle.judging import Judged, Key, agree
from tests.oracle.test_oracle import expected_lines, expected_outcomes, published_lines, published_outcomes

pytestmark = pytest.mark.slow

EDGE = "worth_of_an_edge_below_zero"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return Judged(minimal.all_others(), tmp_path_factory.mktemp("known"))


def disagreements() -> list[Any]:
    return [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason))
        for name, reason in KNOWN_DISAGREEMENTS.items()
        if name != EDGE
    ]


@pytest.mark.parametrize("name", disagreements())
def test_known_disagreement(name: str, judged: Judged) -> None:
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


def test_known_disagreement_that_blocks_the_publish(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fails when the build does not: then the switch can go."""
    with pytest.raises(AssertionError, match="cutoff_high_amount"):
        Judged(minimal.edge(), tmp_path_factory.mktemp("edge"))


def test_minimal_landing_is_published(judged: Judged) -> None:
    """Otherwise the failures above would be expected for the wrong reason."""
    assert judged.rows("select count(*) as n from meter_usage")[0]["n"] > 0


def test_each_known_disagreement_is_shown() -> None:
    shown = {record["organization_id"] for record in minimal.all_others().records["customers"]}
    assert shown | {EDGE} == KNOWN_DISAGREEMENTS.keys()
