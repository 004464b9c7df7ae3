"""Any history of calls by two clients at two servers raises no false alarm, and a rollback of it is noticed."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import holdfast
import pytest
from holdfast import RolledBackError
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.memory import MemoryStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.budget import amount

FORMAT = holdfast.Format("test", 1)
KEYS = WorkflowKeys("n", "w")
# More than any grace.
LATER_SECONDS = 10**8
MISSING = (holdfast.CheckpointNotFoundError, holdfast.CheckpointDeletedError, holdfast.WorkflowNotFoundError)

CALLS = {
    "save": lambda client: client.save("n", "w", b"x", format=FORMAT),
    "save much": lambda client: client.save("n", "w", bytes(1_200_000), format=FORMAT),
    "save one id again": lambda client: client.save("n", "w", b"y", format=FORMAT, checkpoint_id="one", replace=True),
    "load": lambda client: client.load("n", "w", fallback=True),
    "load one id": lambda client: client.load("n", "w", "one"),
    "validate": lambda client: client.validate("n", "w"),
    "list": lambda client: _read(client.list("n", "w")),
    "acquire": lambda client: client.acquire_writer("n", "w"),
    "prune": lambda client: client.prune("n", "w", keep_last=2),
    "delete": lambda client: client.delete("n", "w", "one"),
    "purge": lambda client: client.delete("n", "w", "one", purge=True),
    "delete all": lambda client: client.delete_checkpoints("n", "w", all=True),
    "delete the workflow": lambda client: client.delete_workflow("n", "w"),
    "purge the workflow": lambda client: client.delete_workflow("n", "w", purge=True),
}
# What happens to the store while no server has it open.
WORK = ("restart", "collect", "repair")


async def _read(found):
    return [each async for each in found]


class World:
    """A store, and two servers on it with a client each.

    Args:
        folder: the folder of the store; None for a store in memory.

    """

    def __init__(self, folder):
        self._folder = folder
        self._memory = MemoryStore()
        self._servers = AsyncExitStack()
        self._ports = [0, 0]
        self.clients = []

    @asynccontextmanager
    async def store(self):
        if self._folder is None:
            yield self._memory
        else:
            async with FileStore.open(self._folder) as store:
                yield store

    async def start(self):
        store = await self._servers.enter_async_context(self.store())
        for index, port in enumerate(self._ports):
            config = Config(listen=f"127.0.0.1:{port}", store="file:///not-used", drain_seconds=1)
            self._ports[index] = await self._servers.enter_async_context(serving(config, store))

    async def stop(self):
        await self._servers.aclose()

    async def run(self, steps, removed):
        await self.start()
        try:
            self.clients = [holdfast.AsyncClient(f"127.0.0.1:{port}", timeout=20) for port in self._ports]
            for name, index in steps:
                if name in WORK:
                    await self._work(name)
                    continue
                with suppress(MISSING):
                    await CALLS[name](self.clients[index])
            await self._roll_back(removed)
        finally:
            for client in self.clients:
                await client.close()
            await self.stop()

    async def _work(self, name):
        await self.stop()
        async with self.store() as store:
            log = Log(store)
            if name == "collect":
                await collect(log, KEYS, Retention(keep_last=2), time.time() + LATER_SECONDS)
            elif name == "repair":
                assert (await fsck(log, repair=True)).findings == 0
        await self.start()

    async def _roll_back(self, removed):
        """Remove the newest markers. Each client must notice it if, and only if, it has seen one of them."""
        await self.stop()
        async with self.store() as store:
            for _ in range(removed):
                newest = await Log(store).newest(KEYS)
                if newest is not None:
                    await store.delete(KEYS.marker(newest))
            left = await Log(store).newest(KEYS) or 0
        await self.start()
        for client in self.clients:
            seen = client.head("n", "w")
            must_notice = seen is not None and seen.revision > left
            try:
                await client.validate("n", "w", depth="marker")
                noticed = False
            except RolledBackError:
                noticed = True
            assert noticed == must_notice, (seen, left)


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_history_raises_no_false_alarm_and_its_rollback_is_noticed(kind):
    step = st.tuples(st.sampled_from([*CALLS, "save", "save", "load", "load", *WORK]), st.integers(0, 1))

    @settings(
        max_examples=amount(small=6, full=60),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(step, min_size=4, max_size=25), st.integers(0, 4))
    def check(steps, removed):
        with TemporaryDirectory() as folder:
            world = World(Path(folder) / "store" if kind == "folder" else None)
            asyncio.run(world.run(steps, removed))

    check()
