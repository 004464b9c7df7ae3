"""The page of a checkpoint: what is known of it, previews, records, validations and downloads."""

import asyncio
import json
import os
from datetime import timedelta

import holdfast
import holdfast.encryption
import pytest
from holdfast_server.console import visit
from holdfast_server.console.pages import checkpoint, payload
from holdfast_server.console.preview.records import preview_of_record

from tests.support.console_pages import FORMAT, browsing
from tests.support.damage import damage_newest, long_text

PATH = "/n/n/w/w/c/c"
FRAGMENT = {"hx-request": "true"}


async def test_everything_that_is_known_is_shown(client, browser, tmp_path):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="p")
    async with holdfast.AsyncClient((tmp_path / "store").as_uri(), producer=("trainer", "3.1")) as producing:
        await producing.save(
            "n",
            "w",
            {"a": b"12345", "b": b""},
            format=holdfast.Format("engine", 7),
            checkpoint_id="c",
            parent_id="p",
            labels={"step": "1"},
            ttl=timedelta(days=3),
            pinned=True,
            request_id="request-1",
        )
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="child", parent_id="c")
    page = (await browser.get(PATH)).text
    for expected in ("trainer 3.1", "engine", "version 7", "pinned", "request-1", "/c/p", "/c/child", "in 2 d", "5 B"):
        assert expected in page, expected
    assert "diff?a=p&amp;b=c" in page


async def test_a_trace_is_a_link(tmp_path, client):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="c")
    trace_id = (await client.load("n", "w")).info.trace_id
    template = "https://traces.example/{trace_id}?q=1"
    async with browsing((tmp_path / "store").as_uri(), is_open=True, trace_url_template=template) as browser:
        assert f"https://traces.example/{trace_id}?q=1" in (await browser.get(PATH)).text


async def test_a_deleted_checkpoint_is_shown_by_its_revision(client, browser):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="c", labels={"step": "one"})
    await client.delete("n", "w", "c")
    assert (await browser.get(PATH)).status_code == 404
    page = (await browser.get(f"{PATH}?revision=1")).text
    assert "deleted" in page
    assert "one" in page
    assert "Download" not in page
    for odd in ("x", "99", "²", "9" * 30):
        assert (await browser.get(PATH, params={"revision": odd})).status_code == 404


async def test_a_part_is_previewed_with_and_without_scripts(client, browser):
    await client.save("n", "w", {"state": b'{"key": [1, "two"]}'}, format=FORMAT, checkpoint_id="c")
    for headers in ({}, FRAGMENT):
        page = (await browser.get(f"{PATH}/preview?part=state", headers=headers)).text
        assert "JSON" in page
        assert ">key</bdi>" in page
        assert ("<html" in page) != bool(headers)
    assert (await browser.get(f"{PATH}/preview?part=other")).status_code == 404


async def test_a_large_part_is_previewed_in_part(client, browser):
    await client.save("n", "w", os.urandom(1 << 20), format=FORMAT, checkpoint_id="c")
    page = (await browser.get(f"{PATH}/preview?part=")).text
    assert "Only the first 262,144 of 1,048,576 bytes were read." in page


@pytest.mark.parametrize("size", [0, 10, (9 << 20) + 3])
async def test_a_part_is_downloaded_as_a_file_that_no_browser_shows(client, browser, size):
    data = os.urandom(size)
    await client.save("n", "w", {'a".html': data}, format=FORMAT, checkpoint_id="c")
    answer = await browser.get(f"{PATH}/download", params={"part": 'a".html'})
    assert answer.content == data
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith('attachment; filename="c-a_.html";')
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert (await browser.get(f"{PATH}/download", params={"part": "none"})).status_code == 404


@pytest.mark.parametrize("name", ["", "...", 'a"b\r\nx: y', "長" * 300, "ünï", "\ud800"])
def test_a_name_for_a_file_is_one_header(name):
    header = payload.disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


async def test_only_so_many_downloads_run_at_a_time(client, browser, tmp_path, monkeypatch):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="c")
    for _ in range(visit._DOWNLOADS + 2):
        assert (await browser.get(f"{PATH}/download?part=")).content == b"x"
    monkeypatch.setattr(visit, "_DOWNLOADS", 0)
    async with browsing((tmp_path / "store").as_uri(), is_open=True) as full:
        assert (await full.get(f"{PATH}/download?part=")).status_code == 503


async def test_a_damaged_part_is_an_error_page_and_not_a_file(client, browser, tmp_path):
    await client.save("n", "w", long_text().encode(), format=FORMAT, checkpoint_id="c")
    damage_newest(tmp_path / "store")
    for path in ("download?part=", "preview?part="):
        answer = await browser.get(f"{PATH}/{path}")
        assert answer.status_code == 500
        assert "CHECKPOINT_CORRUPTED" in answer.text
        assert "content-disposition" not in answer.headers


async def test_a_validation_says_what_it_found(client, browser, tmp_path):
    await client.save("n", "w", long_text().encode(), format=FORMAT, checkpoint_id="c")
    assert "Every byte matches its digest" in (await browser.get(f"{PATH}/validate?depth=checksum")).text
    damage_newest(tmp_path / "store")
    page = (await browser.get(f"{PATH}/validate?depth=checksum", headers=FRAGMENT)).text
    assert "damaged" in page
    assert "No good checkpoint is left" in page
    assert "Every part exists" in (await browser.get(f"{PATH}/validate?depth=presence")).text


async def test_records_are_shown(client, browser):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="c")
    assert "No records" in (await browser.get(f"{PATH}/records")).text
    await client.attach("n", "w", "c", [holdfast.Record(f"key-{n:03}", b'{"n": 1}') for n in range(120)])
    page = (await browser.get(f"{PATH}/records")).text
    assert "key-000" in page
    assert "Only the first 100 of 120 records are shown." in page
    assert "key-119" in (await browser.get(f"{PATH}/records?key=key-119")).text
    assert "None of its 120 records" in (await browser.get(f"{PATH}/records?key=other")).text


async def test_many_large_records_are_shown_by_one_page_at_a_time(client, browser, monkeypatch):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="c")
    await client.attach("n", "w", "c", [holdfast.Record(f"key-{n}", os.urandom(1 << 20)) for n in range(5)])
    pages = await asyncio.gather(*(browser.get(f"{PATH}/records") for _ in range(3)))
    for page in pages:
        assert "key-0" in page.text
        assert "key-4" in page.text
        assert "1.0 MiB" in page.text
    monkeypatch.setattr(checkpoint, "_MANY_RECORDS_BYTES", 4 << 20)
    assert "Too large for this page" in (await browser.get(f"{PATH}/records")).text


async def test_an_encrypted_checkpoint_says_so(client, browser, tmp_path):
    keyring = holdfast.Keyring(holdfast.encryption.LocalKey.generate("tenant-7"))
    async with holdfast.AsyncClient((tmp_path / "store").as_uri(), encryption=keyring) as sealing:
        await sealing.save("n", "w", b"secret", format=FORMAT, checkpoint_id="c", labels={"visit": "1"})
        await sealing.attach("n", "w", "c", [holdfast.Record("key", b"secret")])
    page = (await browser.get(PATH)).text
    assert "Encrypted by a client" in page
    assert "holdfast-sealed" not in page
    assert "tenant-7" in (await browser.get(f"{PATH}/preview?part=")).text
    assert "sealed" in (await browser.get(f"{PATH}/records")).text


def test_pending_writes_of_langgraph_are_shown():
    value = b"\xa5hello"
    described = {"task_id": "t-1", "task_path": "", "writes": [[0, "messages", "msgpack", len(value)]]}
    description = json.dumps(described).encode()
    data = b"w" + len(description).to_bytes(4) + description + value
    found = preview_of_record(data, len(data))
    assert found.title == "writes of LangGraph"
    write = found.tree.children[1][1]
    assert {label: node.text for label, node in write.children} == {
        "channel": "messages",
        "type": "msgpack",
        "value": "hello",
    }
    reference = b'r{"sha256": "00", "chunks": 3}'
    assert "cut into 3 records" in preview_of_record(reference, len(reference)).notes[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"w",
        b"words",
        b"w\xff\xff\xff\xff",
        b"r{}",
        b"w\0\0\0\x02{}",
        b"r" + b"[" * 9999,
        b'r{"chunks": 1e999}',
        b"w" + (47).to_bytes(4) + b'{"task_id": "t", "writes": [[1e999,"c","k",1]]}',
    ],
)
def test_other_records_are_shown_as_they_are(data):
    assert "LangGraph" not in preview_of_record(data, len(data)).title
