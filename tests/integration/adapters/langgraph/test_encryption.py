"""The saver with a keyring: nothing that a graph saves is readable in the store, and everything works as without."""

from typing import Any

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.required import require_engine
from tests.support.visible import SECRET, require_sealed

require_engine("langgraph.graph")

from holdfast.adapters.langgraph import HoldfastSaver  # noqa: E402

from tests.integration.adapters.langgraph.savers import checkpoint, config, listed, put  # noqa: E402


@pytest.fixture
def keyring() -> holdfast.Keyring:
    return holdfast.Keyring(LocalKey.generate())


async def test_a_thread_with_writes_is_encrypted_and_comes_back(target, namespace, keyring):
    async with HoldfastSaver.from_target(target, namespace=namespace, encryption=keyring) as saver:
        first = await put(saver, config(), checkpoint("1", text=SECRET), source=SECRET)
        await saver.aput_writes(first, [("text", SECRET), ("large", SECRET * 500_000)], "task")
        second = await put(saver, first, checkpoint("2", text=f"{SECRET} again"), source="loop")
        found = await saver.aget_tuple(first)
        assert found.checkpoint["channel_values"] == {"text": SECRET}
        assert [write[1:] for write in found.pending_writes] == [("text", SECRET), ("large", SECRET * 500_000)]
        assert await listed(saver, config(), filter={"source": SECRET}) == ["1"]
        assert (await saver.aget_tuple(config())).config == second
    await require_sealed(target, namespace)
    async with HoldfastSaver.from_target(target, namespace=namespace) as saver:
        with pytest.raises(holdfast.KeyringRequiredError):
            await saver.aget_tuple(config())


async def test_a_thread_is_copied_by_the_saver_itself(target, namespace, keyring):
    async with HoldfastSaver.from_target(target, namespace=namespace, encryption=keyring) as saver:
        first: Any = await put(saver, config("from"), checkpoint("1", text=SECRET))
        await saver.aput_writes(first, [("text", SECRET)], "task")
        await put(saver, first, checkpoint("2", text="two"))
        await saver.acopy_thread("from", "to")
        copied = await saver.aget_tuple(config("to", checkpoint_id="1"))
        assert copied.checkpoint["channel_values"] == {"text": SECRET}
        assert copied.pending_writes == [("task", "text", SECRET)]
        assert (await saver.aget_tuple(config("to"))).parent_config == config("to", checkpoint_id="1")
        with pytest.raises(holdfast.RevisionConflictError):
            await saver.acopy_thread("from", "to")
    await require_sealed(target, namespace)


async def test_a_thread_is_read_by_the_new_key_alone_once_its_data_keys_were_wrapped_again(target, namespace):
    old = LocalKey.generate("old")
    new = old.successor("new")
    async with HoldfastSaver.from_target(target, namespace=namespace, encryption=holdfast.Keyring(old)) as saver:
        first = await put(saver, config(), checkpoint("1", text=SECRET), source=SECRET)
        await saver.aput_writes(first, [("text", SECRET)], "task")
        second = await put(saver, first, checkpoint("2", text=f"{SECRET} again"), source="loop")
    async with holdfast.AsyncClient(target, encryption=holdfast.Keyring(new, old)) as client:
        done = await client.rewrap_keys(namespace)
    assert (done.checkpoints, done.data_keys, done.failed) == (2, 3, 0)
    async with HoldfastSaver.from_target(target, namespace=namespace, encryption=holdfast.Keyring(new)) as saver:
        assert (await saver.aget_tuple(first)).pending_writes == [("task", "text", SECRET)]
        assert (await saver.aget_tuple(config())).config == second
        assert await listed(saver, config(), filter={"source": SECRET}) == ["1"]
        await saver.acopy_thread("t", "copy")
        copied = await saver.aget_tuple(config("copy", checkpoint_id="1"))
        assert copied.pending_writes == [("task", "text", SECRET)]
        third = await put(saver, second, checkpoint("3", text="three"), source="loop")
        assert (await saver.aget_tuple(config())).config == third
    await require_sealed(target, namespace)
