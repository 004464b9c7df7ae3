"""Protobuf's encoding, field by field: for bytes that the library cannot parse, and for messages taken apart or joined.

See https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator
from functools import lru_cache

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
_MAX_UINT64 = (1 << 64) - 1


class WireError(Exception):
    """Bytes are not a protobuf message."""


def fields(raw: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the fields of a message: the number, and the value of a varint or the bytes of any other field.

    Raises:
        WireError: the bytes from here on are not a field.

    """
    position = 0
    while position < len(raw):
        tag, position = varint(raw, position)
        wire_type = tag & 7
        if wire_type == _LENGTH_DELIMITED:
            size, position = varint(raw, position)
        elif wire_type == _VARINT:
            value, position = varint(raw, position)
            yield tag >> 3, value
            continue
        elif wire_type in _FIXED_BYTES:
            size = _FIXED_BYTES[wire_type]
        else:
            raise WireError
        if not tag >> 3 or position + size > len(raw):
            raise WireError
        yield tag >> 3, raw[position : position + size]
        position += size


def varint(raw: memoryview, position: int) -> tuple[int, int]:
    """Return a number that is 0 or more, and the position after it.

    Raises:
        WireError: the number does not end in the message, or not after ten bytes.

    """
    value = shift = 0
    for byte in raw[position : position + _MAX_VARINT_BYTES]:
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MAX_UINT64, position
        shift += 7
    raise WireError


def encoded_varint(value: int) -> bytes:
    """Return a number that is 0 or more as a varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def prefix(number: int, size_bytes: int) -> bytes:
    """Return what comes before the bytes of a length-delimited field."""
    return _tag(number) + encoded_varint(size_bytes)


@lru_cache(maxsize=64)
def _tag(number: int) -> bytes:
    """Return the tag of a length-delimited field."""
    return encoded_varint(number << 3 | _LENGTH_DELIMITED)
