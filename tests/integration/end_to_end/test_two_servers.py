"""Two servers on one store."""

import asyncio

import holdfast
import pytest

from tests.support.servers import start

FORMAT = holdfast.Format("test", 1)


async def test_two_servers_on_one_store_lose_no_save_and_assign_no_revision_twice(store_url):
    first, second = start(store_url), start(store_url)
    try:
        async with holdfast.AsyncClient(first[1]) as one, holdfast.AsyncClient(second[1]) as other:
            saves = [
                client.save("n", "w", b"%d" % number, format=FORMAT) for number in range(20) for client in (one, other)
            ]
            saved = await asyncio.gather(*saves)
            assert sorted(each.revision for each in saved) == list(range(1, 41))
            assert {each.checkpoint_id for each in saved} == {each.checkpoint_id async for each in one.list("n", "w")}
            writer = await one.acquire_writer("n", "w")
            await other.acquire_writer("n", "w")
            with pytest.raises(holdfast.WriterFencedError):
                await one.save("n", "w", b"late", format=FORMAT, epoch=writer.epoch)
            large = bytes(range(256)) * 100_000
            await other.save("n", "w", large, format=FORMAT)
            assert (await one.load("n", "w")).data == large
    finally:
        for process, _ in (first, second):
            process.terminate()
            process.wait(15)
