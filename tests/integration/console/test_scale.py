"""Pages of a large store make as many calls, and as many requests to the store, as those of a small one."""

import pytest

from tests.integration.console import large
from tests.support.console.running import console

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]

NAMESPACE = f"/n/{large.NAMESPACE}"
LONG = f"{NAMESPACE}/w/{large.LONG}"
# A page has at most this many rows.
MOST_ROWS = 100


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """A folder of stores. All are written before the browser starts."""
    folder = tmp_path_factory.mktemp("large")
    large.fill(folder / "some", workflows=170, revisions=1)
    return folder


def next_page(tab):
    tab.page.get_by_role("link", name="Next").click()


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
