"""Pages while something fails: a server that is down, older, or slow, and damage in the store."""

import pytest

from tests.support import servers
from tests.support.console import store
from tests.support.console.calls import between
from tests.support.console.running import console
from tests.support.ports import free_port

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]


def test_a_server_that_is_down_is_named_and_the_page_recovers_when_it_is_back(filled, open_tab):
    port = free_port()
    with console(f"127.0.0.1:{port}") as running, open_tab(running.url) as tab:
        assert tab.open(f"/n/{store.BILLING}") == 503
        assert "cannot be reached" in tab.text()
        process, _ = servers.start(filled.url, listen=f"127.0.0.1:{port}")
        try:
            tab.page.get_by_role("link", name="Try again").click()
            tab.page.get_by_role("link", name=store.RICH).wait_for()
        finally:
            process.terminate()
            process.wait(30)


def test_a_server_that_does_not_answer_in_time_is_named(filled, open_tab):
    with servers.server(filled.url) as target, between(target) as (slow, slow_target), console(slow_target) as running:
        slow.held.set()
        with open_tab(running.url) as tab:
            assert tab.open(f"/n/{store.BILLING}") in (503, 504)
            assert "in time" in tab.text() or "cannot be reached" in tab.text()
            slow.held.clear()
            slow.release()
            tab.page.get_by_role("link", name="Try again").click()
            tab.page.get_by_role("link", name=store.RICH).wait_for()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        (f"/n/{store.BILLING}/w/no-such-run", 404),
        (f"/n/{store.BILLING}/w/{store.RICH}/c/no-such-checkpoint", 404),
        (f"/n/{'x' * 200}", 400),
        (f"/n/{store.BILLING}?t=nonsense", 400),
        (f"/n/{store.BILLING}/w/%FF", 404),
    ],
)
def test_a_page_that_does_not_exist_says_why_and_leads_back(tab, path, status):
    assert tab.open(path) == status
    assert tab.page.locator("h1").count() == 1
    tab.page.get_by_role("link", name="Namespaces").first.click()
    tab.page.get_by_role("heading", name="Namespaces").wait_for()
