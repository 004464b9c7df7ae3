"""The feeds of a service: one for each workflow that is watched, for as long as it has watchers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from holdfast_server.api.admission import Admission
from holdfast_server.api.watching.feed import Feed, Pace
from holdfast_server.api.watching.heads import SharedHeads
from holdfast_server.protocol.checkpoints.follow import Follower
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log

# How often all feeds together look for commits of other processes, at most.
_LOOKS_PER_SECOND = 200
# For so many calls that may be in flight, one watch may read.
_CALLS_PER_READER = 16


@dataclass(slots=True)
class _Shared:
    """A feed with its task, and the number of its watchers."""

    feed: Feed
    task: asyncio.Task[None]
    watchers: int = 0


class Watches:
    """The watches of a service.

    Args:
        log: the logs.
        admission: knows whether the server drains.
        pace: how often to look for commits of other processes.

    Attributes:
        reading: held while a watch reads the log itself, at its begin and while it is far behind. Watches are not
            counted as calls, so that this limits what they work at once.
        heads: the heads with which watches begin.

    """

    def __init__(self, log: Log, admission: Admission, pace: Pace) -> None:
        self._log = log
        self._admission = admission
        self._pace = pace
        self.reading = asyncio.Semaphore(max(1, admission.capacity.calls // _CALLS_PER_READER))
        self.heads = SharedHeads(log, self.reading)
        self._shared: dict[WorkflowKeys, _Shared] = {}

    @property
    def feeds(self) -> int:
        """How many workflows are watched."""
        return len(self._shared)

    def drain(self) -> None:
        """Let every watch end with SHUTTING_DOWN. The admission drains already."""
        for shared in self._shared.values():
            shared.feed.wake()

    async def close(self) -> None:
        """End the feeds. No watch is running any more."""
        await self.heads.close()
        tasks = [shared.task for shared in self._shared.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def require_no_drain(self) -> None:
        """End a watch of a server that shuts down.

        Raises:
            HoldfastError: SHUTTING_DOWN.

        """
        self._admission.require_no_drain()

    @asynccontextmanager
    async def feed(self, keys: WorkflowKeys, revision: int, entry: Entry | None) -> AsyncIterator[Feed]:
        """Share the feed of a workflow while the block runs.

        Args:
            keys: the workflow.
            revision: the head's revision, which was read just now; 0 without a log.
            entry: the head; None if there is none or it is damaged.

        """
        shared = self._shared.get(keys)
        if shared is None or shared.task.done():
            digest = b"" if entry is None else entry.digest
            follower = Follower(self._log, keys, revision, digest, entry=entry)
            feed = Feed(follower, self._pace, self._shortest_interval)
            shared = self._shared[keys] = _Shared(feed, asyncio.create_task(feed.run()))
            self._log.followed[keys] = feed.hear
        elif entry is not None:
            shared.feed.hear(entry)
        shared.watchers += 1
        try:
            yield shared.feed
        finally:
            shared.watchers -= 1
            if not shared.watchers:
                if self._shared.get(keys) is shared:
                    del self._shared[keys]
                    self._log.followed.pop(keys, None)
                shared.task.cancel()
                await asyncio.wait([shared.task])

    def _shortest_interval(self) -> float:
        """Return how long a feed must wait between two looks, so that many feeds do not burden the store."""
        return len(self._shared) / _LOOKS_PER_SECOND
