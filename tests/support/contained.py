"""A pytest plugin: whatever happens in one test ends no process of a run, and is reported as the failure of that test.

Without it, an error outside a test's own code ends a process of xdist and with it the run: the alarm of pytest-timeout
that rings while pytest writes a report, or a report that the channel of xdist cannot carry.
"""

import contextlib
import signal
import threading
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import pytest_timeout

# An event loop may catch the exception of an alarm in one of its callbacks, and the test hangs on.
_SECONDS_BETWEEN_ALARMS = 30.0
_SECONDS_UNTIL_THE_NEXT_PHASE = 0.05
_ENDS_THE_RUN = (pytest.exit.Exception, KeyboardInterrupt, pytest.Session.Failed)
_SETTINGS = pytest.StashKey[Any]()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Alarm(), "alarm")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Report an error that is in none of the phases of a test, and leave nothing of the test for the next one."""
    try:
        return (yield)
    except _ENDS_THE_RUN:
        raise
    except BaseException:  # noqa: BLE001 - that of an alarm is no Exception, for one
        excinfo = pytest.ExceptionInfo.from_current()
    reports = [_report(item, excinfo)]
    try:
        item.session._setupstate.teardown_exact(nextitem)
    except _ENDS_THE_RUN:
        raise
    except BaseException:  # noqa: BLE001 - it is reported
        reports.append(_report(item, pytest.ExceptionInfo.from_current()))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True


def _report(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed",
        longrepr=excinfo.getrepr(style="native"),
        when="teardown",
    )


class Alarm:
    """The timeout of the test that runs.

    It raises in the set-up, the call or the teardown of the test, and waits for the next of them otherwise. The
    teardown of a test that has failed has a time of its own.
    """

    def __init__(self) -> None:
        self._is_in_phase = False
        self._has_rung = False

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> bool | None:
        """Take the place of the alarm of pytest-timeout."""
        if settings.method != "signal" or threading.current_thread() is not threading.main_thread():
            return None
        item.stash[_SETTINGS] = settings
        self._set(item)
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        with self._phase():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        with self._phase():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        if _SETTINGS in item.stash and not any(signal.getitimer(signal.ITIMER_REAL)):
            self._set(item)
        with self._phase():
            return (yield)

    @contextlib.contextmanager
    def _phase(self) -> Iterator[None]:
        self._is_in_phase, self._has_rung = True, False
        try:
            yield
        except Exception as error:
            if self._has_rung:
                # Hypothesis, for one, repeats a step that fails, and reports that it passed the second time.
                pytest.fail(f"after an alarm of pytest-timeout: {type(error).__name__}: {error}")
            raise
        finally:
            self._is_in_phase = False

    def _set(self, item: pytest.Item) -> None:
        settings = item.stash[_SETTINGS]

        def ring(number: int, frame: object) -> None:
            if not self._is_in_phase:
                signal.setitimer(signal.ITIMER_REAL, _SECONDS_UNTIL_THE_NEXT_PHASE)
                return
            self._has_rung = True
            signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN_ALARMS)
            pytest_timeout.timeout_sigalrm(item, settings)

        def cancel() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

        item.cancel_timeout = cancel
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    """Convert what the channel of xdist cannot carry."""
    return _portable((yield))


@pytest.hookimpl(tryfirst=True)
def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    text = str(warning_message.message)
    if _portable(text) != text:
        warning_message.message = Warning(_portable(text))


def _portable(value: Any) -> Any:
    """Return a value of the types that the channel carries. Half of a surrogate pair in text is escaped."""
    match value:
        case None | bool():
            return value
        case int() | float() | bytes():
            plain = next(each for each in (int, float, bytes) if isinstance(value, each))
            return plain(value)
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {_portable(key): _portable(each) for key, each in value.items()}
        case list():
            return [_portable(each) for each in value]
        case tuple():
            return tuple(_portable(each) for each in value)
    return repr(value)
