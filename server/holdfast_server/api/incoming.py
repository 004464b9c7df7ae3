"""The payload of a streamed save on its way in, which outlives a stream that breaks.

A chunk is taken wholly or not at all, whatever happens to the call that brought it. So when the stream
breaks the upload is kept, and the retry of the same request goes on where it stopped.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, NoReturn

from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import calls, requests
from holdfast_server.api.admission import Place
from holdfast_server.api.errors import InvalidRequestError
from holdfast_server.api.malformed import refuse_malformed
from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.payload import PartUpload
from holdfast_server.stores.base import ObjectStore

# Of a stream on its way to the store, in the buffers of gRPC and of the store's library.
_HELD_BYTES = 32 << 20


class StreamEndedError(InvalidRequestError):
    """A stream ended before its `finish`."""


async def attended(
    messages: AsyncIterator[api.SaveStreamRequest], place: Place
) -> AsyncGenerator[api.SaveStreamRequest]:
    """Yield the messages of a stream, and count what they hold in memory.

    Raises:
        HoldfastError: DEADLINE_EXCEEDED: the next one did not come; OVERLOADED: there is no room for it.

    """
    received = 0
    while True:
        try:
            async with asyncio.timeout(calls.IDLE_SECONDS):
                message = await anext(messages, None)
        except TimeoutError:
            what = f"the stream sent nothing for {calls.IDLE_SECONDS:.0f} s; the same request id goes on from there"
            raise HoldfastError(Reason.DEADLINE_EXCEEDED, what, idle_seconds=calls.IDLE_SECONDS) from None
        if message is None:
            return
        if isinstance(message, api.SaveStreamRequest):
            received += message.ByteSize()
            place.hold(min(received, _HELD_BYTES))
        yield message


class Incoming:
    """The parts of a payload, as they arrive.

    Args:
        store: where they go.
        keys: the workflow.
        base_revision: the head's revision when the upload began.
        inline_limit_bytes: how much may stay in the marker.
        payload_limit_bytes: how much there may be.

    Attributes:
        size_bytes: how much has arrived.

    """

    def __init__(
        self,
        store: ObjectStore,
        keys: WorkflowKeys,
        base_revision: int,
        *,
        inline_limit_bytes: int,
        payload_limit_bytes: int,
    ) -> None:
        self._store = store
        self._keys = keys
        self._base_revision = base_revision
        self._inline_limit_bytes = inline_limit_bytes
        self._payload_limit_bytes = payload_limit_bytes
        self._stored: list[StoredPart] = []
        self._names: set[str] = set()
        self._upload: PartUpload | None = None
        self._step: asyncio.Task[None] | None = None
        self._waiting: asyncio.Timeout | None = None
        self._is_taken_over = False
        self.size_bytes = 0

    @property
    def position(self) -> tuple[int, int]:
        """Which part comes next, counted from 0, and from which byte."""
        return len(self._stored), 0 if self._upload is None else self._upload.size_bytes

    async def receive(self, messages: AsyncIterator[api.SaveStreamRequest]) -> list[StoredPart]:
        """Take in chunks up to the message that ends them, and make the parts durable.

        Raises:
            StreamEndedError: they ended early.
            InvalidRequestError: a message is wrong or out of place.

        """
        while (message := await self._next(messages)) is not None:
            refuse_malformed(message)
            kind = message.WhichOneof("message")
            if kind == "finish":
                await self._require_end(messages, message.finish)
                await self._whole(self._close_part())
                return self._stored
            if kind is None:
                raise requests.invalid("message", "a message of the stream is empty")
            if kind == "header":
                raise requests.invalid("header", "must not come twice")
            await self._take(message)
        raise StreamEndedError("finish", "the stream ended without it; nothing was saved")

    async def _next(self, messages: AsyncIterator[api.SaveStreamRequest]) -> api.SaveStreamRequest | None:
        """Return the next message, None at the end of the stream.

        Raises:
            HoldfastError: UPLOAD_LOST: another stream of the same request goes on with this upload.

        """
        if not self._is_taken_over:
            try:
                async with asyncio.timeout(None) as self._waiting:
                    return await anext(messages, None)
            except TimeoutError:
                if not self._is_taken_over:
                    raise
            finally:
                self._waiting = None
        raise HoldfastError(Reason.UPLOAD_LOST, "another stream of the same request goes on with this upload")

    def end_stream(self) -> None:
        """End the stream that the upload comes by, before its next message, so that another one may go on."""
        self._is_taken_over = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def go_on(self) -> None:
        """Let another stream bring the rest."""
        self._is_taken_over = False

    @property
    def has_failed(self) -> bool:
        """Whether something went wrong, so that no retry can go on from here."""
        step = self._step
        return step is not None and step.done() and (step.cancelled() or step.exception() is not None)

    async def settle(self) -> bool:
        """Wait for what has begun; whether all of it went well, so that a retry can go on from here."""
        if self._step is None:
            return True
        await asyncio.wait([self._step])
        return not self.has_failed

    async def discard(self) -> None:
        """Forget what is not durable yet."""
        await self.settle()
        if self._upload is not None:
            await self._upload.__aexit__(None, None, None)
            self._upload = None

    async def _take(self, message: api.SaveStreamRequest) -> None:
        name = message.chunk.part
        goes_on = self._upload is not None and self._upload.name == name
        data = self._checked(message.chunk, goes_on=goes_on)
        if not goes_on:
            await self._whole(self._close_part())
            self._open_part(name)
        assert self._upload is not None
        self.size_bytes += len(data)
        await self._whole(self._upload.write(data))

    def _checked(self, chunk: checkpoint_pb2.Chunk, *, goes_on: bool) -> bytes:
        """The data of a chunk that may come now. Nothing is changed for one that may not: a retry goes on from here."""
        if not goes_on:
            requests.part_name("chunk.part", chunk.part, set(self._names))
            if len(self._names) == requests.MAX_PARTS:
                raise requests.invalid("chunk.part", f"begins one part more than the limit of {requests.MAX_PARTS}")
        data = requests.chunk(chunk, self._upload.size_bytes if self._upload is not None and goes_on else 0)
        if self.size_bytes + len(data) > self._payload_limit_bytes:
            _too_large(self._payload_limit_bytes)
        return data

    def _open_part(self, name: str) -> None:
        self._names.add(name)
        room = self._inline_limit_bytes - sum(len(part.inline) for part in self._stored)
        self._upload = PartUpload(self._store, self._keys, self._base_revision, name, room)

    async def _close_part(self) -> None:
        if self._upload is None:
            return
        part = await self._upload.finish()
        await self._upload.__aexit__(None, None, None)
        self._upload = None
        self._stored.append(part)

    async def _whole(self, step: Coroutine[Any, Any, None]) -> None:
        """Run a step to its end, also when the call is cancelled meanwhile; `settle` waits for it then."""
        self._step = asyncio.ensure_future(step)
        await asyncio.shield(self._step)

    async def _require_end(self, messages: AsyncIterator[api.SaveStreamRequest], finish: api.SaveStreamFinish) -> None:
        if self._upload is None and not self._stored:
            raise requests.invalid("chunk", "the stream must hold at least one part")
        if finish.size_bytes != self.size_bytes:
            raise requests.invalid(
                "finish.size_bytes", f"is {finish.size_bytes}, the chunks held {self.size_bytes} bytes"
            )
        if await anext(messages, None) is not None:
            raise requests.invalid("message", "nothing may come behind finish")


def _too_large(limit: int) -> NoReturn:
    raise InvalidRequestError("chunk.data", f"the payload passes the limit of {limit} bytes", Reason.PAYLOAD_TOO_LARGE)
