"""Polar's worked cases, run through the warehouse: records land, a build runs, published tables answer."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.cases import AREAS, CASES_FILE, NOT_RUN, UNPUBLISHED, Case
from tests.conformance.plan import CASES, KNOWN_DIFFERENCES, LEFT_OUT_FORMS, RUN
from tests.conformance.scenario import scenario_of

if TYPE_CHECKING:
    from tests.conformance.conftest import Landed

pytestmark = pytest.mark.skipif(not CASES_FILE.is_file(), reason="the worked cases are not here")


def _checks() -> list[Any]:
    parameters = []
    for case, scenario in RUN:
        for check in scenario.checks(case):
            marks = []
            if case.id in KNOWN_DIFFERENCES:
                marks.append(pytest.mark.xfail(reason=KNOWN_DIFFERENCES[case.id], strict=True))
            parameters.append(pytest.param(case.id, check, id=f"{case.id}-{check.removeprefix('check_')}", marks=marks))
    return parameters


@pytest.mark.parametrize(("case_id", "check"), _checks())
def test_the_warehouse_answers_as_polar_does(case_id: str, check: str, landed: "Landed") -> None:
    if case_id in landed.failures:
        raise landed.failures[case_id]
    scenario = landed.scenarios[case_id]
    if reason := scenario.awaited(check, landed.warehouse):
        pytest.xfail(reason)
    getattr(scenario, check)(landed.warehouse)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_case_is_run_or_left_out_for_a_reason(case: Case) -> None:
    if case.id in NOT_RUN:
        return
    scenario = scenario_of(case)
    if scenario is None and (reason := LEFT_OUT_FORMS.get((case.area, case.form))):
        pytest.skip(f"{case.id} has the form of a case in NOT_RUN: {reason}")
    form = ", ".join(sorted(case.form))
    assert scenario, (
        f"{case.id}: no scenario of area {case.area} reads the input ({form}). Write one, or list it in NOT_RUN."
    )
    unread = set(case.expected) - scenario.compares - set(UNPUBLISHED)
    assert not unread, f"{case.id}: {scenario.__name__} compares no {', '.join(sorted(unread))}."


def test_every_area_has_cases() -> None:
    assert {case.area for case in CASES} == AREAS


def test_what_is_left_out_exists() -> None:
    assert set(NOT_RUN) | set(KNOWN_DIFFERENCES) <= {case.id for case in CASES}
    assert all(NOT_RUN.values())
