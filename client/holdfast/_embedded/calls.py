"""Calls of embedded clients: what passes between a caller and the loop of the service.

A caller gives a call to its session, and gets events until the call has ended. A stream has room for a few messages in
each direction, so that neither side can fill the memory.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf.message import Message
from holdfast_server.api.service import CheckpointService

Metadata = tuple[tuple[str, str], ...]

# Messages of a stream on their way: a chunk has up to a megabyte.
ROOM = 2

# The kinds of events. An event is its kind and a value.
METADATA = "metadata"
MESSAGE = "message"
TAKEN = "taken"
RESULT = "result"
ERROR = "error"


class ClosedError(Exception):
    """The client was closed while a call was running."""


class Call:
    """One call, the context with which the service serves it, and the iterator over the messages of its caller.

    Args:
        method: the method's name in the service.
        request: the request; None for a call whose messages come one by one.
        timeout: the seconds that the call may take.
        metadata: the call's metadata, as text.
        deliver: passes an event to the caller, from the loop of the service. Raises RuntimeError if the caller's loop
            is closed.

    Attributes:
        peer: names the connection of the caller's client.
        headers: the call's metadata.
        end: the deadline, in the time of `time.monotonic`.
        task: what runs the call, on the loop of the service.

    """

    def __init__(
        self,
        method: str,
        request: Any,
        timeout: float,
        metadata: Metadata,
        deliver: Callable[[str, Any], None],
    ) -> None:
        self._method = method
        # The caller changes its request for the next attempt, while the service may still read this one.
        self._request = None if request is None else _copied(request)
        self.end = time.monotonic() + timeout
        self.peer = ""
        self.headers = dict(metadata)
        self._deliver = deliver
        self.task: asyncio.Task[None] | None = None
        self._incoming: deque[Any] = deque()
        self._arrived: asyncio.Event | None = None
        self._room: asyncio.Semaphore | None = None

    def begin(self, peer: str) -> None:
        """Prepare the call. Called on the loop of the service, as are all methods below."""
        self.peer = peer
        self._arrived = asyncio.Event()
        self._room = asyncio.Semaphore(ROOM)

    async def run(self, service: CheckpointService) -> Any:
        """Serve the call, and return the answer.

        Raises:
            CallFailedError: it failed.

        """
        if self._request is None:
            return await service.save_stream(self, self)
        if self._method == "LoadStream":
            return await service.load_stream(self._request, self)
        if self._method == "WatchWorkflow":
            return await service.watch_workflow(self._request, self)
        return await service.unary(self._method, self._request, self)

    def certificate(self) -> Mapping[str, Iterable[bytes]]:
        """Return nothing: no connection has verified a certificate."""
        return {}

    def time_remaining(self) -> float:
        """Return the seconds up to the deadline."""
        return self.end - time.monotonic()

    def emit(self, kind: str, value: Any) -> None:
        """Pass an event to the caller. If there is no caller left, end the call."""
        try:
            self._deliver(kind, value)
        except RuntimeError:
            if self.task is not None:
                self.task.cancel()

    def put(self, message: Message | None) -> None:
        """Take a message of the caller; None is the end of the stream."""
        assert self._arrived is not None
        self._incoming.append(message)
        self._arrived.set()

    def __aiter__(self) -> "Call":
        return self

    async def __anext__(self) -> Any:
        """Return the next message of the caller."""
        assert self._arrived is not None
        while not self._incoming:
            self._arrived.clear()
            await self._arrived.wait()
        message = self._incoming[0]
        if message is None:
            raise StopAsyncIteration
        self._incoming.popleft()
        self.emit(TAKEN, None)
        return message

    async def write(self, message: Message) -> None:
        """Pass a message to the caller when it has room for one more."""
        assert self._room is not None
        await self._room.acquire()
        self.emit(MESSAGE, message)

    def make_room(self) -> None:
        """Note that the caller has taken a message."""
        assert self._room is not None
        self._room.release()

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Pass initial metadata to the caller."""
        self.emit(METADATA, metadata)


def _copied(request: Any) -> Any:
    copy = type(request)()
    copy.CopyFrom(request)
    return copy
