"""Writes the indexes of ids off the path of the saves: one task per workflow at a time, each with a deadline.

An object that is not written costs loads by id more reads, and is written after a later save, by any process.
"""

import asyncio
import logging

from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import fresh_ids
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.base import StoreError

_LOG = logging.getLogger("holdfast.server")

# Each takes at most two objects of memory.
_MOST_TASKS = 16
_SECONDS = 30.0
_CLOSE_SECONDS = 1.0


class Indexer:
    """The indexes that a process is writing.

    Args:
        log: the log.

    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: dict[WorkflowKeys, asyncio.Task[None]] = {}

    def extend_soon(self, entry: Entry) -> None:
        """Begin to extend the index of a workflow, if a committed entry has filled its next block."""
        if len(self._tasks) < _MOST_TASKS and fresh_ids.is_due(self._log, entry) and entry.keys not in self._tasks:
            self._tasks[entry.keys] = asyncio.create_task(self._extend(entry))

    async def close(self) -> None:
        """Wait a second for what is being written, and give up the rest."""
        tasks = list(self._tasks.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _extend(self, entry: Entry) -> None:
        deadline = asyncio.get_running_loop().time() + _SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                await fresh_ids.extend(self._log, entry, deadline=deadline)
        except (HoldfastError, StoreError, TimeoutError) as error:
            extra = {"namespace": entry.keys.namespace, "workflow_id": entry.keys.workflow_id, "error": str(error)}
            _LOG.warning("the index of checkpoint ids could not be extended; a later save does it", extra=extra)
        finally:
            del self._tasks[entry.keys]
