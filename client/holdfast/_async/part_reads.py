"""Reading bytes of one part as they are stored, piece by piece, from any offset."""

import hashlib
from collections.abc import AsyncIterator

from crc32c import crc32c

from holdfast._async import blocking
from holdfast._async.calls import Attempt
from holdfast._async.transport import Transport
from holdfast._core.answers import MAX_BYTES, answered, require_loaded, require_sizes
from holdfast._core.errors import of_reason, unavailable
from holdfast._core.received import chosen_part, mismatch, transit_error
from holdfast._core.seen_heads import Watch
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# The most that one request brings. A piece is in memory as a whole.
PIECE_BYTES = 4 << 20


class PartReads:
    """The calls of one client that read ranges of parts."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def pieces(
        self, request: api.LoadRequest, part: str | None, offset: int, length: int | None, timeout: float | None
    ) -> AsyncIterator[bytes]:
        """Iterate over the bytes of a part from an offset on.

        Args:
            request: names the checkpoint; its view is metadata.
            part: the part; None for the default part or the only one.
            offset: the first byte. At or after the part's end there are no bytes.
            length: the most bytes to read; None for all.
            timeout: seconds for each request, retries included.

        Raises:
            InvalidRequestError: the checkpoint has no such part.
            CheckpointCorruptedError: the bytes are damaged. A digest of the part is checked if all of it is read.
            HoldfastError: a subclass for each other reason.

        """
        answer = await self._transport.unary("Load", request, timeout)
        require_loaded(answer, request)
        checkpoint = answer.checkpoint
        require_sizes(checkpoint, MAX_BYTES)
        info = chosen_part(checkpoint, part)
        end = info.size_bytes if length is None else min(info.size_bytes, offset + length)
        digest = hashlib.sha256() if offset == 0 and end == info.size_bytes else None
        while offset < end:
            size = min(PIECE_BYTES, end - offset)
            piece = await self._piece(checkpoint, info.name, offset, size, timeout)
            offset += size
            if digest is not None:
                await blocking.in_thread_if_large([piece], digest.update, piece)
                # The last piece is returned only if the whole part is right.
                if offset == end and digest.digest() != info.sha256:
                    raise mismatch(checkpoint.checkpoint_id, info.name)
            yield piece

    async def _piece(
        self, checkpoint: checkpoint_pb2.Checkpoint, part: str, offset: int, size: int, timeout: float | None
    ) -> bytes:
        """Read a range with one stream. A stream that breaks is begun again."""
        request = api.LoadStreamRequest(
            namespace=checkpoint.namespace,
            workflow_id=checkpoint.workflow_id,
            checkpoint_id=checkpoint.checkpoint_id,
            fallback=api.FALLBACK_NONE,
            ranges=[api.PartRange(part=part, offset=offset, length=size)],
        )
        watch = self._transport.heads.watch(request)

        found = bytearray()

        async def send(attempt: Attempt) -> None:
            found.clear()
            stream = self._transport.stub.LoadStream(
                request, timeout=attempt.timeout_seconds, metadata=attempt.metadata
            )
            try:
                await _receive(stream, request, checkpoint, watch, found)
            finally:
                # Otherwise the stream stays open after its reader has left.
                stream.cancel()

        await self._transport.call("LoadStream", send, watch=watch, timeout_seconds=self._transport.seconds(timeout))
        return bytes(found)


async def _receive(
    stream: AsyncIterator[api.LoadStreamResponse],
    request: api.LoadStreamRequest,
    checkpoint: checkpoint_pb2.Checkpoint,
    watch: Watch,
    found: bytearray,
) -> None:
    """Append the bytes of a stream, which must be those of the range that was requested, and no others."""
    wanted = request.ranges[0]
    has_header = is_finished = False
    async for message in stream:
        kind = answered(message).WhichOneof("message")
        if is_finished or has_header == (kind == "header"):
            raise transit_error("its messages are out of order")
        if kind == "header":
            require_loaded(message.header, request)
            watch.require(message.header)
            if message.header.checkpoint.revision != checkpoint.revision:
                raise of_reason("CHECKPOINT_DELETED", "the checkpoint was replaced while it was read")
            has_header = True
        elif kind == "chunk":
            chunk = message.chunk
            # Each access to the field copies it.
            data = chunk.data
            if chunk.part != wanted.part or chunk.offset != wanted.offset + len(found) or crc32c(data) != chunk.crc32c:
                raise transit_error(f"a chunk of part {wanted.part[:200]!r} does not match")
            if not data or len(found) + len(data) > wanted.length:
                raise transit_error(f"a chunk of part {wanted.part[:200]!r} has {len(data)} bytes")
            found += data
        elif kind == "finish":
            if message.finish.size_bytes != len(found) or len(found) != wanted.length:
                raise transit_error("something is missing")
            is_finished = True
    if not is_finished:
        raise unavailable("the stream ended before its payload did")
