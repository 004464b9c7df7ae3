"""The plugin that keeps the failure of one test from ending a run."""

import pytest

pytest_plugins = ["pytester"]

FAILS_TOO_LATE = """
    import time
    import pytest

    class Slow(Exception):
        def __str__(self):
            time.sleep(0.5)
            return "slow to report"

    @pytest.fixture
    def resource():
        raise Slow

    @pytest.mark.timeout(0.2)
    def test_fails(resource): pass

    def test_next(): pass
"""
BREAKS_A_REPORT = """
    import pytest

    class Ending(BaseException): pass

    class Broken:
        def __init__(self, manager): self.manager = manager

        def pytest_runtest_makereport(self, item, call):
            self.manager.unregister(self)
            raise Ending("a broken hook")

    @pytest.fixture(scope="session")
    def shared():
        return []

    @pytest.fixture
    def resource(shared):
        shared.append("set up")
        yield
        shared.append("torn down")

    def test_fails(request, resource, shared):
        manager = request.config.pluginmanager
        manager.register(Broken(manager))

    def test_next(shared):
        assert shared == ["set up", "torn down"]
"""
HANGS_IN_TEARDOWN = """
    import time
    import pytest

    @pytest.fixture
    def resource():
        yield
        time.sleep(60)

    @pytest.mark.timeout(0.2)
    def test_fails(resource): assert False

    def test_next(): pass
"""
SWALLOWS_AN_ALARM = """
    import time
    import pytest
    from tests.support import contained

    contained._SECONDS_BETWEEN_ALARMS = 0.2

    @pytest.mark.timeout(0.2)
    def test_fails():
        try:
            time.sleep(60)
        except BaseException:
            time.sleep(60)

    def test_next(): pass
"""
HIDES_AN_ALARM = """
    import time
    import pytest

    @pytest.mark.timeout(0.2)
    def test_fails():
        try:
            time.sleep(60)
        except BaseException:
            raise ValueError("something else")

    def test_next(): pass
"""
STRANGE_VALUES = """
    import logging
    import warnings

    def test_fails(record_property):
        logging.error("\\ud800")
        warnings.warn("\\ud802")
        record_property("object", object())
        record_property("number", 1 << 100)
        assert "\\ud801" == ""

    def test_next(): pass
"""


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (FAILS_TOO_LATE, "ERROR {}: test_module.Slow: slow to report"),
        (BREAKS_A_REPORT, "ERROR {}: test_module.Ending: a broken hook"),
        (HANGS_IN_TEARDOWN, "ERROR {}: Failed: Timeout (>0.2s) from pytest-timeout."),
        (SWALLOWS_AN_ALARM, "FAILED {}: Failed: Timeout (>0.2s) from pytest-timeout."),
        (HIDES_AN_ALARM, "FAILED {}: Failed: after an alarm of pytest-timeout: ValueError: something else"),
        (STRANGE_VALUES, r"FAILED {}: AssertionError: assert '\ud801' == ''"),
    ],
    ids=[
        "alarm-in-a-report",
        "error-in-a-report",
        "hanging-teardown",
        "swallowed-alarm",
        "hidden-alarm",
        "strange-values",
    ],
)
def test_a_failure_of_any_kind_is_reported_and_the_next_test_runs(run, module, reason):
    code, printed = run(module, "-n", "1")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 passed" in printed
    assert "INTERNALERROR" not in printed
    assert reason.format("tests/some/suite/test_module.py::test_fails") in printed
