# Generated from holdfast/_async/download.py by tools/async_to_sync.py; do not edit.
"""Incoming payloads: chunks are checked and joined, over as many streams as it takes.

A download never holds more than its header announces. Only `finish` proves that a stream was whole.
"""

import hashlib
from collections.abc import Iterator, Mapping

from crc32c import crc32c

from holdfast._core.answers import answered, require_loaded, require_sizes
from holdfast._core.errors import HoldfastError, of_reason, unavailable
from holdfast._core.payload import QUICK_BYTES, Progress
from holdfast._sync import runtime
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


class Download:
    """A payload that is being received.

    Args:
        request: the first request; later ones resume it.
        progress: called with the bytes received and all bytes.
        announced: the checkpoint from an answer before the first stream, if there was one.
        max_bytes: the most bytes to accept; None for what this machine's memory could hold.

    Attributes:
        header: the header of the first stream; None before it came.

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
        self._expected: dict[str, int] = {}
        self._total = 0
        self.header: api.LoadStreamHeader | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing, so that no further stream is needed."""
        return self.header is not None and not any(self._is_missing(name) for name in self._expected)

    def next_request(self) -> api.LoadStreamRequest:
        """Return a request for the missing ranges of the checkpoint that the first stream began."""
        if self.header is None:
            return self._request
        request = api.LoadStreamRequest()
        request.CopyFrom(self._request)
        request.checkpoint_id = self.header.checkpoint.checkpoint_id
        request.fallback = api.FALLBACK_NONE
        for name in self._expected:
            if self._is_missing(name):
                request.ranges.add(part=name, offset=len(self._received.get(name, b"")))
        return request

    def receive(self, stream: Iterator[api.LoadStreamResponse]) -> None:
        """Receive a stream to its end.

        Raises:
            CheckpointCorruptedError: the chunks do not match the header.
            InternalError: the header is about another checkpoint than the request.
            PayloadTooLargeError: the header announces more bytes than are accepted.
            ServerUnavailableError: it ended before its `finish`, or the checkpoint was replaced since the last stream.

        """
        total_before = self._total
        has_header = is_finished = False
        for message in stream:
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

    def parts(self) -> dict[str, bytes]:
        """Return the parts, checked against their digests.

        Raises:
            CheckpointCorruptedError: a part does not match.

        """
        assert self.header is not None
        return runtime.in_thread(self._joined, self.header.checkpoint)

    def _joined(self, checkpoint: checkpoint_pb2.Checkpoint) -> dict[str, bytes]:
        # Piece by piece, so that no more than one part is in memory twice.
        parts = {name: bytes(self._received.pop(name)) for name in list(self._received)}
        return checked(checkpoint, parts)

    def _is_missing(self, name: str) -> bool:
        return name not in self._received or len(self._received[name]) < self._expected[name]

    def _begin(self, header: api.LoadStreamHeader) -> None:
        """Accept the header of a stream. All streams must be about the same checkpoint."""
        require_loaded(header, self._request)
        require_sizes(header.checkpoint, self._max_bytes)
        announced, found = self._announced, header.checkpoint
        if announced is not None and announced.revision == found.revision and announced != found:
            raise _damaged("its checkpoint is not the one that was announced")
        expected = {part.name: part.size_bytes for part in header.checkpoint.parts}
        if self.header is None:
            self.header, self._expected = header, expected
            return
        before, now = self.header.checkpoint, header.checkpoint
        if now.checkpoint_id != before.checkpoint_id or (
            now.revision == before.revision and expected != self._expected
        ):
            raise _damaged("it resumes with another checkpoint")
        if now.revision != before.revision:
            self._forget()
            raise unavailable("the checkpoint was replaced while it was loaded")

    def _forget(self) -> None:
        """Start again with the next stream."""
        self.header, self._total = None, 0
        self._received.clear()
        self._expected.clear()

    def _take(self, chunk: checkpoint_pb2.Chunk) -> None:
        size = len(self._received.get(chunk.part, b""))
        # Each access to the field copies it.
        data = chunk.data
        if chunk.offset != size or crc32c(data) != chunk.crc32c:
            raise _damaged(f"a chunk of part {chunk.part[:200]!r} does not match")
        if size + len(data) > self._expected.get(chunk.part, -1):
            raise _damaged(f"part {chunk.part[:200]!r} has more bytes than its header announces")
        # An empty part has one empty chunk. A stream of more empty chunks could be endless.
        if not data and (self._expected[chunk.part] or chunk.part in self._received):
            raise _damaged(f"a chunk of part {chunk.part[:200]!r} is empty")
        self._received.setdefault(chunk.part, bytearray()).extend(data)
        self._total += len(data)
        if self._progress is not None and self.header is not None:
            self._progress(self._total, self.header.checkpoint.size_bytes)


def _damaged(problem: str) -> HoldfastError:
    return of_reason("CHECKPOINT_CORRUPTED", f"the payload was damaged in transit: {problem}")


def inline_parts(checkpoint: checkpoint_pb2.Checkpoint, received: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the parts of an answer, checked as `checked` does, in a thread if that takes long."""
    if sum(map(len, received.values())) <= QUICK_BYTES:
        return checked(checkpoint, received)
    return runtime.in_thread(checked, checkpoint, received)


def checked(checkpoint: checkpoint_pb2.Checkpoint, received: Mapping[str, bytes]) -> dict[str, bytes]:
    """Check that parts match the sizes and digests of the checkpoint, and return them.

    Raises:
        CheckpointCorruptedError: a part does not match, or the checkpoint has no such part.

    """
    if unknown := received.keys() - {part.name for part in checkpoint.parts}:
        raise _damaged(f"part {min(unknown)[:200]!r} is not a part of the checkpoint")
    for part in checkpoint.parts:
        data = received.get(part.name, b"")
        if len(data) != part.size_bytes or hashlib.sha256(data).digest() != part.sha256:
            raise of_reason(
                "CHECKPOINT_CORRUPTED",
                f"part {part.name!r} of checkpoint {checkpoint.checkpoint_id!r} does not match its size and digest",
                metadata={"checkpoint_id": checkpoint.checkpoint_id, "part": part.name},
            )
    return {part.name: received.get(part.name, b"") for part in checkpoint.parts}
