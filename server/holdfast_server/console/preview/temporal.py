"""Temporal's message `Payload`: metadata by name, and data whose encoding the metadata names."""

from collections.abc import Iterator

_METADATA, _DATA = 1, 2
_KEY, _VALUE = 1, 2
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


def payload_in(data: bytes) -> tuple[dict[str, str], bytes, bool] | None:
    """Return the metadata and the data of a payload, and whether the data is cut; None if the bytes are not one."""
    metadata: dict[str, str] = {}
    content, is_cut = b"", False
    try:
        for number, value, is_value_cut in _fields(data):
            if number == _METADATA and not is_value_cut:
                pair = {inner: text.decode() for inner, text, _ in _fields(value)}
                metadata[pair[_KEY]] = pair.get(_VALUE, "")
            elif number == _DATA:
                content, is_cut = value, is_value_cut
    except (ValueError, KeyError):
        return None
    return (metadata, content, is_cut) if "encoding" in metadata else None


def _fields(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the fields that are bytes, each with its number and whether it is cut.

    Raises:
        ValueError: it is not a message.

    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError("a field without a number")
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            size, at = _varint(data, at)
            yield number, data[at : at + size], at + size > len(data)
            at += size
        elif kind in (_FIXED_32, _FIXED_64):
            at += 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError(f"a field of the unknown kind {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise ValueError("a number that does not end")
