"""The page of a namespace."""

import re
from html import unescape

import holdfast
import pytest
from holdfast_server.console.pages import workflows

from tests.support.console_pages import FORMAT, MARKUP


def shown(page: str) -> list[str]:
    """Return the ids of the workflows of a page, in their order."""
    return [unescape(each) for each in re.findall(r'<th scope="row"><span class="id"><a [^>]*title="([^"]*)"', page)]


def link(page: str, relation: str) -> str:
    found = re.search(rf'href="([^"]+)" rel="{relation}"', page)
    return unescape(found[1]) if found else ""


async def test_pages_lead_through_all_workflows_and_back(client, browser, monkeypatch):
    monkeypatch.setattr(workflows, "_ROWS", 3)
    names = [f"run-{number}" for number in range(8)]
    for name in names:
        await client.save("n", name, b"x", format=FORMAT)

    seen, path = [], "/n/n"
    while path:
        page = (await browser.get(path)).text
        seen.append(shown(page))
        path = link(page, "next")
    assert sorted(each for found in seen for each in found) == names

    for expected in reversed(seen[:-1]):
        page = (await browser.get(link(page, "prev"))).text
        assert shown(page) == expected
    assert not link(page, "prev")


async def test_a_search_shows_the_workflows_that_begin_with_it(client, browser):
    for name in ("run-1", "run-2", "other"):
        await client.save("n", name, b"x", format=FORMAT)
    assert sorted(shown((await browser.get("/n/n?prefix=run")).text)) == ["run-1", "run-2"]
    assert "No workflow here begins with zzz" in (await browser.get("/n/n?prefix=zzz")).text


async def test_markup_in_ids_stays_text(client, browser):
    await client.save(MARKUP, MARKUP, b"x", format=FORMAT)
    answer = await browser.get(f"/n/{MARKUP}?prefix={MARKUP[:3]}")
    assert answer.status_code == 200
    assert shown(answer.text) == [MARKUP]
    assert "<img src=x" not in answer.text


async def test_a_namespace_without_workflows_says_how_to_begin(browser):
    page = (await browser.get("/n/new")).text
    assert "No workflows yet" in page
    assert "holdfast --target" in page


async def test_a_deleted_workflow_has_no_checkpoint(client, browser):
    await client.save("n", "w", b"x", format=FORMAT)
    await client.delete_workflow("n", "w")
    assert "no checkpoint" in (await browser.get("/n/n")).text


@pytest.mark.parametrize("token", ["x", "AAAAAAAAxyz"])
async def test_a_token_of_another_list_is_an_error_with_its_reason(browser, token):
    answer = await browser.get(f"/n/n?t={token}")
    assert answer.status_code == 400
    assert holdfast.InvalidRequestError.__name__ not in answer.text
    assert "INVALID_REQUEST" in answer.text
    assert "page_token" in answer.text
