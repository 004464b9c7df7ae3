"""Payloads of streamed loads: chunks in bounded memory, and callers that stop reading."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NoReturn

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import limits, requests
from holdfast_server.api.call import Call
from holdfast_server.api.call_context import StreamContext
from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.reads import read_pieces
from holdfast_server.stores.base import ObjectStore


async def part_messages(
    store: ObjectStore,
    bases: Bases,
    keys: WorkflowKeys,
    parts: Sequence[StoredPart],
    ranges: Sequence[api.PartRange],
    *,
    blocks_ahead: int,
) -> AsyncGenerator[api.LoadStreamResponse]:
    """Yield the chunks of the requested ranges, or of all parts if there are none, and then the finish.

    Args:
        store: the store.
        bases: content of bases that need not be read from the store.
        keys: the workflow.
        parts: the parts of the checkpoint.
        ranges: the requested ranges.
        blocks_ahead: how many blocks are read from the store while the chunks of another one are sent.

    Raises:
        InvalidRequestError: a range names an unknown part, or lies outside its part.
        HoldfastError: CHECKPOINT_CORRUPTED.

    """
    if len(ranges) > limits.MAX_RANGES:
        raise requests.invalid("ranges", f"expected at most {limits.MAX_RANGES} ranges, got {len(ranges)}")
    by_name = {part.name: part for part in parts}
    requested = ranges or [api.PartRange(part=part.name) for part in parts]
    for index, part_range in enumerate(requested):
        _require_range(index, part_range, by_name)
    total = 0
    for part_range in requested:
        part = by_name[part_range.part]
        if part.size_bytes == 0:
            yield _chunk(part.name, 0, b"", 0)
        pieces = read_pieces(
            store,
            keys,
            part,
            part_range.offset,
            part_range.length or None,
            piece_bytes=limits.CHUNK_BYTES,
            blocks_ahead=blocks_ahead,
            bases=bases,
        )
        async with aclosing(pieces):
            async for piece in pieces:
                yield _chunk(part.name, piece.offset, bytes(piece.data), piece.crc32c)
                total += len(piece.data)
    yield api.LoadStreamResponse(finish=api.LoadStreamFinish(size_bytes=total))


class StuckReaderError(Exception):
    """The caller accepts no message.

    Attributes:
        sending: the task that sends the message which the caller does not accept. No status reaches the caller before
            that message does.

    """

    def __init__(self, sending: asyncio.Task[None]) -> None:
        super().__init__()
        self.sending = sending


async def write(stream: StreamContext, message: api.LoadStreamResponse | api.WatchWorkflowResponse) -> None:
    """Send a message, and wait until the caller has room for it.

    Raises:
        StuckReaderError: the caller reads nothing.

    """
    sending = asyncio.ensure_future(stream.write(message))
    try:
        done, _ = await asyncio.wait([sending], timeout=limits.IDLE_SECONDS)
    except asyncio.CancelledError:
        sending.cancel()
        raise
    if not done:
        raise StuckReaderError(sending)
    sending.result()


async def end_stuck(call: Call, sending: asyncio.Task[None]) -> NoReturn:
    """End a call whose caller reads nothing. Its permit is released at once; the status is sent when the caller reads.

    Raises:
        HoldfastError: DEADLINE_EXCEEDED.

    """
    call.permit.release()
    await sending
    message = f"the caller read nothing for {limits.IDLE_SECONDS:.0f} s"
    raise HoldfastError(Reason.DEADLINE_EXCEEDED, message, idle_seconds=limits.IDLE_SECONDS)


def _chunk(part: str, offset: int, data: bytes, checksum: int) -> api.LoadStreamResponse:
    # Set in place: a message that is given another one copies it.
    response = api.LoadStreamResponse()
    response.chunk.part = part
    response.chunk.offset = offset
    response.chunk.data = data
    response.chunk.crc32c = checksum
    return response


def _require_range(index: int, part_range: api.PartRange, parts: dict[str, StoredPart]) -> None:
    field = f"ranges[{index}]"
    part = parts.get(part_range.part)
    if part is None:
        raise requests.invalid(f"{field}.part", f"the checkpoint has no part {part_range.part!r}")
    if not 0 <= part_range.offset <= part.size_bytes:
        raise requests.invalid(f"{field}.offset", f"expected 0 to {part.size_bytes}, got {part_range.offset}")
    if part_range.length < 0:
        raise requests.invalid(f"{field}.length", f"expected 0 or more, got {part_range.length}")
