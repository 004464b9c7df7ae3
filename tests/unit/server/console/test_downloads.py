"""Downloads: whole parts and ranges of them, without more work than what is sent."""

import os

import pytest
from holdfast_server.console.pages import payload

from tests.support.console_pages import FORMAT

PATH = "/n/n/w/w/c/c/download?part="


async def test_a_download_that_broke_off_continues_where_it_ended(client, browser):
    data = os.urandom((5 << 20) + 3)
    await client.save("n", "w", data, format=FORMAT, checkpoint_id="c")
    whole = await browser.get(PATH)
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    rest = {"range": f"bytes={len(data) - 10}-", "if-range": whole.headers["etag"]}
    answer = await browser.get(PATH, headers=rest)
    assert (answer.status_code, answer.content) == (206, data[-10:])
    assert answer.headers["content-range"] == f"bytes {len(data) - 10}-{len(data) - 1}/{len(data)}"
    assert answer.headers["content-disposition"] == whole.headers["content-disposition"]


async def test_a_range_of_other_content_than_the_browser_has_is_the_whole_part(client, browser):
    await client.save("n", "w", b"0123456789", format=FORMAT, checkpoint_id="c")
    answer = await browser.get(PATH, headers={"range": "bytes=2-4", "if-range": '"another"'})
    assert (answer.status_code, answer.content) == (200, b"0123456789")


async def test_a_range_beyond_the_part_is_refused_with_its_size(client, browser):
    await client.save("n", "w", b"0123456789", format=FORMAT, checkpoint_id="c")
    answer = await browser.get(PATH, headers={"range": "bytes=10-"})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == "bytes */10"


async def test_a_request_of_the_headers_reads_nothing_of_the_part(client, browser, monkeypatch):
    await client.save("n", "w", b"0123456789", format=FORMAT, checkpoint_id="c")
    monkeypatch.setattr(type(client), "read_part", None)
    answer = await browser.head(PATH)
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "10", b"")


@pytest.mark.parametrize("page", ["download", "preview"])
async def test_a_deleted_checkpoint_is_not_taken_for_a_newer_one_of_its_id(client, browser, page):
    await client.save("n", "w", b"the older", format=FORMAT, checkpoint_id="c")
    await client.save("n", "w", b"newer", format=FORMAT, checkpoint_id="c", replace=True)
    answer = await browser.get(f"/n/n/w/w/c/c/{page}?part=&revision=1")
    assert answer.status_code == 404
    assert "deleted" in answer.text
    assert "newer" not in answer.text


async def test_a_download_whose_client_gives_up_frees_its_place(client, browser, monkeypatch):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="c")

    async def broken(first, pieces):
        yield first
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(payload, "_joined", broken)
        for _ in range(20):
            await browser.get(PATH)
    assert (await browser.get(PATH)).content == b"x"
