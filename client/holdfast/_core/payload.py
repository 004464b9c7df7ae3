"""Outgoing payloads: the data of a caller, divided into parts and chunks with checksums."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from inspect import iscoroutinefunction
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from typing import Any, BinaryIO, Protocol

from crc32c import crc32c

from holdfast._core import arguments
from holdfast._core.errors import of_reason
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

UNARY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
# Checksums of so many bytes take less time than a thread does.
QUICK_BYTES = 64 << 10

# Metadata by which a retried stream learns where to resume; see `checkpoint_service.proto`.
RESUME = ("holdfast-resume", "1")
RECEIVED_KEY = "holdfast-received"
_POSITION = re.compile(r"([0-9]{1,18}):([0-9]{1,18})")

BytesLike = bytes | bytearray | memoryview
Data = BytesLike | BinaryIO | Mapping[str, BytesLike | BinaryIO]
Progress = Callable[[int, int], None]


def is_quick(data: Data) -> bool:
    """Return whether a payload is in memory and so small that no thread is needed to read it."""
    values = data.values() if type(data) is dict else (data,)
    return all(type(value) is bytes for value in values) and sum(map(len, values)) <= QUICK_BYTES


class Source(Protocol):
    """The bytes of one part, which may be read more than once."""

    @property
    def size_bytes(self) -> int:
        """How many there are."""

    def pieces(self) -> Iterator[bytes]:
        """Iterate over them in pieces of at most a chunk. There is at least one piece, which may be empty."""


class Outgoing:
    """The parts of a payload, which may be sent more than once.

    A file is saved from its current position to its current end: data that is appended later is left out. Neither a
    file nor a large buffer may change otherwise: they are not copied.

    Args:
        data: bytes-like, an open binary file that can seek, or a mapping of part name to such values.

    Raises:
        TypeError: the data or a part has another type; the message names it.
        InvalidRequestError: a file is closed, or nothing is left to read in it.

    """

    def __init__(self, data: Data) -> None:
        self._parts: dict[str, Source] = {}
        if isinstance(data, Mapping):
            for name, value in data.items():
                self._parts[arguments.text("a part's name", name)] = _part(f"data[{name!r:.100}]", value)
        else:
            self._parts[""] = _part("data", data)
        self._given: Mapping[str, Source] = self._parts
        self.size_bytes = sum(part.size_bytes for part in self._parts.values())

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each part, as they are sent."""
        return {name: part.size_bytes for name, part in self._parts.items()}

    def digests(self) -> dict[str, bytes]:
        """Return the SHA-256 of each part as the caller gave it.

        Raises:
            InvalidRequestError: a file became shorter.
            OSError: a file cannot be read.

        """
        found = {}
        for name, part in self._given.items():
            digest = hashlib.sha256()
            for piece in part.pieces():
                digest.update(piece)
            found[name] = digest.digest()
        return found

    @property
    def fits_unary(self) -> bool:
        """Whether the payload fits into one message."""
        return self.size_bytes <= UNARY_BYTES

    def inline(self) -> list[checkpoint_pb2.Part]:
        """Return the parts for one message.

        Raises:
            InvalidRequestError: a file became shorter.
            OSError: a file cannot be read.

        """
        parts = {name: b"".join(part.pieces()) for name, part in self._parts.items()}
        return [checkpoint_pb2.Part(name=name, data=data, crc32c=crc32c(data)) for name, data in parts.items()]

    def messages(self, received: str, progress: Progress | None) -> Iterator[api.SaveStreamRequest]:
        """Iterate over the messages of a stream after its header: chunks and a finish.

        Args:
            received: the position up to which the server has the payload, from its metadata; "" for none of it.
            progress: called with the bytes sent and all bytes.

        Raises:
            InternalError: the position is invalid.
            InvalidRequestError: a file became shorter.
            OSError: a file cannot be read.

        """
        next_part, next_byte = _position(received) if received else (0, 0)
        sent = 0
        for index, name, offset, data in self._pieces():
            sent += len(data)
            known = max(0, next_byte - offset) if index == next_part else 0
            missing = data[known:]
            if index < next_part or (known and not missing):
                continue
            # Set in place: a message that is given another one copies it.
            message = api.SaveStreamRequest()
            message.chunk.part = name
            message.chunk.offset = offset + known
            message.chunk.data = missing
            message.chunk.crc32c = crc32c(missing)
            yield message
            if progress is not None:
                progress(sent, self.size_bytes)
        yield api.SaveStreamRequest(finish=api.SaveStreamFinish(size_bytes=sent))

    def _pieces(self) -> Iterator[tuple[int, str, int, bytes]]:
        for index, (name, part) in enumerate(self._parts.items()):
            offset = 0
            for data in part.pieces():
                yield index, name, offset, data
                offset += len(data)


class _Buffer:
    """A bytes-like object. A small one is copied, so that the caller may change it."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.size_bytes = len(data)
        self._data = data if self.size_bytes > UNARY_BYTES else bytes(data)

    def pieces(self) -> Iterator[bytes]:
        """Iterate over its bytes in pieces of at most a chunk. There is at least one piece, which may be empty."""
        for offset in range(0, self.size_bytes or 1, CHUNK_BYTES):
            yield bytes(self._data[offset : offset + CHUNK_BYTES])


class _File:
    """An open binary file, from its position to its end at the time when it was given.

    Args:
        field: the argument that it is, for errors.
        file: the file.

    """

    def __init__(self, field: str, file: Any) -> None:
        self._field = field
        if getattr(file, "closed", False):
            raise arguments.invalid(field, f"is a closed file: {repr(file)}")
        if iscoroutinefunction(file.read):
            raise TypeError(f"{field} must be a file of Python's own kind, not an asynchronous one: {repr(file)}")
        if hasattr(file, "readable") and not file.readable():
            raise arguments.invalid(field, f"is a file that is not open for reading: {repr(file)}")
        if not _can_seek(file):
            raise TypeError(
                f"{field} must be a binary file that can seek, since a save may be sent again, not {repr(file)}: "
                "read a pipe to its end first, or copy it to a temporary file"
            )
        self._file = file
        self._start = file.tell()
        _require_bytes(field, file, file.read(0))
        self.size_bytes = self._measured()
        if self.size_bytes <= 0 < self._start:
            raise arguments.invalid(
                "data", f"is a file with nothing left to read: it stands at {self._start}, its end; seek(0) first"
            )

    def pieces(self) -> Iterator[bytes]:
        """Iterate over its bytes in pieces of at most a chunk. There is at least one piece, which may be empty."""
        if not self.size_bytes:
            yield b""
        read = 0
        while read < self.size_bytes:
            self._file.seek(self._start + read)
            data = self._read(min(self.size_bytes - read, CHUNK_BYTES))
            if not data:
                problem = f"is a file that became shorter while it was saved, from {self.size_bytes} bytes to {read}"
                raise arguments.invalid(self._field, problem)
            read += len(data)
            yield data

    def _measured(self) -> int:
        try:
            end = self._file.seek(0, os.SEEK_END)
        except (OSError, ValueError):
            end = None
        self._file.seek(self._start)
        # Some files cannot seek to their end, such as compressed ones, or report 0, such as those of /proc.
        if end is None or (end == 0 and self._read(1)):
            if _is_device(self._file):
                raise arguments.invalid(self._field, f"is a device, which may have no end: {repr(self._file)}")
            self._file.seek(self._start)
            end = self._start
            while data := self._read(CHUNK_BYTES):
                end += len(data)
        return int(end) - int(self._start)

    def _read(self, size: int) -> bytes:
        return _require_bytes(self._field, self._file, self._file.read(size))[:size]


def _can_seek(file: Any) -> bool:
    try:
        return bool(file.seekable()) if hasattr(file, "seekable") else hasattr(file, "seek") and hasattr(file, "tell")
    except (OSError, ValueError):
        return False


def _is_device(file: Any) -> bool:
    try:
        return stat.S_ISCHR(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError, TypeError, ValueError):
        return False


def _require_bytes(field: str, file: Any, data: object) -> bytes:
    if isinstance(data, str):
        raise TypeError(f"{field} must be a file opened in binary mode ('rb'), not a text file: {repr(file)}")
    if data is None:
        raise arguments.invalid(field, f"is a file without data at the moment, in non-blocking mode: {repr(file)}")
    return arguments.octets(f"what {field}.read() returns", data)


def _part(field: str, value: Any) -> _Buffer | _File:
    if hasattr(value, "read") and not _is_buffer(value):
        return _File(field, value)
    if isinstance(value, str):
        raise TypeError(f"{field} must be bytes-like, not text: encode it first, not {repr(value)}")
    return _Buffer(value if type(value) is bytes else arguments.octets_view(field, value))


def _is_buffer(value: object) -> bool:
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _position(received: str) -> tuple[int, int]:
    found = _POSITION.fullmatch(received)
    if found is None:
        raise of_reason("INTERNAL", f"the server sent an invalid position: {received[:80]!r}")
    return int(found[1]), int(found[2])
