"""The console on real servers, and a real browser."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support import servers
from tests.support.console import browser, store
from tests.support.console.browser import Tab
from tests.support.console.running import Console, console
from tests.support.required import require

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Open = Callable[..., AbstractContextManager[Tab]]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> store.Filled:
    require(browser.missing())
    return store.fill(tmp_path_factory.mktemp("console") / "store")


@pytest.fixture(scope="session")
def anyone(filled: store.Filled) -> Iterator[Console]:
    """The console of a server that authenticates nobody."""
    with servers.server(filled.url) as target, console(target) as running:
        yield running


@pytest.fixture(scope="session")
def trusted(filled: store.Filled) -> Iterator[Console]:
    """The console of a server that requires tokens."""
    with servers.server(filled.url, *filled.trust_flags) as target, console(target) as running:
        yield running


# While Playwright runs, no event loop can run in the same thread: other modules must not find one.
@pytest.fixture(scope="module")
def chromium(filled: store.Filled) -> "Iterator[Browser]":
    with browser.chromium() as running:
        yield running


@pytest.fixture
def tab(chromium: "Browser", anyone: Console) -> Iterator[Tab]:
    """A wide, light tab of the console that anyone may use."""
    with browser.tab(chromium, anyone.url) as opened:
        yield opened


@pytest.fixture
def open_tab(chromium: "Browser") -> Open:
    """Opens tabs: a context manager that takes the URL of a console, and the options of `browser.tab`."""
    return partial(browser.tab, chromium)
