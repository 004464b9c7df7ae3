"""Pages while something fails: a server that is down, older, or slow, and damage in the store."""

import pytest

from tests.support import servers
from tests.support.console import store
from tests.support.console.calls import between
from tests.support.console.running import console
from tests.support.ports import free_port

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]

NEW_METHODS = {"ListNamespaces", "GetStoreStatus", "GetUsage", "ListLog", "WatchWorkflow"}


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


@pytest.mark.parametrize("name", [store.DAMAGED_BLOB, store.DAMAGED_MARKER, store.DAMAGED_HEAD])
def test_damage_is_named_on_the_page_of_its_workflow(tab, name):
    assert tab.open(f"/n/{store.BILLING}/w/{name}") == 200
    tab.settle()
    assert "damaged" in tab.text()
    # Whatever is whole is still there.
    assert tab.page.locator("main a[href*='/c/step-1']").count() > 0


def test_an_encrypted_checkpoint_says_so_and_shows_nothing_of_its_content(tab):
    tab.open(f"/n/{store.VAULT}/w/{store.ENCRYPTED}/c/visit-2")
    tab.settle()
    assert "ncrypted" in tab.text()
    assert store.SECRET.decode() not in tab.page.content()


def test_pages_of_an_older_server_say_what_it_lacks_and_show_the_rest(filled, open_tab):
    with servers.server(filled.url) as target, between(target) as (old, old_target), console(old_target) as running:
        old.lacking |= NEW_METHODS
        with open_tab(running.url) as tab:
            for path in (
                "/",
                f"/n/{store.BILLING}",
                f"/n/{store.BILLING}/w/{store.RICH}",
                f"/n/{store.BILLING}/w/{store.RICH}/c/step-8",
            ):
                assert tab.open(path) == 200, path
                tab.settle()


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
