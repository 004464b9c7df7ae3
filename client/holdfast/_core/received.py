"""Received payloads: the bytes of each part are checked, hashed and handed on once, as they arrive."""

import hashlib
import io
from collections.abc import Mapping
from typing import Protocol

from crc32c import crc32c

from holdfast._core import arguments
from holdfast._core.errors import HoldfastError, of_reason
from holdfast.v1 import checkpoint_pb2


class Sink(Protocol):
    """Takes the bytes of one part, in their order."""

    def write(self, data: bytes, /) -> object:
        """Append bytes."""

    def restart(self) -> None:
        """Drop everything that was written: another payload follows."""


class Sinks(Protocol):
    """Takes the payload of one checkpoint."""

    def of(self, checkpoint: checkpoint_pb2.Checkpoint) -> Mapping[str, Sink]:
        """Return a sink for each part that is wanted, by name.

        Raises:
            InvalidRequestError: the checkpoint lacks a part that is wanted.

        """


class Memory:
    """The sinks of a payload that is kept in memory.

    Attributes:
        parts: the buffers, by the name of the part.

    """

    def __init__(self) -> None:
        self.parts: dict[str, _Buffer] = {}

    def of(self, checkpoint: checkpoint_pb2.Checkpoint) -> Mapping[str, Sink]:
        """Return a buffer for each part."""
        self.parts = {part.name: _Buffer() for part in checkpoint.parts}
        return self.parts

    def take(self) -> dict[str, bytes]:
        """Return the parts. Their bytes are not copied."""
        return {name: buffer.getvalue() for name, buffer in self.parts.items()}


class _Buffer(io.BytesIO):
    def restart(self) -> None:
        self.seek(0)
        self.truncate()


class PartInto:
    """Takes one part of a checkpoint into a sink.

    Args:
        sink: where its bytes go.
        part: the part; None for the default part or the only one.

    Attributes:
        chosen: the name of the part, once it is known.

    """

    def __init__(self, sink: Sink, part: str | None) -> None:
        self._sink = sink
        self._part = part
        self.chosen = ""

    def of(self, checkpoint: checkpoint_pb2.Checkpoint) -> Mapping[str, Sink]:
        """Return the sink, by the name of the part.

        Raises:
            InvalidRequestError: the checkpoint has no such part.

        """
        self.chosen = chosen_part(checkpoint, self._part).name
        return {self.chosen: self._sink}


class ReceivedPart:
    """A part that is being received.

    Attributes:
        info: its name, size and digest.
        announced_bytes: how many bytes have arrived, including those that are still being written.

    """

    def __init__(self, info: checkpoint_pb2.PartInfo, sink: Sink) -> None:
        self.info = info
        self.announced_bytes = 0
        self._has_begun = False
        self._sink = sink
        self._sha256 = hashlib.sha256()

    @property
    def is_missing(self) -> bool:
        """Whether more of it must arrive. Even an empty part has a chunk."""
        return not self._has_begun or self.announced_bytes < self.info.size_bytes

    def announce(self, offset: int, size_bytes: int) -> None:
        """Accept that a chunk is next.

        Raises:
            CheckpointCorruptedError: it is not the next one, or more than the header of the stream announces.

        """
        name = self.info.name[:200]
        if offset != self.announced_bytes:
            raise transit_error(f"a chunk of part {name!r} does not match")
        if offset + size_bytes > self.info.size_bytes:
            raise transit_error(f"part {name!r} has more bytes than its header announces")
        # An empty part has one empty chunk. A stream of more empty chunks could be endless.
        if not size_bytes and (self.info.size_bytes or self._has_begun):
            raise transit_error(f"a chunk of part {name!r} is empty")
        self._has_begun = True
        self.announced_bytes += size_bytes

    def write(self, data: bytes, checksum: int) -> None:
        """Check the bytes of the chunk that was announced, hash them and hand them on.

        Raises:
            CheckpointCorruptedError: they do not match their CRC-32C.
            OSError: the sink cannot take them.

        """
        if crc32c(data) != checksum:
            raise transit_error(f"a chunk of part {self.info.name[:200]!r} does not match")
        self._sha256.update(data)
        self._sink.write(data)

    def require_digest(self, checkpoint_id: str) -> None:
        """Check the whole part against its size and digest.

        Raises:
            CheckpointCorruptedError: it does not match.

        """
        if self.is_missing or self._sha256.digest() != self.info.sha256:
            raise mismatch(checkpoint_id, self.info.name)

    def restart(self) -> None:
        """Drop what was received."""
        self._sink.restart()


def chosen_part(checkpoint: checkpoint_pb2.Checkpoint, part: str | None) -> checkpoint_pb2.PartInfo:
    """Return a part of a checkpoint by its name; for None the default part or the only one.

    Raises:
        InvalidRequestError: the checkpoint has no such part.

    """
    infos = {info.name: info for info in checkpoint.parts}
    name = next(iter(infos)) if part is None and len(infos) == 1 else part or ""
    if name not in infos:
        known = ", ".join(sorted(map(repr, infos)))
        raise arguments.invalid("part", f"must be one of {known:.500}, not {part!r:.100}")
    return infos[name]


def transit_error(problem: str) -> HoldfastError:
    """Return the error for a payload that arrived damaged."""
    return of_reason("CHECKPOINT_CORRUPTED", f"the payload was damaged in transit: {problem}")


def mismatch(checkpoint_id: str, part: str) -> HoldfastError:
    """Return the error for a part that differs from its description."""
    return of_reason(
        "CHECKPOINT_CORRUPTED",
        f"part {part!r} of checkpoint {checkpoint_id!r} does not match its size and digest",
        metadata={"checkpoint_id": checkpoint_id, "part": part},
    )


def checked(checkpoint: checkpoint_pb2.Checkpoint, received: Mapping[str, bytes]) -> dict[str, bytes]:
    """Check that parts match the sizes and digests of the checkpoint, and return them.

    Raises:
        CheckpointCorruptedError: a part does not match, or the checkpoint has no such part.

    """
    if unknown := received.keys() - {part.name for part in checkpoint.parts}:
        raise transit_error(f"part {min(unknown)[:200]!r} is not a part of the checkpoint")
    for part in checkpoint.parts:
        data = received.get(part.name, b"")
        if len(data) != part.size_bytes or hashlib.sha256(data).digest() != part.sha256:
            raise mismatch(checkpoint.checkpoint_id, part.name)
    return {part.name: received.get(part.name, b"") for part in checkpoint.parts}
