"""Uploads of streamed saves by principal and request: those with an open stream, and those whose stream broke.

A retry continues where an earlier stream of its request stopped. If that stream is still open, because the server has
not noticed that its connection broke, the retry takes the upload over. Of two uploads of one request the larger one is
kept. Uploads that one namespace leaves never displace those of another namespace. If calls in flight need the memory of
what is parked, the oldest upload that holds some is dropped.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast_server.api.streaming.incoming import Incoming, StreamEndedError
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.stores.base import StoreUnavailableError

_MAX_PARKED = 64
_MAX_PARKED_OF_NAMESPACE = 16
_PARKED_SECONDS = 60.0
# A retry can continue the upload after these failures.
_RESUMABLE = frozenset(
    {Reason.COMMIT_UNKNOWN, Reason.DEADLINE_EXCEEDED, Reason.OVERLOADED, Reason.SHUTTING_DOWN, Reason.UPLOAD_LOST}
)


class UploadKey(NamedTuple):
    """Names an upload. It belongs to the principal that began it: another one with the same request id has its own.

    Attributes:
        keys: the workflow.
        request_id: the request of the save.
        principal: the name of the caller.

    """

    keys: WorkflowKeys
    request_id: str
    principal: str


@dataclass(slots=True, eq=False)
class _OpenUpload:
    """An upload with an open stream, and the event that the stream has ended."""

    incoming: Incoming
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Uploads:
    """The uploads of a server. One whose stream broke is parked for a minute."""

    def __init__(self) -> None:
        self._open: dict[UploadKey, list[_OpenUpload]] = {}
        self._parked: dict[UploadKey, tuple[Incoming, asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def stream(self, request: UploadKey, incoming: Incoming) -> AsyncIterator[None]:
        """Run the stream of an upload. If it breaks, park the upload for the retry; otherwise discard what is left."""
        opened = _OpenUpload(incoming)
        self._open.setdefault(request, []).append(opened)
        try:
            yield
        except (asyncio.CancelledError, TimeoutError, StreamEndedError, StoreUnavailableError):
            self.park(request, incoming)
            raise
        except HoldfastError as error:
            if error.reason in _RESUMABLE:
                self.park(request, incoming)
            else:
                self.discard(incoming)
            raise
        except BaseException:
            self.discard(incoming)
            raise
        else:
            incoming.release()
        finally:
            opened.ended.set()
            self._open[request].remove(opened)
            if not self._open[request]:
                del self._open[request]

    def park(self, request: UploadKey, incoming: Incoming) -> None:
        """Keep an upload for its retry, unless it has failed or a larger one is already parked."""
        parked = self._parked.get(request)
        is_smaller = parked is not None and parked[0].size_bytes >= incoming.size_bytes
        # A failed upload is discarded at once: its bytes may be the space that a full disk lacks.
        if incoming.has_failed or is_smaller or not self._make_room(request):
            self.discard(incoming)
            return
        timer = asyncio.get_running_loop().call_later(_PARKED_SECONDS, self._drop, request)
        self._parked[request] = (incoming, timer)

    async def take(self, request: UploadKey) -> Incoming | None:
        """Return the upload of a request if it is here and undamaged. If its stream is still open, end it."""
        while request in self._open:
            opened = self._open[request][-1]
            opened.incoming.end_stream()
            await opened.ended.wait()
        parked = self._parked.pop(request, None)
        if parked is None:
            return None
        incoming, timer = parked
        timer.cancel()
        try:
            is_resumable = await incoming.settle()
        except asyncio.CancelledError:
            self.park(request, incoming)
            raise
        if is_resumable:
            return incoming
        self.discard(incoming)
        return None

    def reclaim(self) -> bool:
        """Drop the oldest parked upload that holds memory. Return whether there was one."""
        holding = next((key for key, (incoming, _) in self._parked.items() if incoming.held_bytes), None)
        if holding is None:
            return False
        self._drop(holding)
        return True

    def discard(self, incoming: Incoming) -> None:
        """Discard an upload, in its own task because the caller may be cancelled."""
        incoming.release()
        task = asyncio.create_task(incoming.discard())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Discard all parked uploads."""
        for request in list(self._parked):
            self._drop(request)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_room(self, request: UploadKey) -> bool:
        """Drop the request's own upload, and the oldest of its namespace if too many are parked.

        Returns:
            Whether there is room.

        """
        self._drop(request)
        own = [key for key in self._parked if key.keys.namespace == request.keys.namespace]
        if own and (len(own) >= _MAX_PARKED_OF_NAMESPACE or len(self._parked) >= _MAX_PARKED):
            self._drop(own[0])
        return len(self._parked) < _MAX_PARKED

    def _drop(self, request: UploadKey) -> None:
        parked = self._parked.pop(request, None)
        if parked is not None:
            incoming, timer = parked
            timer.cancel()
            self.discard(incoming)
