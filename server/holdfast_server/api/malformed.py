"""Requests that the protobuf library cannot parse: finds the field that is wrong.

The library says only that a message could not be parsed. Reading the same bytes field by field shows which text is not
UTF-8. The number of fields is bounded: four megabytes can hold two million, and the event loop waits for this.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from holdfast_server.api.errors import InvalidRequestError
from holdfast_server.api.wire import WireError, fields

_MAX_FIELDS = 10_000


class Malformed:
    """Takes the place of a request that could not be parsed.

    Attributes:
        field: the field that is wrong.
        problem: what is wrong with it.

    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem


class Unparsed:
    """A request that is not parsed yet.

    Args:
        parse: parses requests of its type.
        raw: its bytes.

    """

    __slots__ = ("_parse", "_raw")

    def __init__(self, parse: Callable[[bytes], Message | Malformed], raw: bytes) -> None:
        self._parse = parse
        self._raw = raw

    def parsed(self) -> Message | Malformed:
        """Parse the request."""
        return self._parse(self._raw)


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
    """Yield every field up to the first error, nested ones too, by its path, with its bytes if it should be text."""
    with suppress(WireError):
        for number, value in fields(raw):
            known = expected.fields_by_number.get(number)
            name = "" if known is None else f"{path}{known.name}"
            data = value if isinstance(value, memoryview) else raw[:0]
            is_text = known is not None and known.type == FieldDescriptor.TYPE_STRING
            yield name, data if is_text else raw[:0]
            if known is not None and known.message_type is not None:
                yield from _texts(data, known.message_type, "" if name == "header" else f"{name}.")


def _is_utf8(data: memoryview) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
