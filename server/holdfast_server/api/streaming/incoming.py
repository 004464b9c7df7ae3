"""The payload of a streamed save as it arrives. It outlives a stream that breaks.

A chunk is stored whole or not at all, even if its call is cancelled. So an upload whose stream broke can be kept, and a
retry of the same request continues at its position.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import limits, requests
from holdfast_server.api.admission import HeldUpload, Permit
from holdfast_server.api.errors import InvalidRequestError
from holdfast_server.api.malformed import refuse_malformed
from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.invariants import MAX_ENCODED_BYTES
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.payload.encoding import HeldPart
from holdfast_server.protocol.payload.parts import PartUpload
from holdfast_server.stores.base import ObjectStore

# The most that one stream holds on its way to the store, in the buffers of gRPC and in the part that arrives.
_MAX_HELD_BYTES = 40 << 20
# The most that one upload holds until it is committed, so that parts can be stored as deltas. Later parts are stored as
# they are.
_MAX_DELTA_BYTES = 16 << 20


class StreamEndedError(InvalidRequestError):
    """A stream ended before its finish."""


async def receive_messages(
    messages: AsyncIterator[api.SaveStreamRequest], permit: Permit
) -> AsyncGenerator[api.SaveStreamRequest]:
    """Yield the messages of a stream, and count the memory that they take.

    Raises:
        HoldfastError: DEADLINE_EXCEEDED: the stream was idle for too long. OVERLOADED: there is no room for a message.

    """
    received_bytes = 0
    while True:
        try:
            async with asyncio.timeout(limits.IDLE_SECONDS):
                message = await anext(messages, None)
        except TimeoutError:
            idle = limits.IDLE_SECONDS
            problem = f"the stream sent nothing for {idle:.0f} s; retry with the same request id to resume it"
            raise HoldfastError(Reason.DEADLINE_EXCEEDED, problem, idle_seconds=idle) from None
        if message is None:
            return
        if isinstance(message, api.SaveStreamRequest):
            size_bytes = message.ByteSize()
            received_bytes += size_bytes
            permit.hold(min(received_bytes, _MAX_HELD_BYTES))
            await permit.pace(size_bytes)
        yield message


class Incoming:
    """The parts of a payload, as they arrive.

    Args:
        store: where the parts are stored.
        keys: the workflow.
        base_revision: the head's revision when the upload began.
        inline_limit_bytes: how many bytes of payload may stay in the marker.
        payload_limit_bytes: how many bytes the payload may have.
        held: counts the parts that are held in memory until they are committed, as far as there is room; None to hold
            none.

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
        held: HeldUpload | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._base_revision = base_revision
        self._inline_limit_bytes = inline_limit_bytes
        self._payload_limit_bytes = payload_limit_bytes
        self._held = held
        # Of held parts, what is kept in any case and not counted.
        self._uncounted_bytes = 0
        self._stored: list[StoredPart | HeldPart] = []
        self._names: set[str] = set()
        self._upload: PartUpload | None = None
        self._step: asyncio.Task[None] | None = None
        self._waiting: asyncio.Timeout | None = None
        self._is_taken_over = False
        self.size_bytes = 0

    @property
    def held_bytes(self) -> int:
        """How many counted bytes are held in memory until the parts are committed."""
        return 0 if self._held is None else self._held.held_bytes

    def release(self) -> None:
        """Count nothing as held from now on: the parts are committed, or the upload ends."""
        if self._held is not None:
            self._held.release()

    @property
    def position(self) -> tuple[int, int]:
        """The part that comes next, counted from 0, and its next byte."""
        return len(self._stored), 0 if self._upload is None else self._upload.size_bytes

    async def receive(self, messages: AsyncIterator[api.SaveStreamRequest]) -> list[StoredPart | HeldPart]:
        """Store or hold the chunks up to the finish, and make the stored parts durable.

        Raises:
            StreamEndedError: the stream ended early.
            InvalidRequestError: a message is wrong or out of place.
            HoldfastError: UPLOAD_LOST: another stream of the same request has taken over.

        """
        while (message := await self._next(messages)) is not None:
            refuse_malformed(message)
            kind = message.WhichOneof("message")
            if kind == "finish":
                await self._require_end(messages, message.finish)
                await self._complete(self._close_part())
                return self._stored
            if kind is None:
                raise requests.invalid("message", "must not be empty")
            if kind == "header":
                raise requests.invalid("header", "must not come twice")
            await self._take(message)
        raise StreamEndedError("finish", "the stream ended without it; nothing was saved")

    async def _next(self, messages: AsyncIterator[api.SaveStreamRequest]) -> api.SaveStreamRequest | None:
        """Return the next message, None at the end of the stream.

        Raises:
            HoldfastError: UPLOAD_LOST: another stream of the same request has taken over.

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
        raise HoldfastError(Reason.UPLOAD_LOST, "another stream of the same request continues this upload")

    def begin_stream(self) -> None:
        """Let a stream bring the rest of the payload."""
        self._is_taken_over = False

    def end_stream(self) -> None:
        """End the current stream before its next message, so that another stream can continue the upload."""
        self._is_taken_over = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    @property
    def has_failed(self) -> bool:
        """Whether a step failed, so that no retry can continue the upload."""
        step = self._step
        return step is not None and step.done() and (step.cancelled() or step.exception() is not None)

    async def settle(self) -> bool:
        """Wait for the step in progress. Return whether a retry can continue the upload."""
        if self._step is None:
            return True
        await asyncio.wait([self._step])
        return not self.has_failed

    async def discard(self) -> None:
        """Discard the part that is not durable yet."""
        self.release()
        await self.settle()
        if self._upload is not None:
            await self._upload.__aexit__(None, None, None)
            self._upload = None

    async def _take(self, message: api.SaveStreamRequest) -> None:
        name = message.chunk.part
        continues = self._upload is not None and self._upload.name == name
        data = self._check_chunk(message.chunk, continues=continues)
        if not continues:
            await self._complete(self._close_part())
            self._open_part(name)
        assert self._upload is not None
        self.size_bytes += len(data)
        await self._complete(self._upload.write(data, message.chunk.crc32c))

    def _check_chunk(self, chunk: checkpoint_pb2.Chunk, *, continues: bool) -> bytes:
        """Return the data of a chunk that may come now. A refused chunk changes nothing, so that a retry can resume."""
        if not continues:
            requests.part_name("chunk.part", chunk.part, set(self._names))
            if len(self._names) == limits.MAX_PARTS:
                raise requests.invalid("chunk.part", f"expected at most {limits.MAX_PARTS} parts, got one more")
        data = requests.chunk(chunk, self._upload.size_bytes if self._upload is not None and continues else 0)
        if self.size_bytes + len(data) > self._payload_limit_bytes:
            problem = f"expected a payload of at most {self._payload_limit_bytes} bytes, got more"
            raise InvalidRequestError("chunk.data", problem, Reason.PAYLOAD_TOO_LARGE)
        return data

    def _open_part(self, name: str) -> None:
        self._names.add(name)
        inline_room = self._inline_limit_bytes - self._uncounted_bytes
        inline_room -= sum(len(part.inline) for part in self._stored if isinstance(part, StoredPart))
        self._upload = PartUpload(
            self._store,
            self._keys,
            self._base_revision,
            name,
            inline_room,
            held_limit_bytes=min(_MAX_DELTA_BYTES - self.held_bytes, MAX_ENCODED_BYTES),
            room=self._held,
        )

    async def _close_part(self) -> None:
        if self._upload is None:
            return
        held = None if self._held is None else self._upload.take()
        if held is not None:
            self._uncounted_bytes += held.size_bytes - self._upload.held_bytes
        part = await self._upload.finish() if held is None else held
        await self._upload.__aexit__(None, None, None)
        self._upload = None
        self._stored.append(part)

    async def _complete(self, step: Coroutine[Any, Any, None]) -> None:
        """Run a step to its end even if the call is cancelled; then `settle` waits for it."""
        self._step = asyncio.ensure_future(step)
        await asyncio.shield(self._step)

    async def _require_end(self, messages: AsyncIterator[api.SaveStreamRequest], finish: api.SaveStreamFinish) -> None:
        if self._upload is None and not self._stored:
            raise requests.invalid("chunk", "the stream must hold at least one part")
        if finish.size_bytes != self.size_bytes:
            raise requests.invalid(
                "finish.size_bytes", f"expected {self.size_bytes}, the size of all chunks, got {finish.size_bytes}"
            )
        if await anext(messages, None) is not None:
            raise requests.invalid("message", "must not follow the finish")
