"""A payload that is sealed as it is sent."""

from collections.abc import Callable, Iterator, Mapping

from holdfast._core.payload import UNARY_BYTES, Data, Outgoing, Progress, Source
from holdfast._encryption.frames import Sealer
from holdfast.v1 import checkpoint_service_pb2 as api


class SealedPayload(Outgoing):
    """A payload that is sealed as it is sent. Each pass over it gives the same bytes.

    Attributes:
        labels: the checkpoint's labels.

    """

    def __init__(self, data: Data, labels: Mapping[str, str]) -> None:
        super().__init__(data)
        self.labels = labels
        self.names = list(self._parts)
        self._overhead_bytes = 0
        self._read_bytes = 0

    def seal(self, sealer: Callable[[str], Sealer]) -> None:
        """Seal each part from now on, by the sealer for its name."""
        self._parts = {}
        for name, part in self._given.items():
            sealed = _SealedPart(part, sealer(name), self._count)
            self._overhead_bytes += sealed.overhead_bytes
            self._parts[name] = sealed

    @property
    def fits_unary(self) -> bool:
        return self.size_bytes + self._overhead_bytes <= UNARY_BYTES

    def messages(self, received: str, progress: Progress | None) -> Iterator[api.SaveStreamRequest]:
        self._read_bytes = 0
        if progress is None:
            return super().messages(received, None)
        # In bytes of the caller's: the size of the ciphertext is not known before its end.
        return super().messages(received, lambda _sent, _all: progress(self._read_bytes, self.size_bytes))

    def _count(self, size: int) -> None:
        self._read_bytes += size


class _SealedPart:
    """A part of a payload, sealed.

    Attributes:
        overhead_bytes: the most bytes by which it is larger than the part, if the part is small.

    """

    def __init__(self, part: Source, sealer: Sealer, count: Callable[[int], None]) -> None:
        self._part = part
        self._sealer = sealer
        self._count = count
        self._size_bytes: int | None = None
        self.overhead_bytes = sealer.overhead_bytes(part.size_bytes)

    @property
    def size_bytes(self) -> int:
        """The size of the sealed part, which is known after the first pass. Before that, this makes a pass."""
        if self._size_bytes is None:
            self._size_bytes = sum(map(len, self.pieces()))
        return self._size_bytes

    def pieces(self) -> Iterator[bytes]:
        """Iterate over its bytes in pieces of at most a chunk."""
        size = 0
        for piece in self._sealer.pieces(self._counted()):
            size += len(piece)
            yield piece
        self._size_bytes = size

    def _counted(self) -> Iterator[bytes]:
        for piece in self._part.pieces():
            self._count(len(piece))
            yield piece
