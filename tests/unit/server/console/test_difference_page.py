"""The page of a difference: parts, labels and values that two checkpoints do not share."""

import holdfast
import pytest

from tests.support.console_pages import FORMAT

PATH = "/n/n/w/w/diff"


@pytest.fixture
async def saved(client):
    await client.save(
        "n",
        "w",
        {"state": b'{"n": 1}', "gone": b"x", "same": b"same"},
        format=FORMAT,
        checkpoint_id="a",
        labels={"step": "1"},
    )
    await client.save(
        "n",
        "w",
        {"state": b'{"n": 2}', "new": b"y", "same": b"same"},
        format=holdfast.Format("test", 2),
        checkpoint_id="b",
        labels={"step": "2"},
    )


async def test_parts_and_labels_that_differ_are_named(browser, saved):
    page = (await browser.get(f"{PATH}?a=a&b=b")).text
    for expected in ("added", "removed", "changed", "Unchanged:", "Label step", "test version 2"):
        assert expected in page, expected


async def test_the_values_that_differ_are_shown(browser, saved):
    page = (await browser.get(f"{PATH}/part?a=a&b=b&part=state", headers={"hx-request": "true"})).text
    assert "JSON, by value" in page
    assert '<del><bdi class="any">1</bdi></del>' in page
    assert '<ins><bdi class="any">2</bdi></ins>' in page
    assert "<html" in (await browser.get(f"{PATH}/part?a=a&b=b&part=state")).text
    assert (await browser.get(f"{PATH}/part?a=a&b=b&part=gone")).status_code == 404


async def test_without_a_first_one_it_is_the_one_before(browser, saved):
    assert 'value="a"' in (await browser.get(f"{PATH}?b=b")).text
    assert "No checkpoint before it" in (await browser.get(f"{PATH}?b=a")).text
    assert "Which checkpoints?" in (await browser.get(PATH)).text
    assert "The same checkpoint twice" in (await browser.get(f"{PATH}?a=a&b=a")).text


async def test_a_checkpoint_that_is_gone_is_said(client, browser, saved):
    await client.delete("n", "w", "a")
    page = await browser.get(f"{PATH}?a=a&b=b")
    assert page.status_code == 200
    assert "deleted" in page.text
