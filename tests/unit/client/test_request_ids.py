"""Request ids in programs whose tests replace every source of randomness."""

import random
import uuid

import holdfast
import pytest

FORMAT = holdfast.Format("test", 1)


@pytest.fixture
def fixed_ids(monkeypatch):
    """Fix all UUIDs and set a seed, as tests of engines do. Return the list of drawn ids."""
    fixed = uuid.UUID(int=1)
    drawn = []
    for name in ("uuid1", "uuid3", "uuid4", "uuid5"):
        monkeypatch.setattr(uuid, name, lambda *_: drawn.append(1) or fixed)
    random.seed(1)
    return drawn


async def test_calls_of_a_program_with_patched_uuids_have_different_request_ids(client, fixed_ids):
    for number in range(3):
        random.seed(1)
        saved = await client.save("n", "w", b"%d" % number, format=FORMAT, checkpoint_id=f"c{number}")
        assert (saved.revision, saved.replayed) == (number + 1, False)
        await client.attach("n", "w", f"c{number}", [holdfast.Record("key", b"x")])
    await client.delete("n", "w", "c0")
    await client.delete("n", "w", "c1")
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["c2"]


async def test_the_client_does_not_call_the_patched_uuid_functions(client, fixed_ids):
    await client.save("n", "w", b"x", format=FORMAT)
    await client.copy_workflow("n", "w", "v")
    await client.acquire_writer("n", "w")
    await client.prune("n", "w")
    await client.delete_checkpoints("n", "w", all=True)
    await client.delete_workflow("n", "w")
    assert fixed_ids == []
