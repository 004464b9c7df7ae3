"""Payloads as streams of chunks, in both directions, with bounded memory."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import NoReturn

from crc32c import crc32c
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import requests
from holdfast_server.api.calls import refuse_malformed
from holdfast_server.api.errors import InvalidRequestError
from holdfast_server.protocol.errors import Reason
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.payload import PartUpload, read_part
from holdfast_server.storage.v1.marker_pb2 import StoredPart
from holdfast_server.stores.base import ObjectStore


async def receive_parts(
    messages: AsyncIterator[api.SaveStreamRequest],
    store: ObjectStore,
    keys: WorkflowKeys,
    base_revision: int,
    *,
    inline_limit_bytes: int,
    payload_limit_bytes: int,
) -> list[StoredPart]:
    """Upload the parts that arrive behind a header, up to the message that ends them.

    Raises:
        InvalidRequestError: a message is wrong or out of place, or the stream ends early.

    """
    stored: list[StoredPart] = []
    seen: set[str] = set()
    total = 0
    message = await _next(messages)
    while message.WhichOneof("message") == "chunk":
        name = message.chunk.part
        requests.part_name("chunk.part", name, seen)
        if len(seen) > requests.MAX_PARTS:
            raise requests.invalid("chunk.part", f"begins part {len(seen)}, the limit is {requests.MAX_PARTS}")
        room = inline_limit_bytes - sum(len(part.inline) for part in stored)
        async with PartUpload(store, keys, base_revision, name, room) as upload:
            while message.WhichOneof("message") == "chunk" and message.chunk.part == name:
                data = requests.chunk(message.chunk, upload.size_bytes)
                total += len(data)
                if total > payload_limit_bytes:
                    _too_large(payload_limit_bytes)
                await upload.write(data)
                message = await _next(messages)
            # The last part is made durable only once the stream is known to be whole.
            if message.WhichOneof("message") == "finish":
                await _require_end(messages, message.finish, total)
            stored.append(await upload.finish())
    if message.WhichOneof("message") != "finish":
        raise requests.invalid(message.WhichOneof("message") or "message", "must not come behind the header")
    if not stored:
        raise requests.invalid("chunk", "the stream must hold at least one part")
    return stored


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


async def _next(messages: AsyncIterator[api.SaveStreamRequest]) -> api.SaveStreamRequest:
    message = await anext(messages, None)
    if message is None:
        raise requests.invalid("finish", "the stream ended without it; nothing was saved")
    refuse_malformed(message)
    if message.WhichOneof("message") is None:
        raise requests.invalid("message", "a message of the stream is empty")
    if message.WhichOneof("message") == "header":
        raise requests.invalid("header", "must not come twice")
    return message


async def _require_end(
    messages: AsyncIterator[api.SaveStreamRequest], finish: api.SaveStreamFinish, total: int
) -> None:
    if finish.size_bytes != total:
        raise requests.invalid("finish.size_bytes", f"is {finish.size_bytes}, the chunks held {total} bytes")
    if await anext(messages, None) is not None:
        raise requests.invalid("message", "nothing may come behind finish")


def _too_large(limit: int) -> NoReturn:
    raise InvalidRequestError(
        [("chunk.data", f"the payload passes the limit of {limit} bytes")], Reason.PAYLOAD_TOO_LARGE
    )
