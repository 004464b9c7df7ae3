"""The plugin whose last lines say why a run failed."""

import pytest

pytest_plugins = ["pytester"]

FAILED = """
    import pytest

    @pytest.fixture
    def broken():
        raise ValueError("a broken fixture")

    def test_passes(): pass

    def test_errs(broken): pass

    @pytest.mark.parametrize("number", range(20))
    def test_fails(number):
        assert number == -1, "a long reason\\n" * 100
"""
BREAKS_XDIST = """
    def broken():
        raise RuntimeError("a broken queue")

    def test_passes(request):
        for plugin in request.config.pluginmanager.get_plugins():
            if hasattr(plugin, "torun"):
                plugin.torun.get = broken

    def test_is_never_run(): pass
"""

DIFFERS = """
    def test_fails():
        assert list(range(10_000)) == [*range(9_999), "x" * 10_000]
"""


def test_a_comparison_is_cut_in_ci_as_well(run):
    code, printed = run(DIFFERS, ci="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "At index 9999 diff" in printed
    assert "cut after these lines" in printed
    assert len(printed) < 10_000


def test_the_last_lines_name_each_failure_with_its_reason(run):
    code, printed = run(FAILED, "--by-suite")
    assert code == pytest.ExitCode.TESTS_FAILED
    title, first, *others, last = printed.splitlines()[-14:]
    assert "why the run failed" in title
    assert first == "ERROR tests/some/suite/test_module.py::test_errs: ValueError: a broken fixture"
    for number, line in enumerate(others):
        assert line.startswith(f"FAILED tests/some/suite/test_module.py::test_fails[{number}]: AssertionError: a long")
        assert len(line) <= 300
    assert last == "and 9 more"


def test_the_last_lines_name_an_internal_error_of_a_process(run):
    code, printed = run(BREAKS_XDIST, "-n", "1")
    assert code == pytest.ExitCode.INTERNAL_ERROR
    assert "INTERNAL ERROR: RuntimeError: a broken queue" in printed.splitlines()[-3:]
