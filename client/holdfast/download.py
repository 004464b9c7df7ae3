"""Payloads on their way in: chunks checked and put together, going on where a broken stream stopped."""

import hashlib
from collections.abc import AsyncIterator, Mapping

from crc32c import crc32c

from holdfast import _aio as runtime
from holdfast.errors import of_reason
from holdfast.payload import Progress
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


class Download:
    """A payload in the making, over as many streams as it takes.

    Args:
        request: what to load.
        progress: called with the bytes received and all.

    """

    def __init__(self, request: api.LoadStreamRequest, progress: Progress | None) -> None:
        self._request = request
        self._progress = progress
        self._received: dict[str, list[bytes]] = {}
        self._sizes: dict[str, int] = {}
        self._total = 0
        self.header: api.LoadStreamHeader | None = None

    def next_request(self) -> api.LoadStreamRequest:
        """What is still missing, of the very checkpoint that the first stream began."""
        if self.header is None:
            return self._request
        request = api.LoadStreamRequest()
        request.CopyFrom(self._request)
        request.checkpoint_id = self.header.checkpoint.checkpoint_id
        request.fallback = api.FALLBACK_NONE
        for part in self.header.checkpoint.parts:
            have = self._sizes.get(part.name, 0)
            if have < part.size_bytes or part.name not in self._received:
                request.ranges.add(part=part.name, offset=have)
        return request

    async def receive(self, stream: AsyncIterator[api.LoadStreamResponse]) -> None:
        """Take in a stream, to its end."""
        async for message in stream:
            kind = message.WhichOneof("message")
            if kind == "header" and self.header is None:
                self.header = message.header
            elif kind == "chunk":
                self._take(message.chunk)

    async def parts(self) -> dict[str, bytes]:
        """The parts, checked against their digests.

        Raises:
            CheckpointCorruptedError: one does not match.

        """
        assert self.header is not None
        return await runtime.in_thread(self._joined, self.header.checkpoint)

    def _joined(self, checkpoint: checkpoint_pb2.Checkpoint) -> dict[str, bytes]:
        # Piece by piece, so that no more than one part is in memory twice.
        parts = {name: b"".join(self._received.pop(name)) for name in list(self._received)}
        return checked(checkpoint, parts)

    def _take(self, chunk: checkpoint_pb2.Chunk) -> None:
        size = self._sizes.get(chunk.part, 0)
        # Each look at the field copies it.
        data = chunk.data
        if chunk.offset != size or crc32c(data) != chunk.crc32c:
            raise of_reason("CHECKPOINT_CORRUPTED", f"a chunk of part {chunk.part!r} was damaged on its way")
        self._received.setdefault(chunk.part, []).append(data)
        self._sizes[chunk.part] = size + len(data)
        self._total += len(data)
        if self._progress is not None and self.header is not None:
            self._progress(self._total, self.header.checkpoint.size_bytes)


def checked(checkpoint: checkpoint_pb2.Checkpoint, received: Mapping[str, bytes]) -> dict[str, bytes]:
    """Parts, once they match the digests in the checkpoint's metadata.

    Raises:
        CheckpointCorruptedError: one does not match.

    """
    for part in checkpoint.parts:
        if hashlib.sha256(received.get(part.name, b"")).digest() != part.sha256:
            raise of_reason(
                "CHECKPOINT_CORRUPTED",
                f"part {part.name!r} of checkpoint {checkpoint.checkpoint_id!r} does not match its digest",
                metadata={"checkpoint_id": checkpoint.checkpoint_id, "part": part.name},
            )
    return {part.name: received.get(part.name, b"") for part in checkpoint.parts}
