"""The first page."""

import re
from html import unescape

import holdfast

from tests.support.console_pages import FORMAT, MARKUP


async def test_the_page_lists_the_namespaces(client, browser):
    for name in ("a", "b", MARKUP):
        await client.save(name, "w", b"x", format=FORMAT)
    page = (await browser.get("/")).text
    assert [unescape(each) for each in re.findall(r'class="tile" href="[^"]*" title="([^"]*)"', page)] == [
        MARKUP,
        "a",
        "b",
    ]
    assert "<img src=x" not in page


async def test_a_search_shows_the_namespaces_that_begin_with_it(client, browser):
    for name in ("team-a", "team-b", "other"):
        await client.save(name, "w", b"x", format=FORMAT)
    assert (await browser.get("/?prefix=team")).text.count('class="tile"') == 2
    assert "No namespace begins with zzz" in (await browser.get("/?prefix=zzz")).text


async def test_a_store_without_namespaces_says_how_to_begin(browser):
    assert "No namespaces yet" in (await browser.get("/")).text


async def test_a_server_that_does_not_list_namespaces_lets_one_be_entered(browser, monkeypatch):
    async def unknown(*arguments, **named):
        raise holdfast.UnimplementedError("unknown method")

    monkeypatch.setattr(holdfast.AsyncClient, "namespaces_page", unknown)
    page = (await browser.get("/")).text
    assert "too old to list its namespaces" in page
    assert 'name="namespace"' in page
    assert (await browser.get("/?namespace=a%20b")).headers["location"] == "/n/a%20b"
