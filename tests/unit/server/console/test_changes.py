"""Changes: allowed only on purpose, confirmed with exact ids, refused if something differs."""

import re
from datetime import timedelta

import holdfast
import pytest
from holdfast_server.console.pages import changes

from tests.support.console import hostile
from tests.support.console_pages import FORMAT, browsing
from tests.support.damage import damage_newest_marker

WORKFLOW = "/n/n/w/run"


@pytest.fixture
async def changing(tmp_path):
    async with browsing((tmp_path / "store").as_uri(), is_open=True, allow_changes=True) as browser:
        yield browser


@pytest.fixture
async def saved(client):
    return [await client.save("n", "run", b"x", format=FORMAT, checkpoint_id=f"c{number}") for number in (1, 2)]


def hidden(page):
    """Return the hidden fields of a page's form, besides its mark."""
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    del fields["form_mark"]
    return fields


async def confirm(browser, path, **fields):
    page = (await browser.get(path)).text
    return await browser.submit(path, page, **(hidden(page) | fields))


async def ids(client):
    return [each.checkpoint_id async for each in client.list("n", "run")]


@pytest.mark.parametrize("path", [f"{WORKFLOW}/delete", f"{WORKFLOW}/fence", f"{WORKFLOW}/c/c2/delete"])
async def test_a_console_is_read_only_unless_it_was_started_otherwise(client, saved, browser, path):
    assert (await browser.get(path)).status_code == 403
    page = (await browser.get("/sign-in")).text
    answer = await browser.submit(path, page, id="run", revision="2", request_id="r")
    assert answer.status_code == 403
    assert "--allow-changes" in answer.text
    assert await ids(client) == ["c2", "c1"]


async def test_a_checkpoint_is_deleted_when_its_id_is_repeated(client, saved, changing):
    path = f"{WORKFLOW}/c/c1/delete"
    page = (await changing.get(path)).text
    assert "c1" in page
    for wrong in ("", "c2", "C1", "c1 "):
        answer = await confirm(changing, path, id=wrong)
        assert answer.status_code == 409
        assert "Nothing was changed" in answer.text
    assert await ids(client) == ["c2", "c1"]

    answer = await confirm(changing, path, id="c1")
    assert (answer.status_code, answer.headers["location"]) == (303, WORKFLOW)
    assert await ids(client) == ["c2"]


async def test_a_checkpoint_that_was_replaced_since_its_page_is_not_deleted(client, saved, changing):
    path = f"{WORKFLOW}/c/c1/delete"
    page = (await changing.get(path)).text
    await client.save("n", "run", b"newer", format=FORMAT, checkpoint_id="c1", replace=True)
    answer = await changing.submit(path, page, **hidden(page), id="c1")
    assert answer.status_code == 409
    assert "has changed" in answer.text
    assert (await client.load("n", "run", "c1")).data == b"newer"


async def test_a_workflow_is_deleted_when_its_id_is_repeated(client, saved, changing):
    path = f"{WORKFLOW}/delete"
    assert (await confirm(changing, path, id="ru")).status_code == 409
    assert await ids(client) == ["c2", "c1"]
    assert (await confirm(changing, path, id="run")).status_code == 303
    assert await ids(client) == []


async def test_a_workflow_that_was_saved_since_its_page_is_not_deleted(client, saved, changing):
    path = f"{WORKFLOW}/delete"
    page = (await changing.get(path)).text
    await client.save("n", "run", b"x", format=FORMAT, checkpoint_id="c3")
    answer = await changing.submit(path, page, **hidden(page), id="run")
    assert answer.status_code == 409
    assert await ids(client) == ["c3", "c2", "c1"]


async def test_a_workflow_that_another_writer_takes_over_just_before_the_deletion_is_not_deleted(
    client, saved, changing, monkeypatch
):
    read = changes._workflow

    async def read_and_lose(visit):
        found = await read(visit)
        writer = await client.acquire_writer("n", "run")
        await client.save("n", "run", b"x", format=FORMAT, checkpoint_id="c3", epoch=writer.epoch)
        return found

    path = f"{WORKFLOW}/delete"
    page = (await changing.get(path)).text
    monkeypatch.setattr(changes, "_workflow", read_and_lose)
    answer = await changing.submit(path, page, **hidden(page), id="run")
    assert answer.status_code == 409
    assert "WRITER_FENCED" in answer.text
    assert await ids(client) == ["c3", "c2", "c1"]


@pytest.mark.parametrize("workflow_id", [*hostile.WORKFLOWS, "~", "%", "-", "x" * 201])
async def test_a_workflow_with_any_id_can_be_fenced_and_deleted(client, changing, workflow_id):
    for name in (workflow_id, f"{workflow_id}2"[:512], "~~a", "~~b"):
        if len(name.encode()) <= 512:
            await client.save("n", name, b"x", format=FORMAT)
    path = f"/n/n/w/{hostile.segment(workflow_id)}"
    for change in ("fence", "delete"):
        answer = await confirm(changing, f"{path}/{change}", id=workflow_id)
        assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert not [each async for each in client.list("n", workflow_id)]


@pytest.mark.parametrize(
    ("path", "name"), [(f"{WORKFLOW}/delete", "run"), (f"{WORKFLOW}/fence", "run"), (f"{WORKFLOW}/c/c2/delete", "c2")]
)
async def test_a_form_that_is_sent_twice_changes_once_and_reports_no_failure(client, saved, changing, path, name):
    page = (await changing.get(path)).text
    for _ in range(2):
        answer = await changing.submit(path, page, **hidden(page), id=name)
        assert (answer.status_code, answer.headers["location"]) == (303, WORKFLOW)
    assert (await client.log_page("n", "run")).items[0].revision == 3


async def test_a_form_of_another_site_changes_nothing(client, saved, changing):
    path = f"{WORKFLOW}/delete"
    page = (await changing.get(path)).text
    for origin in ("https://evil.example", "null", None):
        answer = await changing.submit(path, page, origin=origin, **hidden(page), id="run")
        assert answer.status_code == 403
    fields = {**hidden(page), "id": "run", "form_mark": "0" * 64}
    assert (await changing.post(path, data=fields, headers={"origin": "http://127.0.0.1:7434"})).status_code == 403
    assert await ids(client) == ["c2", "c1"]


async def test_a_fence_refuses_the_writer_before_it(client, saved, changing):
    writer = await client.acquire_writer("n", "run")
    assert (await confirm(changing, f"{WORKFLOW}/fence", id="run")).status_code == 303
    with pytest.raises(holdfast.WriterFencedError):
        await client.save("n", "run", b"x", format=FORMAT, epoch=writer.epoch)


async def test_the_holder_of_a_lease_is_evicted_only_on_purpose(client, saved, changing):
    writer = await client.acquire_writer("n", "run", lease=timedelta(hours=1), holder="worker-7")
    path = f"{WORKFLOW}/fence"
    answer = await confirm(changing, path, id="run")
    assert answer.status_code == 409
    assert "worker-7" in answer.text
    await client.save("n", "run", b"x", format=FORMAT, epoch=writer.epoch)

    page = (await changing.get(path)).text
    assert "force" not in page
    assert (await changing.submit(path, page, **hidden(page), id="run", force="on")).status_code == 303
    with pytest.raises(holdfast.WriterFencedError):
        await client.save("n", "run", b"x", format=FORMAT, epoch=writer.epoch)


@pytest.mark.parametrize(
    "path", ["/n/n/w/other/delete", "/n/n/w/ru/delete", "/n/n/w/other/fence", f"{WORKFLOW}/c/c9/delete"]
)
async def test_a_page_about_something_that_does_not_exist_says_so(saved, changing, path):
    assert (await changing.get(path)).status_code == 404


async def test_a_checkpoint_whose_marker_is_damaged_can_be_deleted_only_as_such(tmp_path):
    target = (tmp_path / "store").as_uri()
    async with holdfast.AsyncClient(target) as client:
        await client.save("n", "run", b"x", format=FORMAT, checkpoint_id="c1")
    damage_newest_marker(tmp_path / "store", "run")
    path = f"{WORKFLOW}/c/c1/delete"
    async with browsing(target, is_open=True, allow_changes=True) as browser:
        page = (await browser.get(path)).text
        assert "cannot be read" in page
        assert hidden(page)["revision"] == "0"
        fields = {**hidden(page), "revision": "1", "id": "c1"}
        assert (await browser.submit(path, page, **fields)).status_code == 409
