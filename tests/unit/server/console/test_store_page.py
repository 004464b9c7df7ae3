"""The page of the store, and what the second request of a page of workflows adds."""

import re
import subprocess
from html import unescape

import holdfast
import pytest
from holdfast_server.protocol.maintenance import inventory, usage_pages

from tests.support.console_pages import FORMAT, MARKUP, browsing
from tests.support.damage import damage_newest_marker
from tests.support.servers import EXECUTABLE


def command(*arguments):
    return subprocess.run([*EXECUTABLE, *arguments], check=False, capture_output=True, text=True, timeout=100)


async def test_the_page_shows_the_server_and_the_namespaces(client, browser):
    await client.save(MARKUP, "w", b"x", format=FORMAT)
    page = (await browser.get("/store")).text
    assert (await client.capabilities()).server_version in page
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    usage = (await browser.get("/store/usage", headers={"hx-request": "true"})).text
    assert "<html" not in usage
    assert "&lt;img src=x" in usage


async def test_the_page_shows_the_findings_of_the_last_check_with_links_to_their_workflows(tmp_path):
    store = tmp_path / "store"
    async with holdfast.AsyncClient(store.as_uri()) as client:
        await client.save("n", "whole", b"x", format=FORMAT)
        await client.save("n", "torn", b"x", format=FORMAT)
    damage_newest_marker(store, "torn")
    async with browsing(store.as_uri(), is_open=True) as browser:
        before = (await browser.get("/store")).text
        assert "none yet" in before
        assert "holdfast-server fsck --store" in before
        assert "settings of the server" in before
    done = command("fsck", "--store", store.as_uri())
    assert done.returncode == 1
    async with browsing(store.as_uri(), is_open=True) as browser:
        page = (await browser.get("/store")).text
    assert "has findings" in page
    assert 'href="/n/n/w/torn"' in page
    assert 'href="/n/n/w/whole"' not in page


@pytest.mark.parametrize(
    ("error", "words"), [(holdfast.UnimplementedError, "too old"), (holdfast.PermissionDeniedError, "right to admin")]
)
async def test_a_status_that_the_caller_does_not_get_is_explained(browser, monkeypatch, error, words):
    async def refused(*arguments, **named):
        raise error("refused")

    monkeypatch.setattr(holdfast.AsyncClient, "store_status", refused)
    answer = await browser.get("/store")
    assert answer.status_code == 200
    assert words in answer.text


async def test_a_server_without_usage_is_said_to_be_unknown(client, browser, monkeypatch):
    async def unknown(*arguments, **named):
        raise holdfast.UnimplementedError("unknown method")

    await client.save("n", "w", b"x", format=FORMAT)
    monkeypatch.setattr(holdfast.AsyncClient, "usage_page", unknown)
    assert "not counted yet" in (await browser.get("/store/usage")).text
    details = (await browser.get("/n/n/details")).text
    assert "not measured" in details
    assert "too old to measure" in details


async def test_the_details_of_a_page_have_sizes_and_health(client, browser):
    await client.save("n", "whole", b"x" * 3000, format=FORMAT)
    await client.save("n", "gone", b"x", format=FORMAT)
    await client.delete_workflow("n", "gone")
    details = (await browser.get("/n/n/details?prefix=whole")).text
    assert "resumable" in details
    stored = await client.usage_page("n", prefix="whole", stored_only=True)
    assert f'title="{stored.items[0].stored_bytes:,} bytes"' in details
    assert 'title="3,000 bytes"' not in details
    assert 'title="3,000 bytes"' in (await browser.get("/n/n/usage?prefix=whole&markers=1")).text
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


async def test_a_page_of_usage_that_ends_in_a_long_log_goes_on_only_by_a_button(client, browser, monkeypatch):
    for name, revisions in (("a", 1), ("long", 20), ("z", 1)):
        for _ in range(revisions):
            await client.save("n", name, b"x", format=FORMAT)
    monkeypatch.setattr(inventory, "_KEPT_OBJECTS", 6)
    monkeypatch.setattr(usage_pages, "_LISTED_AT_ONCE", 6)
    monkeypatch.setattr(usage_pages, "_MAX_OBJECTS", 8)
    pages = [(await browser.get("/n/n/details")).text]
    assert "not measured" in pages[0]
    while "Measure further" in pages[-1]:
        further = unescape(re.findall(r'hx-get="([^"]+after=[^"]+)"', pages[-1])[0])
        pages.append((await browser.get(further)).text)
        assert len(pages) < 20
    assert any("in <bdi" in page and "at least" in page for page in pages)
    # The last one has the last row, and no other page measured it.
    last = await client.usage_page("n", "z", stored_only=True)
    assert [f'title="{last.items[0].stored_bytes:,} bytes"' in page for page in pages].count(True) >= 1
    assert len(pages) > 3


async def test_a_page_of_usage_takes_one_call(client, browser, monkeypatch):
    calls = []
    usage_page = holdfast.AsyncClient.usage_page

    async def counted(*arguments, **named):
        calls.append(named)
        return await usage_page(*arguments, **named)

    for number in range(12):
        await client.save("n", f"w{number}", b"x", format=FORMAT)
    monkeypatch.setattr(holdfast.AsyncClient, "usage_page", counted)
    details = (await browser.get("/n/n/details")).text
    assert "Measure further" not in details
    assert len(calls) == 1
    assert calls[0]["stored_only"]
