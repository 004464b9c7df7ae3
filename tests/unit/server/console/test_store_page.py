"""The page of the store, and what the second request of a page of workflows adds."""

import holdfast

from tests.support.console_pages import FORMAT, MARKUP


async def test_the_page_shows_the_server_and_the_namespaces(client, browser):
    await client.save(MARKUP, "w", b"x", format=FORMAT)
    page = (await browser.get("/store")).text
    assert (await client.capabilities()).server_version in page
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    usage = (await browser.get("/store/usage", headers={"hx-request": "true"})).text
    assert "<html" not in usage
    assert "&lt;img src=x" in usage


async def test_a_server_without_usage_is_said_to_be_unknown(client, browser, monkeypatch):
    async def unknown(*arguments, **named):
        raise holdfast.UnimplementedError("unknown method")

    await client.save("n", "w", b"x", format=FORMAT)
    monkeypatch.setattr(holdfast.AsyncClient, "usage_page", unknown)
    assert "not counted yet" in (await browser.get("/store/usage")).text
    assert "unknown" in (await browser.get("/n/n/details")).text


async def test_the_details_of_a_page_have_sizes_and_health(client, browser):
    await client.save("n", "whole", b"x" * 3000, format=FORMAT)
    await client.save("n", "gone", b"x", format=FORMAT)
    await client.delete_workflow("n", "gone")
    details = (await browser.get("/n/n/details?prefix=whole")).text
    assert 'title="3,000 bytes"' in details
    assert "resumable" in details
    assert details.count('id="health-') == 1
    assert "no checkpoint" in (await browser.get("/n/n/details?prefix=gone")).text


async def test_the_page_requests_the_details_of_its_own_rows(client, browser):
    await client.save("n", "w", b"x", format=FORMAT)
    page = (await browser.get("/n/n?prefix=w")).text
    assert 'hx-get="/n/n/details?prefix=w"' in page
    details = (await browser.get("/n/n/details?prefix=w")).text
    for kind in ("health", "size", "stored"):
        name = details.split(f'id="{kind}-', 1)[1].split('"', 1)[0]
        assert f'id="{kind}-{name}"' in page
