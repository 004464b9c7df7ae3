"""Requests that the protobuf library cannot parse: finds the field that is wrong.

The library says only that a message could not be parsed. Reading the same bytes field by field shows which text is not
UTF-8. The number of fields is bounded: four megabytes can hold two million, and the event loop waits for this.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from holdfast_server.api.errors import InvalidRequestError

_MAX_FIELDS = 10_000
# Wire types: https://protobuf.dev/programming-guides/encoding/
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_MAX_VARINT_BYTES = 10


class Malformed:
    """Takes the place of a request that could not be parsed.

    Attributes:
        field: the field that is wrong.
        problem: what is wrong with it.

    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem


def parser(expected: Descriptor) -> Callable[[bytes], Message | Malformed]:
    """Return a function that parses requests of a type, and returns `Malformed` for bytes that are not one."""
    parse = GetMessageClass(expected).FromString

    def lenient(raw: bytes) -> Message | Malformed:
        try:
            return parse(raw)
        except DecodeError:
            return Malformed(*explain(raw, expected))

    return lenient


def refuse_malformed(message: object) -> None:
    """Refuse a message that could not be parsed.

    Raises:
        InvalidRequestError: the message could not be parsed.

    """
    if isinstance(message, Malformed):
        raise InvalidRequestError(message.field, message.problem)


def explain(raw: bytes, expected: Descriptor) -> tuple[str, str]:
    """Return the field because of which bytes cannot be parsed as a message type, and what is wrong with it."""
    for name, text in islice(_texts(memoryview(raw), expected, ""), _MAX_FIELDS):
        if not _is_utf8(text):
            return name, "is not UTF-8"
    return "request", f"cannot be parsed as {expected.name}"


def _texts(raw: memoryview, expected: Descriptor, path: str) -> Iterator[tuple[str, memoryview]]:
    """Yield every field, nested ones too, by its path, with its bytes if it should be text."""
    for number, data in _fields(raw):
        known = expected.fields_by_number.get(number)
        name = "" if known is None else f"{path}{known.name}"
        is_text = known is not None and known.type == FieldDescriptor.TYPE_STRING
        yield name, data if is_text else raw[:0]
        if known is not None and known.message_type is not None:
            yield from _texts(data, known.message_type, "" if name == "header" else f"{name}.")


def _fields(raw: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the fields of a message by number, up to the first error, with their bytes if they are length-delimited."""
    position = 0
    while position < len(raw):
        tag, position = _varint(raw, position)
        wire_type = tag & 7
        size = _FIXED_BYTES.get(wire_type, 0)
        if wire_type in (_VARINT, _LENGTH_DELIMITED):
            value, position = _varint(raw, position)
            size = value if wire_type == _LENGTH_DELIMITED else 0
        elif not size:
            return
        if position + size > len(raw):
            return
        yield tag >> 3, raw[position : position + size] if wire_type == _LENGTH_DELIMITED else raw[:0]
        position += size


def _varint(raw: memoryview, position: int) -> tuple[int, int]:
    """Return a number and the position after it, which is beyond the message if the number does not end in it."""
    value = 0
    for index, byte in enumerate(raw[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return 0, len(raw) + 1


def _is_utf8(data: memoryview) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
