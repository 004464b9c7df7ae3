"""The page of a workflow: every entry of its log, the lineage beside it, and links that lead through all of it."""

import re
from datetime import timedelta
from html import unescape

import holdfast
import pytest
from holdfast_server.console import timeline

from tests.support.console_pages import FORMAT, MARKUP, browsing


def revisions(page: str) -> list[int]:
    return [int(each) for each in re.findall(r'<li class="entry[^"]*" id="r(\d+)">', page)]


def link(page: str, relation: str) -> str:
    found = re.search(rf'href="([^"]+)" rel="{relation}"', page)
    return unescape(found[1]) if found else ""


async def test_all_kinds_of_entries_are_shown_newest_first(client, browser):
    await client.acquire_writer("n", "w", holder="worker-1", lease=timedelta(minutes=1))
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="a", labels={"step": "1"}, epoch=1)
    await client.save("n", "w", b"y", format=FORMAT, checkpoint_id="b", parent_id="a", epoch=1)
    await client.delete("n", "w", "b", epoch=1)
    page = (await browser.get("/n/n/w/w")).text
    assert revisions(page) == [4, 3, 2, 1]
    assert 'Epoch 1 acquired by <bdi class="mono any">worker-1</bdi>' in page
    assert 'Deleted <bdi class="mono">b</bdi>' in page
    assert "Deleted by revision 4" in page
    assert "step=1" in page
    assert page.count("<circle") == 2
    assert page.count("hollow") == 1
    assert "2 checkpoints, from" in page


async def test_pages_lead_through_a_whole_log_and_back(client, browser, monkeypatch):
    monkeypatch.setattr(timeline, "ROWS", 3)
    for number in range(8):
        await client.save("n", "w", b"x", format=FORMAT, checkpoint_id=f"c{number}")
    seen, path = [], "/n/n/w/w"
    while path:
        page = (await browser.get(path)).text
        seen.append(revisions(page))
        path = link(page, "next")
    assert seen == [[8, 7, 6], [5, 4, 3], [2, 1]]
    assert revisions((await browser.get(link(page, "prev"))).text) == [5, 4, 3]


async def test_a_server_without_logs_shows_the_checkpoints(client, browser, monkeypatch):
    async def unknown(*args, **options):
        raise holdfast.UnimplementedError("no such call")

    monkeypatch.setattr(holdfast.AsyncClient, "log_page", unknown)
    monkeypatch.setattr(timeline, "ROWS", 3)
    await client.acquire_writer("n", "w")
    for number in range(5):
        await client.save("n", "w", b"x", format=FORMAT, checkpoint_id=f"c{number}")
    page = (await browser.get("/n/n/w/w")).text
    assert revisions(page) == [6, 5, 4]
    assert "the server lists checkpoints only" in page
    assert revisions((await browser.get(link(page, "next"))).text) == [3, 2]
    assert (await browser.get("/n/n/w/w/c/c1")).status_code == 200


async def test_a_page_learns_of_newer_entries(client, browser):
    await client.save("n", "w", b"x", format=FORMAT)
    assert (await browser.get("/n/n/w/w/news?after=1")).text.strip() == ""
    await client.save("n", "w", b"x", format=FORMAT)
    assert "1 newer revision." in (await browser.get("/n/n/w/w/news?after=1")).text
    for odd in ("", "x", "-1", "9" * 40, "²"):
        assert (await browser.get("/n/n/w/w/news", params={"after": odd})).status_code == 200


async def test_markup_stays_text_on_all_pages(client, browser):
    await client.acquire_writer(MARKUP, MARKUP, holder=MARKUP, lease=timedelta(minutes=1))
    for number in range(2):
        await client.save(
            MARKUP,
            MARKUP,
            {MARKUP: f"{MARKUP} {number}".encode(), "json": f'{{"{MARKUP}": "{MARKUP}{number}"}}'.encode()},
            format=holdfast.Format(MARKUP, 1),
            checkpoint_id=f"{MARKUP}{number}",
            parent_id=f"{MARKUP}{number - 1}" if number else "",
            labels={MARKUP: f"{MARKUP}{number}"},
        )
    await client.attach(MARKUP, MARKUP, f"{MARKUP}1", [holdfast.Record(MARKUP, MARKUP.encode())])
    workflow = f"/n/{MARKUP}/w/{MARKUP}"
    checkpoint = f"{workflow}/c/{MARKUP}1"
    pair = {"a": f"{MARKUP}0", "b": f"{MARKUP}1"}
    for path, query in [
        (workflow, {}),
        (f"{workflow}/resume", {"format": MARKUP, "min": MARKUP, "max": MARKUP}),
        (f"{workflow}/resume", {"format": MARKUP, "min": "1", "max": "2", "depth": MARKUP}),
        (checkpoint, {}),
        (f"{checkpoint}/records", {}),
        (f"{checkpoint}/preview", {"part": MARKUP}),
        (f"{checkpoint}/preview", {"part": "json"}),
        (f"{checkpoint}/validate", {"depth": "checksum"}),
        (f"{workflow}/diff", pair),
        (f"{workflow}/diff", {"a": MARKUP, "b": "x"}),
        (f"{workflow}/diff/part", {**pair, "part": MARKUP}),
        (f"{workflow}/diff/part", {**pair, "part": "json"}),
    ]:
        for headers in ({}, {"hx-request": "true"}):
            answer = await browser.get(path, params=query, headers=headers)
            assert answer.status_code == 200, path
            assert "<img src=x" not in answer.text
            assert "&lt;img src=x" in answer.text or headers
            assert " style=" not in answer.text
            assert "<script>" not in answer.text


@pytest.mark.parametrize("path", ["/n/n/w/none", "/n/n/w/none/diff?b=x"])
async def test_a_workflow_that_does_not_exist_is_said(browser, path):
    answer = await browser.get(path)
    assert answer.status_code == 404
    assert "No such workflow" in answer.text


async def test_the_size_of_a_workflow_is_measured_on_request(client, browser):
    await client.save("n", "w", b"x" * 5000, format=FORMAT)
    for headers in ({}, {"hx-request": "true"}):
        page = (await browser.get("/n/n/w/w/size", headers=headers)).text
        assert "4.9 KiB" in page
        assert ("<html" in page) != bool(headers)


async def test_changes_are_offered_only_where_they_are_allowed(tmp_path, client, browser):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="c")
    async with browsing((tmp_path / "store").as_uri(), is_open=True, allow_changes=True) as changing:
        for path in ("/n/n/w/w", "/n/n/w/w/c/c"):
            assert f'href="{path}/delete"' not in (await browser.get(path)).text
            assert f'href="{path}/delete"' in (await changing.get(path)).text
