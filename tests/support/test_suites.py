"""The plugin that bounds and reports the tests."""

import pytest

from tests.support.budget import full

pytest_plugins = ["pytester"]


LARGE = """
    import pytest

    def test_small(): pass

    @pytest.mark.needs_budget("full")
    def test_large(): pass
"""
SKIPPED = """
    import pytest

    def test_passes(): pass

    @pytest.mark.parametrize("number", range(2))
    def test_skipped(number): pytest.skip("no such program")
"""
FAILED = """
    def test_passes(): pass

    def test_fails(): assert False
"""


@pytest.mark.parametrize("arguments", [(), full(("-n", "2"))])
def test_the_summary_counts_what_the_budget_leaves_out(run, arguments):
    code, printed = run(LARGE, *arguments)
    assert code == 0
    assert "1 passed" in printed
    assert "1 of some/suite left out: HOLDFAST_TEST_BUDGET is small, they need full" in printed


def test_a_budget_that_is_large_enough_leaves_nothing_out(run):
    code, printed = run(LARGE, "-m", "verification", "--by-suite", budget="full")
    assert code == 0
    assert "1 passed, 1 deselected" in printed
    assert "nothing was skipped or left out" in printed


@pytest.mark.parametrize("arguments", [(), full(("-n", "2"))])
@pytest.mark.parametrize(("ci", "expected"), [("", 0), ("true", 1)])
def test_a_skip_is_reported_with_its_reason_and_fails_the_run_in_ci(run, arguments, ci, expected):
    code, printed = run(SKIPPED, *arguments, ci=ci)
    assert code == expected
    assert "2 skipped: no such program" in printed
    assert ("skipped tests are failures in CI" in printed) == bool(ci)


@pytest.mark.parametrize("arguments", [(), full(("-n", "2"))])
def test_the_progress_names_each_failure_and_each_suite(run, arguments):
    code, printed = run(FAILED, "--by-suite", *arguments)
    assert code == 1
    assert "FAILED tests/some/suite/test_module.py::test_fails" in printed
    assert "some/suite: 1 failed, 1 passed in" in printed
