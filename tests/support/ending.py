"""A pytest plugin: the last lines of a run that failed say why, one line for each failure.

The output of a long run is often seen from its end only. After an internal error, pytest itself prints no failures, and
in CI it prints the whole difference of two values.
"""

import re
from collections.abc import Generator, Iterable
from itertools import islice

import pytest

_MOST_LINES = 12
_MOST_LINES_OF_A_COMPARISON = 40
_MOST_CHARACTERS = 300


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        # The lines below stand for pytest's own summary, which has whole reasons in CI, and nothing after an error.
        if config.option.reportchars == "fE":
            config.option.reportchars = ""
        config.pluginmanager.register(Ending(), "ending")


@pytest.hookimpl(wrapper=True)
def pytest_assertrepr_compare() -> Generator[None, list[Iterable[str] | None], list[list[str]]]:
    """Cut what pytest says about two values that are not equal."""
    return [_cut(lines) for lines in (yield) if lines]


def _cut(lines: Iterable[str]) -> list[str]:
    first = list(islice(lines, _MOST_LINES_OF_A_COMPARISON + 1))
    short = [line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…" for line in first]
    return short if len(short) <= _MOST_LINES_OF_A_COMPARISON else [*short[:-1], "… (cut after these lines)"]


class Ending:
    """Collects the failures of a run, and prints them at its end."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._has_internal_error = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report, "FAILED" if report.when == "call" else "ERROR")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report, "ERROR")

    def _note(self, report: pytest.TestReport | pytest.CollectReport, outcome: str) -> None:
        if report.failed:
            reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", "") or _last_line(
                report.longreprtext
            )
            self._lines.append(f"{outcome} {report.nodeid}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note an error of pytest itself. That of a process of xdist has its own traceback as its text."""
        self._has_internal_error = True
        self._lines.append(f"INTERNAL ERROR: {_last_line(excinfo.exconly())}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let an internal error fail the run: without one of its processes, xdist may end with success."""
        if self._has_internal_error:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if not self._lines or reporter is None:
            return
        reporter.section("why the run failed")
        for line in self._lines[:_MOST_LINES]:
            reporter.write_line(re.sub(r"\s+", " ", line)[:_MOST_CHARACTERS])
        if len(self._lines) > _MOST_LINES:
            reporter.write_line(f"and {len(self._lines) - _MOST_LINES} more")


def _last_line(text: str) -> str:
    """Return the last line of a traceback that says something, without what pytest adds to assertions."""
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line and not line.startswith("assert ")), "")
