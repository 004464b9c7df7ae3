"""Payloads on their way out, as streams of chunks with bounded memory."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NoReturn

from crc32c import crc32c
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import calls, requests
from holdfast_server.api.calls import Call, Context
from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.payload import read_part
from holdfast_server.stores.base import ObjectStore


async def send_parts(
    store: ObjectStore,
    keys: WorkflowKeys,
    parts: Sequence[StoredPart],
    ranges: Sequence[api.PartRange],
) -> AsyncGenerator[api.LoadStreamResponse]:
    """The chunks of the parts or ranges that were asked for, and the message that ends them.

    Raises:
        InvalidRequestError: a range names no part, or lies outside of it.
        HoldfastError: CHECKPOINT_CORRUPTED.

    """
    if len(ranges) > requests.MAX_RANGES:
        raise requests.invalid("ranges", f"has {len(ranges)} ranges, the limit is {requests.MAX_RANGES}")
    by_name = {part.name: part for part in parts}
    wanted = ranges or [api.PartRange(part=part.name) for part in parts]
    for index, each in enumerate(wanted):
        _require_range(index, each, by_name)
    total = 0
    for each in wanted:
        part = by_name[each.part]
        offset = each.offset
        if part.size_bytes == 0:
            yield _chunk(each.part, 0, b"")
        async with aclosing(read_part(store, keys, part, offset, each.length or None)) as blocks:
            async for block in blocks:
                for start in range(0, len(block), requests.CHUNK_BYTES):
                    piece = block[start : start + requests.CHUNK_BYTES]
                    yield _chunk(each.part, offset, piece)
                    offset += len(piece)
                    total += len(piece)
    yield api.LoadStreamResponse(finish=api.LoadStreamFinish(size_bytes=total))


class StuckReaderError(Exception):
    """A caller takes no message.

    Attributes:
        sending: sends the message that the caller does not take. No status reaches the caller before it.

    """

    def __init__(self, sending: asyncio.Task[None]) -> None:
        super().__init__()
        self.sending = sending


async def write(context: Context, message: api.LoadStreamResponse) -> None:
    """Send a message, and wait until the caller has room for it.

    Raises:
        StuckReaderError: the caller reads nothing.

    """
    sending = asyncio.ensure_future(context.write(message))
    try:
        done, _ = await asyncio.wait([sending], timeout=calls.IDLE_SECONDS)
    except asyncio.CancelledError:
        sending.cancel()
        raise
    if not done:
        raise StuckReaderError(sending)
    sending.result()


async def end_stuck(call: Call, sending: asyncio.Task[None]) -> NoReturn:
    """End a call whose caller reads nothing: others get its place at once, the caller its status once it reads.

    Raises:
        HoldfastError: DEADLINE_EXCEEDED.

    """
    call.place.leave()
    await sending
    what = f"the caller read nothing for {calls.IDLE_SECONDS:.0f} s"
    raise HoldfastError(Reason.DEADLINE_EXCEEDED, what, idle_seconds=calls.IDLE_SECONDS)


def _chunk(part: str, offset: int, data: bytes) -> api.LoadStreamResponse:
    chunk = checkpoint_pb2.Chunk(part=part, offset=offset, data=data, crc32c=crc32c(data))
    return api.LoadStreamResponse(chunk=chunk)


def _require_range(index: int, wanted: api.PartRange, parts: dict[str, StoredPart]) -> None:
    field = f"ranges[{index}]"
    part = parts.get(wanted.part)
    if part is None:
        raise requests.invalid(f"{field}.part", f"the checkpoint has no part {wanted.part!r}")
    if not 0 <= wanted.offset <= part.size_bytes:
        raise requests.invalid(f"{field}.offset", f"is {wanted.offset}, must be 0 to {part.size_bytes}")
    if wanted.length < 0:
        raise requests.invalid(f"{field}.length", f"is {wanted.length}, must not be negative")
