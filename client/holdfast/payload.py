"""Payloads on their way out: what a caller gives as data, cut into checked chunks."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from crc32c import crc32c

from holdfast.errors import of_reason
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

UNARY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20

# Metadata by which a retried stream learns where to go on; `checkpoint_service.proto` tells how.
RESUME = ("holdfast-resume", "1")
RECEIVED_KEY = "holdfast-received"
_POSITION = re.compile(r"([0-9]{1,18}):([0-9]{1,18})")

Data = bytes | Mapping[str, bytes] | BinaryIO
Progress = Callable[[int, int], None]


class Outgoing:
    """The parts of a payload, which may be sent more than once.

    Args:
        data: bytes, a mapping of part name to bytes, or an open binary file that can seek.

    Raises:
        TypeError: it is something else.

    """

    def __init__(self, data: Data) -> None:
        self._parts: dict[str, bytes] = {}
        self._file: BinaryIO | None = None
        self._start = 0
        if isinstance(data, bytes | bytearray | memoryview):
            self._parts[""] = bytes(data)
        elif isinstance(data, Mapping):
            self._parts.update((name, bytes(value)) for name, value in data.items())
        elif hasattr(data, "read") and hasattr(data, "seek"):
            self._file = data
            self._start = data.tell()
        else:
            raise TypeError("data must be bytes, a mapping of part name to bytes, or an open binary file that can seek")
        self.size_bytes = self._size()

    @property
    def fits_unary(self) -> bool:
        """Whether one message can hold it."""
        return self.size_bytes <= UNARY_BYTES

    def inline(self) -> list[checkpoint_pb2.Part]:
        """The parts as one message holds them."""
        parts = self._parts if self._file is None else {"": self._read_all(self._file)}
        return [checkpoint_pb2.Part(name=name, data=data, crc32c=crc32c(data)) for name, data in parts.items()]

    def messages(self, received: str, progress: Progress | None) -> Iterator[api.SaveStreamRequest]:
        """The messages of a stream behind its header: chunks, finish.

        Args:
            received: what the server has already, as it says in its metadata; "" for nothing.
            progress: called with the bytes sent and all.

        Raises:
            InternalError: what the server says is no position.

        """
        next_part, next_byte = _position(received) if received else (0, 0)
        sent = 0
        for index, name, offset, data in self._pieces():
            sent += len(data)
            known = max(0, next_byte - offset) if index == next_part else 0
            missing = data[known:]
            if index < next_part or (known and not missing):
                continue
            chunk = checkpoint_pb2.Chunk(part=name, offset=offset + known, data=missing, crc32c=crc32c(missing))
            yield api.SaveStreamRequest(chunk=chunk)
            if progress is not None:
                progress(sent, self.size_bytes)
        yield api.SaveStreamRequest(finish=api.SaveStreamFinish(size_bytes=sent))

    def _pieces(self) -> Iterator[tuple[int, str, int, bytes]]:
        if self._file is not None:
            self._file.seek(self._start)
            offset = 0
            while True:
                data = self._file.read(CHUNK_BYTES)
                if data or offset == 0:
                    yield 0, "", offset, data
                if not data:
                    return
                offset += len(data)
        for index, (name, part) in enumerate(self._parts.items()):
            for offset in range(0, len(part) or 1, CHUNK_BYTES):
                yield index, name, offset, part[offset : offset + CHUNK_BYTES]

    def _read_all(self, file: BinaryIO) -> bytes:
        file.seek(self._start)
        return file.read()

    def _size(self) -> int:
        if self._file is None:
            return sum(len(part) for part in self._parts.values())
        end = self._file.seek(0, os.SEEK_END)
        self._file.seek(self._start)
        return end - self._start


def _position(received: str) -> tuple[int, int]:
    found = _POSITION.fullmatch(received)
    if found is None:
        raise of_reason("INTERNAL", f"the server told a position that is none: {received[:80]!r}")
    return int(found[1]), int(found[2])
