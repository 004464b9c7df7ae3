"""Names, labels and payloads with markup in them stay text on every page that shows them."""

import pytest

from tests.support.console import hostile, store

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]

NAMESPACE = f"/n/{hostile.segment(hostile.NAMESPACE)}"


def followed(tab, href):
    """Open a link, and require that nothing was executed."""
    assert tab.open(href) == 200
    tab.settle()
    assert tab.faults == []
    # The text of a template would have become this number.
    assert "{{49}}" not in tab.page.content()
    assert tab.page.locator("main script, main style, main img, main [onerror], main [onmouseover]").count() == 0
    assert tab.page.locator("a[href^='javascript:'], [hx-get^='http']").count() == 0


def links(tab, path):
    """Return the links of the page whose paths begin with a path, in order, without repetition."""
    found = tab.page.locator("main a").evaluate_all("all => all.map(each => each.getAttribute('href'))")
    return list(dict.fromkeys(each for each in found if each.startswith(path)))


def test_every_hostile_workflow_is_listed_by_its_whole_name_and_its_pages_show_it_as_text(tab):
    followed(tab, NAMESPACE)
    assert tab.page.locator("h1").get_by_text(hostile.NAMESPACE, exact=True).count() == 1
    shown = tab.page.locator("tbody th [title]").evaluate_all("all => all.map(each => each.title)")
    # Characters that cannot be seen are shown by their number.
    assert sorted(shown) == sorted(name.replace("\u200d", "\\u200d") for name in hostile.WORKFLOWS)
    found = links(tab, f"{NAMESPACE}/w/")
    assert len(found) == len(hostile.WORKFLOWS)
    for link in found:
        followed(tab, link)
        checkpoints = [each for each in links(tab, f"{link}/c/") if "/c/" in each]
        assert checkpoints, link
        followed(tab, checkpoints[0].partition("?")[0])


def test_a_prefix_with_markup_is_searched_for_and_shown_as_text(tab):
    for prefix in (hostile.MARKUP[:8], hostile.TEMPLATE, hostile.PERCENT, hostile.ATTRIBUTE):
        tab.open(NAMESPACE)
        tab.page.get_by_label("begins with").fill(prefix)
        tab.page.get_by_role("button", name="Search").click()
        tab.settle()
        assert tab.page.get_by_label("begins with").input_value() == prefix
        assert tab.page.locator("tbody tr").count() == 1


@pytest.mark.parametrize("path", ["/n/%3Cscript%3Ealert(1)%3C", "/n/billing/w/%22%3E%3Cimg", "/%3Cscript%3E"])
def test_names_that_do_not_exist_stay_text_too(tab, path):
    tab.open(path)
    assert tab.page.locator("main script, main img").count() == 0


@pytest.mark.parametrize("name", ["json-hostile", "text-hostile", "hostile-parts", "twice"])
def test_payloads_with_markup_stay_text(tab, name):
    followed(tab, f"/n/{store.PAYLOADS}/w/{name}")
    followed(tab, links(tab, f"/n/{store.PAYLOADS}/w/{name}/c/")[0])
