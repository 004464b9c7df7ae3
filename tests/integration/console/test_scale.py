"""Pages of a large store make as many calls, and as many requests to the store, as those of a small one."""

from collections import Counter

import pytest

from tests.integration.console import large
from tests.support.console.calls import between
from tests.support.console.running import console
from tests.support.scraping import scraped

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]

NAMESPACE = f"/n/{large.NAMESPACE}"
LONG = f"{NAMESPACE}/w/{large.LONG}"
# A page has at most this many rows.
MOST_ROWS = 100
# A page of usage lists at most 10,000 objects, 1,000 at a time; and one request may end in the next page's count.
MOST_LISTINGS = 12


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """A folder of stores. All are written before the browser starts."""
    folder = tmp_path_factory.mktemp("large")
    large.fill(folder / "some", workflows=170, revisions=1)
    large.fill(folder / "small", workflows=300, revisions=400)
    large.fill(folder / "large")
    return folder


def store_requests(server):
    # It is not there before the first call.
    metric = server.metrics().get("holdfast_call_store_requests")
    return int(sum(each.value for each in metric.samples if each.name.endswith("_sum"))) if metric else 0


def next_page(tab):
    tab.page.get_by_role("link", name="Next").click()


# The pages, one after the other: each begins where the one before it ended.
STEPS = {
    "namespaces": lambda tab: tab.open("/"),
    "workflows": lambda tab: tab.open(NAMESPACE),
    "more workflows": next_page,
    "still more workflows": next_page,
    "a search": lambda tab: tab.open(f"{NAMESPACE}?prefix=run-0001"),
    "a long history": lambda tab: tab.open(LONG),
    "older entries": next_page,
    "still older entries": next_page,
    "an old checkpoint": lambda tab: tab.page.locator("main a[href*='/c/']").last.click(),
}


def costs(chromium_tab, url):
    """Return the calls and the requests to the store of each page."""
    found = {}
    with (
        scraped(url) as server,
        between(server.target) as (calls, target),
        console(target) as running,
        chromium_tab(running.url) as tab,
    ):
        for name, step in STEPS.items():
            calls.counts.clear()
            before = store_requests(server)
            step(tab)
            tab.settle()
            assert tab.page.locator("main tbody tr").count() <= MOST_ROWS, name
            found[name] = (Counter(calls.counts), store_requests(server) - before)
    return found


def test_pages_of_a_large_store_cost_as_much_as_those_of_a_small_one(stores, open_tab):
    expected = costs(open_tab, (stores / "small").as_uri())
    found = costs(open_tab, (stores / "large").as_uri())
    for name, (calls, requests) in found.items():
        assert calls == expected[name][0], name
        assert requests <= expected[name][1] + MOST_LISTINGS, name


def test_paging_forward_and_back_shows_each_workflow_once(stores, open_tab):
    with console((stores / "some").as_uri()) as running, open_tab(running.url) as tab:
        tab.open(NAMESPACE)
        pages = [tab.page.locator("tbody th").all_inner_texts()]
        while tab.page.get_by_role("link", name="Next").count():
            first = pages[-1][0]
            next_page(tab)
            tab.page.locator("tbody th").get_by_text(first, exact=True).wait_for(state="detached")
            pages.append(tab.page.locator("tbody th").all_inner_texts())
        assert [name for page in pages for name in page] == [large.LONG, *map(large.name_of, range(170))]
        for page in reversed(pages[:-1]):
            tab.page.get_by_role("link", name="Previous").click()
            tab.page.locator("tbody th").get_by_text(page[0], exact=True).wait_for()
            assert tab.page.locator("tbody th").all_inner_texts() == page
        assert tab.page.get_by_role("link", name="Previous").count() == 0
