"""Uploads of streamed saves by their request: those with an open stream, and those whose stream broke.

A retry goes on where an earlier stream of its request stopped. If that stream is still open, because its connection
broke and the server has not noticed, the retry takes its upload over. Of two uploads of one request the fuller one is
kept. What one namespace leaves behind never pushes out what another one left.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from holdfast_server.api.incoming import Incoming, StreamEndedError
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.stores.base import StoreUnavailableError

_MOST = 64
_MOST_OF_NAMESPACE = 16
_SECONDS = 60.0
# Failures behind which the same upload can go on.
_GOES_ON_AFTER = frozenset(
    {Reason.COMMIT_UNKNOWN, Reason.DEADLINE_EXCEEDED, Reason.OVERLOADED, Reason.SHUTTING_DOWN, Reason.UPLOAD_LOST}
)

# The workflow, and the request's id.
Key = tuple[WorkflowKeys, str]


@dataclass(slots=True, eq=False)
class _Open:
    """An upload with an open stream, and when that has ended."""

    incoming: Incoming
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Uploads:
    """The uploads of a server. Those whose stream broke are kept for a minute."""

    def __init__(self) -> None:
        self._open: dict[Key, list[_Open]] = {}
        self._parked: dict[Key, tuple[Incoming, asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def stream(self, request: Key, incoming: Incoming) -> AsyncIterator[None]:
        """Run the stream of an upload. When it breaks, the upload is kept for the retry; otherwise it is discarded."""
        opened = _Open(incoming)
        self._open.setdefault(request, []).append(opened)
        try:
            yield
        except (asyncio.CancelledError, TimeoutError, StreamEndedError, StoreUnavailableError):
            self.park(request, incoming)
            raise
        except HoldfastError as error:
            if error.reason in _GOES_ON_AFTER:
                self.park(request, incoming)
            else:
                self.discard(incoming)
            raise
        except BaseException:
            self.discard(incoming)
            raise
        finally:
            opened.ended.set()
            self._open[request].remove(opened)
            if not self._open[request]:
                del self._open[request]

    def park(self, request: Key, incoming: Incoming) -> None:
        """Keep an upload for its retry, unless it has failed or a fuller one is kept already."""
        kept = self._parked.get(request)
        is_emptier = kept is not None and kept[0].size_bytes >= incoming.size_bytes
        # What a failed upload has written so far may be what a full disk lacks.
        if incoming.has_failed or is_emptier or not self._make_room(request):
            self.discard(incoming)
            return
        timer = asyncio.get_running_loop().call_later(_SECONDS, self._drop, request)
        self._parked[request] = (incoming, timer)

    async def take(self, request: Key) -> Incoming | None:
        """Return the upload that a request began, if it is here and whole so far. Its stream ends, if it is open."""
        while request in self._open:
            opened = self._open[request][-1]
            opened.incoming.end_stream()
            await opened.ended.wait()
        found = self._parked.pop(request, None)
        if found is None:
            return None
        incoming, timer = found
        timer.cancel()
        try:
            is_whole = await incoming.settle()
        except asyncio.CancelledError:
            self.park(request, incoming)
            raise
        if is_whole:
            return incoming
        self.discard(incoming)
        return None

    def discard(self, incoming: Incoming) -> None:
        """Forget an upload, in a task of its own: the caller may be cancelled."""
        task = asyncio.create_task(incoming.discard())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget all of them."""
        for request in list(self._parked):
            self._drop(request)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_room(self, request: Key) -> bool:
        """Drop the request's own upload, or the oldest of its namespace if that has too many.

        Returns:
            Whether there is room.

        """
        self._drop(request)
        own = [each for each in self._parked if each[0].namespace == request[0].namespace]
        if own and (len(own) >= _MOST_OF_NAMESPACE or len(self._parked) >= _MOST):
            self._drop(own[0])
        return len(self._parked) < _MOST

    def _drop(self, request: Key) -> None:
        found = self._parked.pop(request, None)
        if found is not None:
            found[1].cancel()
            self.discard(found[0])
