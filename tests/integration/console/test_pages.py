"""Every page: contrast and structure, narrow windows, keyboards, and browsers without scripts."""

from importlib.util import find_spec

import pytest

from tests.support.console import engines, hostile, store
from tests.support.console.browser import NARROW

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]

BILLING = f"/n/{store.BILLING}"
RICH = f"{BILLING}/w/{store.RICH}"
PAYLOADS = f"/n/{store.PAYLOADS}"
# Each kind of page, in each of its states.
PAGES = {
    "namespaces": "/",
    "store": "/store",
    "sign-in": "/sign-in",
    "nothing": "/nothing",
    "workflows": BILLING,
    "a prefix without workflows": f"{BILLING}?prefix=zzz",
    "an empty namespace": "/n/nobody-was-here",
    "hostile workflows": f"/n/{hostile.segment(hostile.NAMESPACE)}",
    "a run of three workers": RICH,
    "a pruned run": f"{BILLING}/w/{store.PRUNED}",
    "a collected run": f"/n/{store.RETAINED}/w/{store.COLLECTED}",
    "a deleted run": f"{BILLING}/w/{store.DELETED}",
    "an expired run": f"{BILLING}/w/{store.EXPIRED}",
    "an old format": f"{BILLING}/w/{store.OLD_FORMAT}",
    "a writer without a checkpoint": f"{BILLING}/w/{store.FENCED_ONLY}",
    "a lease": f"{BILLING}/w/{store.LEASED}",
    "principals": f"{BILLING}/w/{store.BY_SERVICE}",
    "a damaged part": f"{BILLING}/w/{store.DAMAGED_BLOB}",
    "a damaged marker": f"{BILLING}/w/{store.DAMAGED_MARKER}",
    "a damaged head": f"{BILLING}/w/{store.DAMAGED_HEAD}",
    "an encrypted run": f"/n/{store.VAULT}/w/{store.ENCRYPTED}",
    "the longest name": f"/n/{hostile.segment(hostile.NAMESPACE)}/w/{hostile.LONGEST}",
    "a checkpoint": f"{RICH}/c/step-8",
    "records": f"{RICH}/c/step-7",
    "a deleted checkpoint": f"{RICH}/c/abandoned",
    "a damaged checkpoint": f"{BILLING}/w/{store.DAMAGED_BLOB}/c/step-3",
    "an encrypted checkpoint": f"/n/{store.VAULT}/w/{store.ENCRYPTED}/c/visit-2",
    "many parts": f"{PAYLOADS}/w/many-parts/c/only",
    "large JSON": f"{PAYLOADS}/w/json-large/c/only",
    "deep JSON": f"{PAYLOADS}/w/json-deep/c/only",
    "broken JSON": f"{PAYLOADS}/w/json-broken/c/only",
    "msgpack": f"{PAYLOADS}/w/msgpack/c/only",
    "msgpack that lies about its length": f"{PAYLOADS}/w/msgpack-lying/c/only",
    "text": f"{PAYLOADS}/w/text/c/only",
    "a long line": f"{PAYLOADS}/w/text-one-long-line/c/only",
    "bytes": f"{PAYLOADS}/w/binary/c/only",
    "many bytes": f"{PAYLOADS}/w/binary-large/c/only",
    "no bytes": f"{PAYLOADS}/w/empty/c/only",
    "a difference": f"{RICH}/diff?a=step-7&b=step-8",
    "a difference across a fork": f"{RICH}/diff?a=step-5&b=fork-3",
    "a difference of large bytes": f"{PAYLOADS}/w/binary-large/diff?a=only&b=only",
}
if find_spec("langgraph"):
    PAGES["a LangGraph run"] = f"/n/{store.AGENTS}/w/{engines.LANGGRAPH_RUN}"
if find_spec("burr"):
    PAGES["a Burr run"] = f"/n/{store.AGENTS}/w/{hostile.segment(engines.BURR_RUN)}"

# Of pages that are not there.
STATUSES = {"/nothing": 404, f"{RICH}/c/abandoned": 404}
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
        # In the place of a part that a script would load there is a link to it, or elsewhere on the page.
        for place in plain.page.locator("main [hx-trigger=load]:not([hidden], :has(a, button))").all():
            assert plain.page.locator(f"main a[href='{place.get_attribute('hx-get')}']").count() == 1


def test_a_search_works_without_scripts(anyone, open_tab):
    with open_tab(anyone.url, scripts=False) as tab:
        tab.open(BILLING)
        tab.page.get_by_label("begins with").fill("nightly-0")
        tab.page.get_by_role("button", name="Search").click()
        tab.page.get_by_role("link", name="nightly-09").wait_for()
        assert tab.page.locator("tbody tr").count() == 9


def focus(tab, name):
    """Move the focus by Tab alone until a link or button of a name has it."""
    for _ in range(100):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.innerText?.trim()") == name:
            return
    raise AssertionError(f"Tab does not reach {name!r}")


def test_a_keyboard_alone_leads_from_the_namespaces_to_a_checkpoint_and_back(tab):
    tab.open(BILLING)
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.innerText") == "Skip to content"
    tab.page.keyboard.press("Enter")
    for _ in range(20):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.id") == "prefix":
            break
    tab.page.keyboard.type("invoice")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**prefix=invoice")
    focus(tab, store.RICH)
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url(f"**/w/{store.RICH}")
    focus(tab, "step-8")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/c/step-8")
    focus(tab, store.RICH)
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url(f"**/w/{store.RICH}")


def test_the_focus_is_visible_on_every_stop(tab):
    tab.open(BILLING)
    for _ in range(12):
        tab.page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement)"
        assert tab.page.evaluate(f"{style}.outlineStyle !== 'none' && parseFloat({style}.outlineWidth) >= 2")
