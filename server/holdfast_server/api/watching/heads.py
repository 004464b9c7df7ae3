"""The heads with which watches begin. Watches of a workflow that begin together share a read.

Otherwise many watches of few workflows would all read the same heads when a server starts, or again and again while the
store fails.
"""

import asyncio

from holdfast_server.protocol.checkpoints.heads import NO_HEAD, NamedHead, Skipped, head_or_skip
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.base import StoreError

# How long a read waits after one that failed, so that the watches that begin again share it.
_PAUSE_SECONDS = 0.5

# The head, and its entry unless it is damaged.
Found = tuple[NamedHead, Entry | None]


class SharedHeads:
    """Reads heads, one read of a workflow at a time.

    Args:
        log: the logs.
        reading: held during each read.

    """

    def __init__(self, log: Log, reading: asyncio.Semaphore) -> None:
        self._log = log
        self._reading = reading
        self._running: dict[WorkflowKeys, asyncio.Task[Found]] = {}
        # The workflows whose last read has failed just now.
        self._failed: dict[WorkflowKeys, asyncio.TimerHandle] = {}
        # Those that have not begun to read, so that more watches may wait for them.
        self._next: dict[WorkflowKeys, asyncio.Task[Found]] = {}

    async def read(self, keys: WorkflowKeys) -> Found:
        """Return the head of a log, and its entry unless it is damaged. The read begins after this call.

        Raises:
            HoldfastError: LAYOUT_UNSUPPORTED; CHECKPOINT_CORRUPTED: the store cannot list the log.
            StoreError: the store cannot be used.

        """
        task = self._next.get(keys)
        if task is None:
            task = self._next[keys] = asyncio.create_task(self._read_after(self._running.get(keys), keys))
            # A task whose watches have all gone has nobody to report its failure to.
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End the reads. No watch waits for one any more."""
        for timer in self._failed.values():
            timer.cancel()
        tasks = [*self._running.values(), *self._next.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _read_after(self, before: asyncio.Task[Found] | None, keys: WorkflowKeys) -> Found:
        task = asyncio.current_task()
        assert task is not None
        try:
            if before is not None:
                await asyncio.wait([before])
            if keys in self._failed:
                await asyncio.sleep(_PAUSE_SECONDS)
            async with self._reading:
                del self._next[keys]
                self._running[keys] = task
                return await self._read(keys)
        except StoreError:
            if (timer := self._failed.pop(keys, None)) is not None:
                timer.cancel()
            self._failed[keys] = asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._failed.pop, keys, None)
            raise
        finally:
            for tasks in (self._next, self._running):
                if tasks.get(keys) is task:
                    del tasks[keys]

    async def _read(self, keys: WorkflowKeys) -> Found:
        damaged: list[Skipped] = []
        try:
            readable = await head_or_skip(self._log, keys, damaged)
        except HoldfastError as error:
            if error.reason is not Reason.WORKFLOW_NOT_FOUND:
                raise
            return NO_HEAD, None
        head = NamedHead.of(readable, damaged)
        return head, readable if readable is not None and readable.revision == head.revision else None
