"""Fairness between namespaces: what each has in flight, and whose call works next.

A namespace may hold as much as it leaves free for the others, of calls in flight, of bytes in memory and of turns to
work (dynamic thresholds: Choudhury and Hahne, 1998). Alone it gets half; two busy ones get a third each. So a namespace
that had nothing in flight finds room at once, whatever the others do and however long their calls take.

Calls that must wait for a turn wait in line of their namespace. The namespace with the fewest calls at work comes next;
of several with as few, the one that was not served for longest. A call keeps its turn until it ends, so that calls that
take long count as much as many short ones.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Share:
    """What one namespace has in flight.

    Attributes:
        namespace: its name.
        calls: how many calls are in flight, including streams, but not watches.
        streams: how many streams and watches are open.
        watches: how many of them are watches.
        bytes: how many bytes of payload they hold.
        working: how many of them have a turn.
        waiting: those that wait for one, in order.

    """

    namespace: str
    calls: int = 0
    streams: int = 0
    watches: int = 0
    bytes: int = 0
    working: int = 0
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)


class Shares:
    """The namespaces that have calls in flight. None is kept longer than its calls and watches."""

    def __init__(self) -> None:
        self._by_name: dict[str, Share] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def enter(self, namespace: str, *, is_stream: bool) -> Share:
        """Count a call for its namespace."""
        share = self._by_name.get(namespace)
        if share is None:
            share = self._by_name[namespace] = Share(namespace)
        share.calls += 1
        share.streams += is_stream
        return share

    def begin_watch(self, share: Share) -> None:
        """Count a call as a watch from now on."""
        share.calls -= 1
        share.streams += 1
        share.watches += 1

    def leave(self, share: Share, *, is_stream: bool, is_watch: bool = False) -> None:
        """Count a call or a watch as ended."""
        share.calls -= not is_watch
        share.streams -= is_stream or is_watch
        share.watches -= is_watch
        if not share.calls and not share.watches:
            del self._by_name[share.namespace]


class Turns:
    """Lets calls work in turns.

    Args:
        at_once: how many calls may work at once.

    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        # The namespaces that wait; the one that was not served for longest comes first.
        self._queue: dict[Share, None] = {}

    async def take(self, share: Share) -> None:
        """Wait for a turn of a namespace. The caller gives it back, unless this is cancelled."""
        if not share.waiting and self._may_work(share):
            self._begin(share)
            return
        if not share.waiting:
            self._queue[share] = None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        share.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(share, turn)
            else:
                self.give_back(share)
            raise

    def give_back(self, share: Share) -> None:
        """End the turn of a call, and give it to the next one."""
        share.working -= 1
        self._free += 1
        self._start_next()

    def _start_next(self) -> None:
        while True:
            candidates = [each for each in self._queue if self._may_work(each)]
            if not candidates:
                return
            # The first one of several.
            share = min(candidates, key=lambda each: each.working)
            turn = share.waiting.popleft()
            # To the end of the queue, if it waits for more.
            del self._queue[share]
            if share.waiting:
                self._queue[share] = None
            if not turn.done():
                self._begin(share)
                turn.set_result(None)

    def _may_work(self, share: Share) -> bool:
        """Return whether the namespace leaves as many turns free as it has."""
        return share.working < self._free

    def _begin(self, share: Share) -> None:
        share.working += 1
        self._free -= 1

    def _forget(self, share: Share, turn: "asyncio.Future[None]") -> None:
        """Take a cancelled call out of the line."""
        if turn in share.waiting:
            share.waiting.remove(turn)
            if not share.waiting:
                del self._queue[share]
