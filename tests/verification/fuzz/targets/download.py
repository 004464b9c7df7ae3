"""Streams of a load: for any messages, the parts match the header or the load fails, in bounded memory."""

from collections.abc import AsyncIterator
from hashlib import sha256

from crc32c import crc32c
from holdfast import HoldfastError
from holdfast._async.download import Download
from holdfast._core.received import Memory
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from tests.support.inline_loop import run
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader

_PARTS = {"": b"0123456789", "b": b"", "c": b"xyz"}


def check(data: bytes) -> None:
    run(_check(Reader(data)))


async def _check(reader: Reader) -> None:
    memory = Memory()
    download = Download(api.LoadStreamRequest(namespace="n", workflow_id="w"), memory, None)
    try:
        for _ in range(reader.below(3) + 1):
            if download.is_whole:
                break
            request = download.next_request()
            assert len(request.ranges) <= len(download.header.checkpoint.parts if download.header else ())
            await _receive(download, memory, [_message(reader) for _ in range(reader.below(12))])
        if not download.is_whole:
            return
        download.require_digests()
        parts = memory.take()
    except HoldfastError:
        return
    assert download.header is not None
    assert [*parts] == [part.name for part in download.header.checkpoint.parts]
    for part in download.header.checkpoint.parts:
        assert len(parts[part.name]) == part.size_bytes
        assert sha256(parts[part.name]).digest() == part.sha256


async def _receive(download: Download, memory: Memory, messages: list[api.LoadStreamResponse]) -> None:
    async def stream() -> AsyncIterator[api.LoadStreamResponse]:
        for message in messages:
            yield message
            _require_bound(download, memory)

    try:
        await download.receive(stream())
    except HoldfastError as error:
        if not error.retryable:
            raise
    else:
        # Only `finish` detects that something is missing.
        assert messages[-1].WhichOneof("message") == "finish"
        assert download.is_whole


def _require_bound(download: Download, memory: Memory) -> None:
    """Check that the download holds no more bytes than the header announces."""
    sizes = {} if download.header is None else {each.name: each.size_bytes for each in download.header.checkpoint.parts}
    for name, received in memory.parts.items():
        assert len(received.getvalue()) <= max(0, sizes.get(name, 0))


def header() -> api.LoadStreamResponse:
    checkpoint = checkpoint_pb2.Checkpoint(
        namespace="n",
        workflow_id="w",
        checkpoint_id="c",
        revision=1,
        parts=[
            checkpoint_pb2.PartInfo(name=name, size_bytes=len(data), sha256=sha256(data).digest(), crc32c=crc32c(data))
            for name, data in _PARTS.items()
        ],
        size_bytes=sum(map(len, _PARTS.values())),
    )
    return api.LoadStreamResponse(header=api.LoadStreamHeader(checkpoint=checkpoint))


def _message(reader: Reader) -> api.LoadStreamResponse:
    kind = reader.below(8)
    if kind == 0:
        return fill(api.LoadStreamResponse(), reader)
    if kind == 1:
        return api.LoadStreamResponse(finish=api.LoadStreamFinish(size_bytes=reader.integer()))
    if kind == 2:
        return header()
    if kind == 3:
        message = header()
        fill(message.header, reader)
        if reader.below(4):
            # A stream that is refused at once reaches nothing else.
            found = message.header.checkpoint
            found.namespace, found.workflow_id, message.header.fell_back = "n", "w", False
            found.size_bytes = sum(part.size_bytes for part in found.parts) & (2**63 - 1)
        return message
    name = reader.choice([*_PARTS, "unknown"])
    offset = reader.byte()
    data = _PARTS.get(name, b"")[offset : offset + reader.byte()] if kind < 6 else reader.raw()
    chunk = checkpoint_pb2.Chunk(part=name, offset=offset, data=data, crc32c=crc32c(data))
    if kind == 7:
        fill(chunk, reader)
    return api.LoadStreamResponse(chunk=chunk)
