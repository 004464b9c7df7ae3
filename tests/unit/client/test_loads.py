"""Loads that meet a change of what they load."""

import pytest
from holdfast import CheckpointDeletedError, Format

from tests.support.damage import damage_newest

FORMAT = Format("test", 1)


@pytest.fixture
def when_its_blob_is_read(served):
    """Has something done, once, before the first read of a blob."""

    def prepare(action):
        async def before(operation, key):
            if operation == "get" and "/blob/" in key:
                served.store.before = nothing
                await action()

        async def nothing(operation, key):
            pass

        served.store.before = before

    return prepare


@pytest.mark.parametrize("size", [100_000, 3 << 20])
async def test_a_load_gives_what_replaced_its_checkpoint_meanwhile(client, served, when_its_blob_is_read, size):
    async def replace():
        damage_newest(served.folder)
        await client.save("n", "w", b"b" * (size + 1), format=FORMAT, checkpoint_id="c", replace=True)

    await client.save("n", "w", b"a" * size, format=FORMAT, checkpoint_id="c")
    when_its_blob_is_read(replace)
    loaded = await client.load("n", "w", "c")
    assert (loaded.data == b"b" * (size + 1), loaded.info.revision) == (True, 2)


@pytest.mark.parametrize("size", [100_000, 3 << 20])
async def test_a_load_of_what_was_deleted_meanwhile_says_so(client, served, when_its_blob_is_read, size):
    async def delete():
        damage_newest(served.folder)
        await client.delete("n", "w", "c")

    await client.save("n", "w", b"a" * size, format=FORMAT, checkpoint_id="c")
    when_its_blob_is_read(delete)
    with pytest.raises(CheckpointDeletedError):
        await client.load("n", "w", "c")


async def test_a_load_of_the_newest_gives_the_one_before_where_that_was_deleted_meanwhile(
    client, served, when_its_blob_is_read
):
    async def delete():
        damage_newest(served.folder)
        await client.delete("n", "w", "newest")

    await client.save("n", "w", b"older", format=FORMAT)
    await client.save("n", "w", b"a" * 100_000, format=FORMAT, checkpoint_id="newest")
    when_its_blob_is_read(delete)
    assert (await client.load("n", "w")).data == b"older"
