"""A save that repeats an earlier call with the same content is answered as the earlier one was."""

import io
import os

import pytest
from holdfast import CheckpointIdReusedError, Format, RequestIdReusedError

FORMAT = Format("test", 1)
SMALL, LARGE = b"state", os.urandom(2_500_000)
SAVED = {"format": FORMAT, "labels": {"a": "b"}, "parent_id": "p"}


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    "repeated", [{"request_id": "r"}, {"checkpoint_id": "c"}, {"request_id": "r", "checkpoint_id": "c"}]
)
async def test_a_repeated_save_with_the_same_content_commits_once(client, data, repeated):
    first = await client.save("n", "w", data, **SAVED, **repeated)
    again = await client.save("n", "w", io.BytesIO(data), **SAVED, **repeated)
    assert (again.checkpoint_id, again.revision, again.replayed) == (first.checkpoint_id, first.revision, True)
    assert again.labels == {"a": "b"}
    assert len([found async for found in client.list("n", "w")]) == 1


@pytest.mark.parametrize(
    ("repeated", "error"),
    [({"request_id": "r"}, RequestIdReusedError), ({"checkpoint_id": "c"}, CheckpointIdReusedError)],
)
@pytest.mark.parametrize(
    "change",
    [
        {"data": b"other"},
        {"data": {"": SMALL, "more": b""}},
        {"labels": {"a": "c"}},
        {"labels": None},
        {"parent_id": "q"},
        {"format": Format("test", 2)},
        {"pinned": True},
    ],
)
async def test_a_repeated_save_with_other_content_is_refused(client, repeated, error, change):
    await client.save("n", "w", SMALL, **SAVED, **repeated)
    with pytest.raises(error):
        await client.save("n", "w", **({"data": SMALL} | SAVED | repeated | change))


async def test_a_request_id_that_was_used_for_another_checkpoint_id_is_refused(client):
    await client.save("n", "w", SMALL, **SAVED, request_id="r", checkpoint_id="one")
    with pytest.raises(RequestIdReusedError):
        await client.save("n", "w", SMALL, **SAVED, request_id="r", checkpoint_id="two")


async def test_a_repeated_save_of_a_checkpoint_that_was_changed_in_the_store_is_refused(client, stored):
    await client.save("n", "w", SMALL, **SAVED, checkpoint_id="c")
    found, parts = await stored.load("w")
    await stored.save(found, {"": parts[""][:-1]})
    with pytest.raises(CheckpointIdReusedError):
        await client.save("n", "w", SMALL, **SAVED, checkpoint_id="c")
