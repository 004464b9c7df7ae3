"""Every page: contrast and structure, narrow windows, keyboards, and browsers without scripts."""

import pytest

from tests.support.console import hostile, store
from tests.support.console.browser import NARROW

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]

BILLING = f"/n/{store.BILLING}"
# Each kind of page, in each of its states.
PAGES = {
    "namespaces": "/",
    "sign-in": "/sign-in",
    "nothing": "/nothing",
    "workflows": BILLING,
    "a prefix without workflows": f"{BILLING}?prefix=zzz",
    "an empty namespace": "/n/nobody-was-here",
    "hostile workflows": f"/n/{hostile.segment(hostile.NAMESPACE)}",
}
# Of pages that are not there.
STATUSES = {"/nothing": 404}
each_page = pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())


@each_page
def test_a_page_meets_wcag_aa_in_both_schemes_and_fits_a_phone(tab, path):
    assert tab.open(path) == STATUSES.get(path, 200)
    tab.settle()
    assert tab.page.locator("h1").count() == 1
    assert tab.overflow() == []
    assert tab.violations() == []
    tab.page.emulate_media(color_scheme="dark")
    assert tab.violations(of_contrast=True) == []
    tab.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert tab.overflow() == []


@each_page
def test_a_page_has_the_same_heading_and_no_empty_places_without_scripts(tab, open_tab, anyone, path):
    tab.open(path)
    heading = tab.heading()
    with open_tab(anyone.url, scripts=False) as plain:
        plain.open(path)
        assert plain.heading() == heading
        # In the place of a part that a script would load there is a link to it.
        assert plain.page.locator("main [hx-get]:not(:has(a, button)):not(a, button)").count() == 0


def test_a_search_works_without_scripts(anyone, open_tab):
    with open_tab(anyone.url, scripts=False) as tab:
        tab.open(BILLING)
        tab.page.get_by_label("begins with").fill("nightly-0")
        tab.page.get_by_role("button", name="Search").click()
        tab.page.get_by_role("link", name="nightly-09").wait_for()
        assert tab.page.locator("tbody tr").count() == 9


def test_the_focus_is_visible_on_every_stop(tab):
    tab.open(BILLING)
    for _ in range(12):
        tab.page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement)"
        assert tab.page.evaluate(f"{style}.outlineStyle !== 'none' && parseFloat({style}.outlineWidth) >= 2")
