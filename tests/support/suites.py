"""A pytest plugin: the budget, a progress that names the suites, and every skip with its reason.

A suite is a folder of tests. A test that needs a larger budget than HOLDFAST_TEST_BUDGET is left out, and the summary
counts it. `--by-suite` prints a line when a suite ends, and one now and then about the suites that run. In CI a skipped
test fails the run: nothing may be missing there.
"""

import os
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest

from tests.support.budget import BUDGET, allows

_SECONDS_BETWEEN_LINES = 30.0
_LEFT_OUT = pytest.StashKey[Counter[tuple[str, str]]]()


def suite_of(nodeid: str) -> str:
    """Return the folder of a test, without `tests/`."""
    return nodeid.partition("::")[0].rpartition("/")[0].removeprefix("tests/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--by-suite", action="store_true", help="print the progress suite by suite, not test by test")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_budget(budget): left out if HOLDFAST_TEST_BUDGET is smaller")
    config.addinivalue_line("markers", "verification: the full budget makes a difference: `make verify` runs it")
    config.stash[_LEFT_OUT] = Counter()
    if config.getoption("by_suite") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config), "progress-by-suite")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what `make verify` runs, and leave out what the budget does not allow."""
    kept, left_out = [], []
    for item in items:
        needed = item.get_closest_marker("needs_budget")
        if needed is not None or item.nodeid.startswith("tests/verification/"):
            item.add_marker("verification")
        if needed is None or allows(needed.args[0]):
            kept.append(item)
        else:
            left_out.append(item)
            config.stash[_LEFT_OUT][suite_of(item.nodeid), needed.args[0]] += 1
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        # Only the workers of xdist collect.
        config.workeroutput["left_out"] = [[*key, count] for key, count in config.stash[_LEFT_OUT].items()]
    elif os.environ.get("CI") and _skips(config) and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take from a worker of xdist what it left out, which is the same for each that has collected the suite."""
    for suite, budget, count in getattr(node, "workeroutput", {}).get("left_out", ()):
        node.config.stash[_LEFT_OUT][suite, budget] = count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was not run, and why."""
    skipped, left_out = _skips(config), config.stash[_LEFT_OUT]
    if not (skipped or left_out or config.getoption("by_suite")):
        return
    terminalreporter.section("not run")
    for reason, nodeids in sorted(skipped.items()):
        terminalreporter.write_line(f"{len(nodeids)} skipped: {reason}")
        for nodeid in sorted(nodeids):
            terminalreporter.write_line(f"    {nodeid}")
    if skipped and os.environ.get("CI"):
        terminalreporter.write_line("skipped tests are failures in CI", red=True)
    for (suite, budget), count in sorted(left_out.items()):
        terminalreporter.write_line(
            f"{count} of {suite} left out: HOLDFAST_TEST_BUDGET is {BUDGET}, they need {budget}"
        )
    if not (skipped or left_out):
        terminalreporter.write_line("nothing was skipped or left out")


def _skips(config: pytest.Config) -> dict[str, set[str]]:
    """Return the skipped tests and modules, by the reason."""
    found: dict[str, set[str]] = defaultdict(set)
    for report in config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found[reason.removeprefix("Skipped: ")].add(report.nodeid)
    return found


@dataclass
class _Suite:
    """How far a suite has come."""

    total: int = 0
    ended: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)


class Progress:
    """Prints the progress suite by suite, and a failure as soon as it is known."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._suites: dict[str, _Suite] = defaultdict(_Suite)
        self._began = self._printed = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._count([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._count(ids)

    def _count(self, nodeids: list[str]) -> None:
        """Count the tests of each suite. The workers of xdist that have collected a suite have the same tests of it."""
        for suite, count in Counter(map(suite_of, nodeids)).items():
            self._suites[suite].total = count

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print no letters."""
        if report.passed:
            return "passed" if report.when == "call" else "", "", ""
        if report.failed:
            return "failed" if report.when == "call" else "error", "", ""
        return "skipped", "", ""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = suite_of(report.nodeid)
        suite = self._suites[name]
        suite.seconds += report.duration
        if report.failed:
            self._print(f"FAILED {report.nodeid}")
        if report.when == "call" or not report.passed:
            suite.outcomes[report.outcome] += 1
        if report.when == "teardown":
            suite.ended += 1
            if suite.ended == suite.total:
                outcomes = ", ".join(f"{count} {what}" for what, count in sorted(suite.outcomes.items()))
                self._print(f"{name}: {outcomes} in {suite.seconds:.0f} s")
            elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
                running = [
                    f"{each} {found.ended}/{found.total}"
                    for each, found in self._suites.items()
                    if 0 < found.ended < found.total
                ]
                self._print(f"running: {', '.join(running)}")

    def _print(self, line: str) -> None:
        self._printed = time.monotonic()
        seconds = int(self._printed - self._began)
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"[{seconds // 60:2}:{seconds % 60:02}] {line}")
