"""Payloads on their way in: chunks checked and put together, going on where a broken stream stopped.

The header tells how much there is, and no more than that is ever held. Only `finish` tells that a stream was whole.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping

from crc32c import crc32c

from holdfast._async import runtime
from holdfast._core.answers import answered, require_loaded, require_sizes
from holdfast._core.errors import HoldfastError, of_reason, unavailable
from holdfast._core.payload import Progress
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


class Download:
    """A payload in the making, over as many streams as it takes.

    Args:
        request: what to load.
        progress: called with the bytes received and all.
        announced: the checkpoint as an answer before the streams had it, if there was one.
        max_bytes: the most that is taken; None for what this machine's memory could hold.

    """

    def __init__(
        self,
        request: api.LoadStreamRequest,
        progress: Progress | None,
        *,
        announced: checkpoint_pb2.Checkpoint | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._request = request
        self._announced = announced
        self._progress = progress
        self._max_bytes = max_bytes
        self._received: dict[str, bytearray] = {}
        self._wanted: dict[str, int] = {}
        self._total = 0
        self.header: api.LoadStreamHeader | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing: another stream would have nothing to bring."""
        return self.header is not None and not any(self._is_missing(name) for name in self._wanted)

    def next_request(self) -> api.LoadStreamRequest:
        """What is still missing, of the very checkpoint that the first stream began."""
        if self.header is None:
            return self._request
        request = api.LoadStreamRequest()
        request.CopyFrom(self._request)
        request.checkpoint_id = self.header.checkpoint.checkpoint_id
        request.fallback = api.FALLBACK_NONE
        for name in self._wanted:
            if self._is_missing(name):
                request.ranges.add(part=name, offset=len(self._received.get(name, b"")))
        return request

    async def receive(self, stream: AsyncIterator[api.LoadStreamResponse]) -> None:
        """Take in a stream, to its end.

        Raises:
            CheckpointCorruptedError: what it brings is not what its header tells.
            InternalError: its header is not of the checkpoint that was asked for.
            PayloadTooLargeError: its header tells more than is taken.
            ServerUnavailableError: it ended before its `finish`, or the checkpoint was replaced since the last stream.

        """
        total_before = self._total
        has_header = is_finished = False
        async for message in stream:
            kind = answered(message).WhichOneof("message")
            if is_finished or has_header == (kind == "header"):
                raise _damaged("its messages are out of order")
            if kind == "header":
                self._begin(message.header)
                has_header = True
            elif kind == "chunk":
                self._take(message.chunk)
            elif kind == "finish":
                if message.finish.size_bytes != self._total - total_before or not self.is_whole:
                    raise _damaged("something is missing")
                is_finished = True
        if not is_finished:
            raise unavailable("the stream ended before its payload did")

    async def parts(self) -> dict[str, bytes]:
        """The parts, checked against their digests.

        Raises:
            CheckpointCorruptedError: one does not match.

        """
        assert self.header is not None
        return await runtime.in_thread(self._joined, self.header.checkpoint)

    def _joined(self, checkpoint: checkpoint_pb2.Checkpoint) -> dict[str, bytes]:
        # Piece by piece, so that no more than one part is in memory twice.
        parts = {name: bytes(self._received.pop(name)) for name in list(self._received)}
        return checked(checkpoint, parts)

    def _is_missing(self, name: str) -> bool:
        return name not in self._received or len(self._received[name]) < self._wanted[name]

    def _begin(self, header: api.LoadStreamHeader) -> None:
        """Take the header of the first stream; those of the others must be of the same checkpoint."""
        require_loaded(header, self._request)
        require_sizes(header.checkpoint, self._max_bytes)
        announced, found = self._announced, header.checkpoint
        if announced is not None and announced.revision == found.revision and announced != found:
            raise _damaged("its checkpoint is not the one that was announced")
        wanted = {part.name: part.size_bytes for part in header.checkpoint.parts}
        if self.header is None:
            self.header, self._wanted = header, wanted
            return
        before, now = self.header.checkpoint, header.checkpoint
        if now.checkpoint_id != before.checkpoint_id or (now.revision == before.revision and wanted != self._wanted):
            raise _damaged("it goes on with another checkpoint")
        if now.revision != before.revision:
            self._forget()
            raise unavailable("the checkpoint was replaced while it was loaded")

    def _forget(self) -> None:
        """Begin anew, with the next stream."""
        self.header, self._total = None, 0
        self._received.clear()
        self._wanted.clear()

    def _take(self, chunk: checkpoint_pb2.Chunk) -> None:
        size = len(self._received.get(chunk.part, b""))
        # Each look at the field copies it.
        data = chunk.data
        if chunk.offset != size or crc32c(data) != chunk.crc32c:
            raise _damaged(f"a chunk of part {chunk.part[:200]!r} does not match")
        if size + len(data) > self._wanted.get(chunk.part, -1):
            raise _damaged(f"part {chunk.part[:200]!r} has more bytes than its header tells")
        # An empty part has one empty chunk. More of them would never end.
        if not data and (self._wanted[chunk.part] or chunk.part in self._received):
            raise _damaged(f"a chunk of part {chunk.part[:200]!r} is empty")
        self._received.setdefault(chunk.part, bytearray()).extend(data)
        self._total += len(data)
        if self._progress is not None and self.header is not None:
            self._progress(self._total, self.header.checkpoint.size_bytes)


def _damaged(what: str) -> HoldfastError:
    return of_reason("CHECKPOINT_CORRUPTED", f"the payload was damaged on its way: {what}")


def checked(checkpoint: checkpoint_pb2.Checkpoint, received: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return parts, once they match the sizes and digests in the checkpoint's metadata.

    Raises:
        CheckpointCorruptedError: one does not match, or is not one of the checkpoint.

    """
    if unknown := received.keys() - {part.name for part in checkpoint.parts}:
        raise _damaged(f"part {min(unknown)[:200]!r} is not one of the checkpoint")
    for part in checkpoint.parts:
        data = received.get(part.name, b"")
        if len(data) != part.size_bytes or hashlib.sha256(data).digest() != part.sha256:
            raise of_reason(
                "CHECKPOINT_CORRUPTED",
                f"part {part.name!r} of checkpoint {checkpoint.checkpoint_id!r} does not match its size and digest",
                metadata={"checkpoint_id": checkpoint.checkpoint_id, "part": part.name},
            )
    return {part.name: received.get(part.name, b"") for part in checkpoint.parts}
