"""Loads during which their checkpoint is replaced or deleted."""

import pytest
from holdfast import CheckpointDeletedError, Format

from tests.support.damage import damage_newest

FORMAT = Format("test", 1)


@pytest.fixture
def when_its_blob_is_read(served):
    """Return a function that sets an action to run once, before the next read of a blob."""

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
@pytest.mark.without_deltas
async def test_a_load_returns_a_concurrent_replacement_of_its_checkpoint(client, served, when_its_blob_is_read, size):
    async def replace():
        damage_newest(served.folder)
        await client.save("n", "w", b"b" * (size + 1), format=FORMAT, checkpoint_id="c", replace=True)

    await client.save("n", "w", b"a" * size, format=FORMAT, checkpoint_id="c")
    when_its_blob_is_read(replace)
    loaded = await client.load("n", "w", "c")
    assert (loaded.data == b"b" * (size + 1), loaded.info.revision) == (True, 2)


@pytest.mark.parametrize("size", [100_000, 3 << 20])
@pytest.mark.without_deltas
async def test_a_load_of_a_checkpoint_that_is_deleted_concurrently_says_so(client, served, when_its_blob_is_read, size):
    async def delete():
        damage_newest(served.folder)
        await client.delete("n", "w", "c")

    await client.save("n", "w", b"a" * size, format=FORMAT, checkpoint_id="c")
    when_its_blob_is_read(delete)
    with pytest.raises(CheckpointDeletedError):
        await client.load("n", "w", "c")


@pytest.mark.without_deltas
async def test_a_load_of_the_newest_returns_the_one_before_if_the_newest_is_deleted_concurrently(
    client, served, when_its_blob_is_read
):
    async def delete():
        damage_newest(served.folder)
        await client.delete("n", "w", "newest")

    await client.save("n", "w", b"older", format=FORMAT)
    await client.save("n", "w", b"a" * 100_000, format=FORMAT, checkpoint_id="newest")
    when_its_blob_is_read(delete)
    assert (await client.load("n", "w")).data == b"older"
