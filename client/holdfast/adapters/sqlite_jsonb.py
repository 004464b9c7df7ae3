"""Convert SQLite's JSONB to JSON text, also where Python's SQLite is older than 3.45 and has no function for it."""

import json
import re
from dataclasses import dataclass

_LITERALS = {0: "null", 1: "true", 2: "false"}
_NUMBERS = (3, 5)
# Text without escapes, text with the escapes of JSON, and text that JSON would escape.
_PLAIN, _ESCAPED, _RAW = 7, 8, 10
_CONTAINERS = {11: ("[", "]"), 12: ("{", "}")}
# From a size of 12 on, the size follows the first byte, in so many bytes.
_SIZE_BYTES = {12: 1, 13: 2, 14: 4, 15: 8}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


@dataclass(slots=True)
class _Open:
    """A container whose elements are being read; the whole value is in one without brackets.

    Attributes:
        end: where it ends.
        closing: its closing bracket.
        count: how many elements were read. The keys of an object count as well.

    """

    end: int
    closing: str
    count: int = 0

    def is_complete(self) -> bool:
        """Return whether it may end here."""
        return self.count == 1 if not self.closing else self.closing == "]" or self.count % 2 == 0

    def needs_key(self) -> bool:
        """Return whether the next element is a key."""
        return self.closing == "}" and self.count % 2 == 0

    def separator(self) -> str:
        """Return what is written before the next element."""
        if self.closing == "}" and self.count % 2:
            return ":"
        return "," if self.count else ""


def json_text(data: bytes) -> str:
    """Return the JSON of a value in JSONB.

    Values that only JSON5 has are refused: SQLite writes none for a text that `json.dumps` made.

    Raises:
        ValueError: the data is not JSONB.

    """
    written: list[str] = []
    opened = [_Open(len(data), "")]
    at = 0
    while opened:
        inside = opened[-1]
        if at == inside.end:
            if not inside.is_complete():
                raise ValueError(f"invalid JSONB: an element is missing at byte {at}")
            written.append(opened.pop().closing)
            continue
        kind, begin, end = _header(data, at, inside.end)
        if (inside.needs_key() and kind not in (_PLAIN, _ESCAPED, _RAW)) or (not inside.closing and inside.count):
            raise ValueError(f"invalid JSONB: unexpected element of type {kind} at byte {at}")
        written.append(inside.separator())
        inside.count += 1
        if kind in _CONTAINERS:
            opening, closing = _CONTAINERS[kind]
            written.append(opening)
            opened.append(_Open(end, closing))
            at = begin
        else:
            written.append(_scalar(kind, data[begin:end], at))
            at = end
    return "".join(written)


def _header(data: bytes, at: int, limit: int) -> tuple[int, int, int]:
    """Return the type of the element at a place, and where its content begins and ends."""
    kind, size = data[at] & 0x0F, data[at] >> 4
    begin = at + 1
    if size in _SIZE_BYTES:
        size, begin = int.from_bytes(data[begin : begin + _SIZE_BYTES[size]]), begin + _SIZE_BYTES[size]
    if begin + size > limit:
        raise ValueError(f"invalid JSONB: the element at byte {at} ends at {begin + size}, after byte {limit}")
    return kind, begin, begin + size


def _scalar(kind: int, content: bytes, at: int) -> str:
    try:
        text = content.decode()
        if kind in _LITERALS and not text:
            return _LITERALS[kind]
        if kind in _NUMBERS and _NUMBER.fullmatch(text):
            return text
        if kind in (_PLAIN, _RAW):
            return json.dumps(text)
        if kind == _ESCAPED:
            return json.dumps(json.loads(f'"{text}"'))
    except ValueError as error:
        raise ValueError(f"invalid JSONB: the text at byte {at}: {error}") from error
    raise ValueError(f"invalid JSONB: unexpected element of type {kind} at byte {at}")
