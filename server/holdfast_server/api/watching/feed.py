"""The newest entries of one watched workflow, found once for all its watchers in this process.

A feed reads the revision after the newest one that it knows, at intervals that grow while nothing happens. An entry
that this process commits or finds by another call wakes it at once. It keeps the newest entries as messages, within a
small bound; a watcher that is further behind reads the log itself.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from holdfast.v1 import checkpoint_pb2

from holdfast_server.api import log_entries
from holdfast_server.protocol.checkpoints.follow import Follower, RolledBackError
from holdfast_server.protocol.checkpoints.heads import NamedHead
from holdfast_server.protocol.checkpoints.log_pages import Item
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.stores.base import StoreError

# What a feed keeps for its watchers.
_MOST_ITEMS = 64
_MOST_BYTES = 64 << 10
# An interval without a commit is followed by one that is longer by this factor.
_GROWTH = 1.5
# How often the log is listed, which notices one that was rolled back or has a gap.
_LISTING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a feed looks for commits of other processes.

    Attributes:
        fastest_seconds: the interval after a commit.
        slowest_seconds: the interval after a long time without one.

    """

    fastest_seconds: float
    slowest_seconds: float


DEFAULT_PACE = Pace(0.1, 2.0)


@dataclass(frozen=True, slots=True)
class Sent:
    """An item as watchers get it.

    Attributes:
        revisions: its first and last revision.
        message: the message.
        digest: the digest of its entry; b"" if it has none.
        previous_digest: the digest of the entry before it, according to it; b"" if it has none.

    """

    revisions: tuple[int, int]
    message: checkpoint_pb2.LogEntry
    digest: bytes
    previous_digest: bytes

    @classmethod
    def of(cls, item: Item) -> "Sent":
        """Describe an item."""
        message = checkpoint_pb2.LogEntry()
        log_entries.describe(item, message)
        if item.entry is None:
            return cls(item.revisions, message, b"", b"")
        return cls(item.revisions, message, item.entry.digest, item.entry.marker.previous_digest)


class Feed:
    """The newest entries of one workflow.

    Args:
        follower: reads the log from its head on.
        pace: how often to look for commits.
        shortest_interval: returns the shortest interval at the moment, if it is longer than that of the pace.

    Attributes:
        changed: set when there is something new; then replaced by another event.
        error: why the feed has ended; None while it runs.
        rolled_back: the head of the log if it was rolled back; the feed has ended then.

    """

    def __init__(self, follower: Follower, pace: Pace, shortest_interval: Callable[[], float]) -> None:
        self.changed = asyncio.Event()
        self.error: HoldfastError | StoreError | None = None
        self.rolled_back: NamedHead | None = None
        self._follower = follower
        self._pace = pace
        self._shortest_interval = shortest_interval
        self._kept: deque[Sent] = deque()
        self._kept_bytes = 0
        self._heard = 0
        self._woken = asyncio.Event()

    @property
    def head(self) -> NamedHead:
        """The newest entry that is known."""
        return NamedHead(self._follower.revision, self._follower.digest)

    def hear(self, entry: Entry) -> None:
        """Note an entry that exists, and look at once if it is new."""
        if entry.revision > max(self._heard, self._follower.revision):
            self._heard = entry.revision
            self._woken.set()

    def wake(self) -> None:
        """Let all watchers look at their state."""
        self.changed.set()
        self.changed = asyncio.Event()

    def after(self, head: NamedHead) -> Sequence[Sent]:
        """Return the kept items that follow an entry; none if they are not kept, or follow another entry."""
        found: list[Sent] = []
        for each in self._kept:
            if found or each.revisions[0] == head.revision + 1:
                found.append(each)
        before = found[0].previous_digest if found else b""
        return () if before and head.digest and before != head.digest else found

    async def run(self) -> None:
        """Follow the log until it cannot be read."""
        loop = asyncio.get_running_loop()
        interval, listing_at = self._pace.fastest_seconds, loop.time() + _LISTING_SECONDS
        try:
            while True:
                self._woken.clear()
                is_due = loop.time() >= listing_at
                items = await (self._follower.look_again() if is_due else self._follower.read(self._heard))
                if is_due:
                    listing_at = loop.time() + _LISTING_SECONDS * random.uniform(0.8, 1.2)
                if items:
                    self._keep(items)
                    interval = self._pace.fastest_seconds
                    continue
                with suppress(TimeoutError):
                    longest = max(interval, self._shortest_interval())
                    async with asyncio.timeout(longest * random.uniform(0.8, 1.2)):
                        await self._woken.wait()
                interval = min(interval * _GROWTH, self._pace.slowest_seconds)
        except RolledBackError as found:
            self.rolled_back = found.head
        except (HoldfastError, StoreError) as error:
            self.error = error
        finally:
            self.wake()

    def _keep(self, items: Sequence[Item]) -> None:
        for each in items:
            sent = Sent.of(each)
            self._kept.append(sent)
            self._kept_bytes += sent.message.ByteSize()
        while len(self._kept) > _MOST_ITEMS or (self._kept_bytes > _MOST_BYTES and len(self._kept) > 1):
            self._kept_bytes -= self._kept.popleft().message.ByteSize()
        self.wake()
