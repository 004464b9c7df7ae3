"""The page of the store, and what the second request of a page of workflows adds."""

import subprocess

import holdfast
import pytest
from holdfast_server.console.pages import workflows

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
    assert "not measured" in (await browser.get("/n/n/details")).text


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


async def test_a_workflow_with_a_long_log_is_not_measured_for_its_row(client, browser, monkeypatch):
    for name, revisions in (("long", 3), ("short", 2)):
        for _ in range(revisions):
            await client.save("n", name, b"x", format=FORMAT)
    monkeypatch.setattr(workflows, "_MEASURED_REVISIONS", 2)
    assert "not measured" in (await browser.get("/n/n/details?prefix=long")).text
    assert "not measured" not in (await browser.get("/n/n/details?prefix=short")).text
