"""A case that is not written as it must be is refused when it is read."""

import pytest

from conformance.cases import Case, CaseError, all_cases

STEP = {"call": "load"}


def test_a_case_needs_rules_and_steps():
    with pytest.raises(CaseError, match="rules and steps"):
        Case("group/name", rules=["load"], steps=[])
    with pytest.raises(CaseError, match="rules and steps"):
        Case("group/name", rules=[], steps=[STEP])


@pytest.mark.parametrize("step", [{"calls": "load"}, {"proxy": "cut", "afterwards": 5}, {}])
def test_an_unknown_step_is_named(step):
    with pytest.raises(CaseError, match="unknown step or argument"):
        Case("group/name", rules=["load"], steps=[step])


def test_an_unknown_place_is_named():
    with pytest.raises(CaseError, match="'moon'"):
        Case("group/name", rules=["load"], steps=[STEP], place="moon")


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(CaseError, match="no case matches 'retry/"):
        all_cases(["retry/*"])


def test_a_pattern_chooses_a_group():
    assert {case.group for case in all_cases(["uploads/*"])} == {"uploads"}
