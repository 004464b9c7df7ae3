"""What only a folder can get wrong."""

import asyncio
import os
import signal

import pytest
import uvloop
from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.draft import TEMPORARY_FOLDER, Draft, Drafts, Folder
from holdfast_server.stores.file import FileStore

from tests.servers import children


async def test_a_lane_that_dies_fails_its_batch_and_is_replaced(tmp_path):
    before = set(children(os.getpid()))
    async with FileStore.open(tmp_path) as store:
        assert await store.put_if_absent("a/1", b"one")
        [lane] = set(children(os.getpid())) - before
        os.kill(lane, signal.SIGSTOP)
        waiting = asyncio.create_task(store.put_if_absent("a/2", b"two"))
        await asyncio.sleep(0)
        os.kill(lane, signal.SIGKILL)
        with pytest.raises(StoreUnavailableError, match="died"):
            await waiting
        assert await store.put_if_absent("a/3", b"three")
        assert [each.key for each in await store.list("a/")] == ["a/1", "a/3"]
    assert set(children(os.getpid())) == before


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_lane_that_died_at_rest_is_replaced_before_anybody_notices(run, tmp_path):
    async def scenario():
        before = set(children(os.getpid()))
        async with FileStore.open(tmp_path) as store:
            for number in range(3):
                assert await store.put_if_absent(f"a/{number}", b"x")
                [lane] = set(children(os.getpid())) - before
                os.kill(lane, signal.SIGKILL)
                while lane in children(os.getpid()):  # noqa: ASYNC110 - the kernel sends no event for it
                    await asyncio.sleep(0.01)
            assert await store.put_if_absent("a/last", b"x")

    run(scenario())


async def test_one_object_that_cannot_be_written_does_not_fail_its_batch(tmp_path):
    async with FileStore.open(tmp_path) as store:
        assert await store.put_if_absent("file", b"")
        keys = ["a/1", "file/below", "a/2", "a/1", "b/1"]
        results = await asyncio.gather(*(store.put_if_absent(key, b"x") for key in keys), return_exceptions=True)
        assert isinstance(results[1], StoreUnavailableError)
        assert results[0] is not results[3]
        assert [results[2], results[4]] == [True, True]


async def test_a_caller_that_gives_up_disturbs_nobody(tmp_path):
    async with FileStore.open(tmp_path) as store:
        puts = [asyncio.create_task(store.put_if_absent(f"a/{number}", b"x" * 60_000)) for number in range(100)]
        await asyncio.sleep(0)
        for put in puts[::2]:
            put.cancel()
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert results[1::2] == [True] * 50
        assert await store.put_if_absent("a/last", b"x")


async def test_nothing_is_left_in_the_temporary_folder(tmp_path):
    async with FileStore.open(tmp_path) as store:
        await store.put_if_absent("a", b"x")
        async with store.put("b") as writer:
            await writer.write(b"never finished")
    assert list((tmp_path / TEMPORARY_FOLDER).iterdir()) == []
    assert not (tmp_path / "b").exists()


def test_a_file_system_without_nameless_files_gets_named_ones(tmp_path):
    drafts = Drafts(tmp_path)
    drafts._temporary = tmp_path / TEMPORARY_FOLDER
    with drafts.draft("a/b") as draft:
        draft.append(b"x")
        draft.sync()
        assert len(list((tmp_path / TEMPORARY_FOLDER).iterdir())) == 1
        assert draft.link()
    with Draft(Folder(str(tmp_path / "a")), "b", drafts._temporary) as late:
        assert not late.link()
    assert (tmp_path / "a" / "b").read_bytes() == b"x"
    assert list((tmp_path / TEMPORARY_FOLDER).iterdir()) == []
