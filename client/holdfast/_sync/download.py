# Generated from holdfast/_async/download.py by tools/async_to_sync.py; do not edit.
"""Incoming payloads: chunks are checked and handed on, over as many streams as it takes.

A download never holds more than its header announces. Only `finish` proves that a stream was whole.
"""

from collections.abc import Iterator, Mapping

from holdfast._core.answers import answered, require_loaded, require_sizes
from holdfast._core.errors import unavailable
from holdfast._core.payload import QUICK_BYTES, Progress
from holdfast._core.received import ReceivedPart, Sinks, checked, transit_error
from holdfast._sync import blocking
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


class Download:
    """A payload that is being received.

    Args:
        request: the first request; later ones resume it.
        sinks: where the bytes go.
        progress: called with the bytes received and all bytes.
        announced: the checkpoint from an answer before the first stream, if there was one.
        max_bytes: the most bytes to accept; None for what this machine's memory could hold.

    Attributes:
        header: the header of the first stream; None before it came.

    """

    def __init__(
        self,
        request: api.LoadStreamRequest,
        sinks: Sinks,
        progress: Progress | None,
        *,
        announced: checkpoint_pb2.Checkpoint | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._request = request
        self._sinks = sinks
        self._announced = announced
        self._progress = progress
        self._max_bytes = max_bytes
        self._parts: dict[str, ReceivedPart] = {}
        self._total = 0
        self.header: api.LoadStreamHeader | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing, so that no further stream is needed."""
        return self.header is not None and not any(part.is_missing for part in self._parts.values())

    def next_request(self) -> api.LoadStreamRequest:
        """Return a request for the missing ranges of the checkpoint that the first stream began."""
        if self.header is None:
            return self._request
        request = api.LoadStreamRequest()
        request.CopyFrom(self._request)
        request.checkpoint_id = self.header.checkpoint.checkpoint_id
        request.fallback = api.FALLBACK_NONE
        request.ClearField("ranges")
        for name, part in self._parts.items():
            if part.is_missing:
                request.ranges.add(part=name, offset=part.announced_bytes)
        return request

    def receive(self, stream: Iterator[api.LoadStreamResponse]) -> None:
        """Receive a stream to its end. A chunk is checked and written in a thread while the next one arrives.

        Raises:
            CheckpointCorruptedError: the chunks do not match the header.
            InternalError: the header is about another checkpoint than the request.
            InvalidRequestError: the checkpoint lacks a part that is wanted.
            PayloadTooLargeError: the header announces more bytes than are accepted.
            ServerUnavailableError: it ended before its `finish`, or the checkpoint was replaced since the last stream.
            OSError: the bytes cannot be written.

        """
        total_before = self._total
        has_header = is_finished = False
        with blocking.Steps() as steps:
            for message in stream:
                kind = answered(message).WhichOneof("message")
                if is_finished or has_header == (kind == "header"):
                    raise transit_error("its messages are out of order")
                if kind == "header":
                    self._begin(message.header)
                    has_header = True
                elif kind == "chunk":
                    self._take(message.chunk, steps)
                elif kind == "finish":
                    if message.finish.size_bytes != self._total - total_before or not self.is_whole:
                        raise transit_error("something is missing")
                    is_finished = True
        if not is_finished:
            raise unavailable("the stream ended before its payload did")

    def require_digests(self) -> None:
        """Check the parts against their digests.

        Raises:
            CheckpointCorruptedError: a part does not match.

        """
        assert self.header is not None
        for part in self._parts.values():
            part.require_digest(self.header.checkpoint.checkpoint_id)

    def forget(self) -> None:
        """Start again with the next stream."""
        for part in self._parts.values():
            part.restart()
        self.header, self._total = None, 0
        self._parts = {}

    def _begin(self, header: api.LoadStreamHeader) -> None:
        """Accept the header of a stream. All streams must be about the same checkpoint."""
        require_loaded(header, self._request)
        require_sizes(header.checkpoint, self._max_bytes)
        announced, found = self._announced, header.checkpoint
        if announced is not None and announced.revision == found.revision and announced != found:
            raise transit_error("its checkpoint is not the one that was announced")
        if self.header is None:
            sinks = self._sinks.of(found)
            infos = {part.name: part for part in found.parts}
            self._parts = {name: ReceivedPart(infos[name], sink) for name, sink in sinks.items()}
            self.header = header
            return
        before = self.header.checkpoint
        if found.checkpoint_id != before.checkpoint_id or (
            found.revision == before.revision and list(found.parts) != list(before.parts)
        ):
            raise transit_error("it resumes with another checkpoint")
        if found.revision != before.revision:
            self.forget()
            raise unavailable("the checkpoint was replaced while it was loaded")

    def _take(self, chunk: checkpoint_pb2.Chunk, steps: blocking.Steps) -> None:
        part = self._parts.get(chunk.part)
        if part is None:
            raise transit_error(f"part {chunk.part[:200]!r} was not requested")
        # Each access to the field copies it.
        data = chunk.data
        part.announce(chunk.offset, len(data))
        self._total += len(data)
        steps.run(part.write, data, chunk.crc32c)
        if self._progress is not None and self.header is not None:
            self._progress(self._total, sum(each.info.size_bytes for each in self._parts.values()))


def inline_parts(checkpoint: checkpoint_pb2.Checkpoint, received: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the parts of an answer, checked as `checked` does, in a thread if that takes long."""
    if sum(map(len, received.values())) <= QUICK_BYTES:
        return checked(checkpoint, received)
    return blocking.in_thread(checked, checkpoint, received)
