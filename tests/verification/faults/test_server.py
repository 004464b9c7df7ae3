"""The client while its server is killed."""

import asyncio

import holdfast

from tests.support.ports import free_port
from tests.support.servers import start

FORMAT = holdfast.Format("test", 1)


async def test_a_call_survives_a_server_that_is_killed_and_restarted(tmp_path):
    listen = f"127.0.0.1:{free_port()}"
    process, target = start(tmp_path.as_uri(), listen=listen)
    data = bytes(range(256)) * 200_000
    half_way = asyncio.Event()

    def progress(done, total):
        if done > total // 2:
            loop.call_soon_threadsafe(half_way.set)

    loop = asyncio.get_running_loop()
    async with holdfast.AsyncClient(target, timeout=60) as client:
        small = await client.save("n", "w", b"before", format=FORMAT)
        save = asyncio.create_task(client.save("n", "w", data, format=FORMAT, progress=progress))
        await half_way.wait()
        process.kill()
        process.wait()
        process, _ = await asyncio.to_thread(start, tmp_path.as_uri(), listen=listen)
        try:
            saved = await save
            assert (await client.load("n", "w")).data == data
            assert [each.revision async for each in client.list("n", "w")] == [saved.revision, small.revision] == [2, 1]
            load = asyncio.create_task(client.load("n", "w"))
            await asyncio.sleep(0)
            process.kill()
            process.wait()
            process, _ = await asyncio.to_thread(start, tmp_path.as_uri(), listen=listen)
            assert (await load).data == data
        finally:
            process.terminate()
            assert process.wait(30) == 0
