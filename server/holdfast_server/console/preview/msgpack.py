"""Read msgpack into a tree, also if the bytes are cut off.

Extension types stay bytes unless `extensions` reads them.
"""

import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from holdfast_server.console.preview.tree import (
    BYTES,
    CONSTANT,
    LIST,
    MAP,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    Limits,
    Node,
)

_TIMESTAMP = -1
_FLOATS = {0xCA: ">f", 0xCB: ">d"}
_INTEGERS = {
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
# By the first byte: how many bytes hold the length.
_BINARIES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_LISTS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_UNUSED = 0xC1
_END = "what follows the part that was read"

# Returns the tree of an extension from its type, its bytes and their reader; None if it does not know the type.
Extensions = Callable[[int, "Reader", int], Node | None]


class NotMsgpackError(ValueError):
    """Bytes are not msgpack."""


class _CutError(Exception):
    """The bytes end inside a value."""


def read_msgpack(data: bytes, *, is_cut: bool, limits: Limits, extensions: Extensions | None = None) -> Node:
    """Return the tree of a msgpack value.

    Args:
        data: the bytes.
        is_cut: whether the value goes on after them.
        limits: the limits, which say afterwards whether anything was left out.
        extensions: reads extension types of an application.

    Raises:
        NotMsgpackError: they are not one msgpack value.

    """
    reader = Reader(data, is_cut=is_cut, limits=limits, extensions=extensions)
    node = reader.value(0)
    if not limits.cut and not reader.is_at_end:
        raise NotMsgpackError("something follows the value")
    return node


class Reader:
    """Reads values from bytes, one after the other.

    Args:
        data: the bytes.
        is_cut: whether more follows after them.
        limits: the limits of the tree.
        extensions: reads extension types of an application.

    """

    def __init__(self, data: bytes, *, is_cut: bool, limits: Limits, extensions: Extensions | None) -> None:
        self._data = data
        self._is_cut = is_cut
        self._limits = limits
        self._extensions = extensions
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Whether all bytes were read."""
        return self._at == len(self._data)

    @property
    def is_cut(self) -> bool:
        """Whether values were left out."""
        return bool(self._limits.cut)

    def value(self, depth: int) -> Node:
        """Read a value.

        Raises:
            NotMsgpackError: the bytes are not msgpack.

        """
        if not self._limits.admits(depth):
            return Node(CONSTANT, "…", is_cut=True)
        try:
            return self._value(depth)
        except _CutError:
            if not self._is_cut:
                raise NotMsgpackError("the bytes end inside a value") from None
            self._limits.cut = self._limits.cut or _END
            return Node(CONSTANT, "…", is_cut=True)

    def _value(self, depth: int) -> Node:  # noqa: PLR0911 - one return for each kind of value
        first = self._take(1)[0]
        if first <= 0x7F or first >= 0xE0:
            return Node(NUMBER, str(first if first <= 0x7F else first - 0x100))
        if first <= 0x8F:
            return self._map(first & 0x0F, depth)
        if first <= 0x9F:
            return self._list(first & 0x0F, depth)
        if first <= 0xBF:
            return self._text(first & 0x1F)
        if first in (0xC0, 0xC2, 0xC3):
            return Node(CONSTANT, {0xC0: "null", 0xC2: "false", 0xC3: "true"}[first])
        if first in _INTEGERS:
            return Node(NUMBER, str(self._number(_INTEGERS[first])))
        if first in _FLOATS:
            return Node(NUMBER, json.dumps(self._number(_FLOATS[first])))
        if first in _TEXTS:
            return self._text(self._length(_TEXTS[first]))
        if first in _BINARIES:
            data, is_cut = self._up_to(self._length(_BINARIES[first]))
            return Node(BYTES, data.hex(), is_cut=is_cut)
        if first in _LISTS:
            return self._list(self._length(_LISTS[first]), depth)
        if first in _MAPS:
            return self._map(self._length(_MAPS[first]), depth)
        if first == _UNUSED:
            raise NotMsgpackError("a byte that msgpack does not use")
        size = _FIXED_EXTENSIONS[first] if first in _FIXED_EXTENSIONS else self._length(_EXTENSIONS[first])
        return self._extension(size, depth)

    def _map(self, count: int, depth: int) -> Node:
        children: list[tuple[str, Node]] = []
        for _ in range(count):
            key = self.value(depth + 1)
            if self._limits.cut:
                break
            children.append((_label(key), self.value(depth + 1)))
            if self._limits.cut:
                break
        return Node(MAP, "", tuple(children), bool(self._limits.cut))

    def _list(self, count: int, depth: int) -> Node:
        children: list[tuple[str, Node]] = []
        for index in range(count):
            if self._limits.cut:
                break
            children.append((f"[{index}]", self.value(depth + 1)))
        return Node(LIST, "", tuple(children), bool(self._limits.cut))

    def _text(self, size: int) -> Node:
        data, is_cut = self._up_to(size)
        return Node(TEXT, data.decode("utf-8", "ignore" if is_cut else "backslashreplace"), is_cut=is_cut)

    def _extension(self, size: int, depth: int) -> Node:
        code = int(self._number(">b"))
        data, is_cut = self._up_to(size)
        if code == _TIMESTAMP and not is_cut and (moment := _moment(data)):
            return Node(TIME, moment)
        if self._extensions is not None:
            # The values inside count like all others. If they are not what the type promises, the bytes are shown.
            inside = Reader(data, is_cut=is_cut, limits=self._limits, extensions=self._extensions)
            try:
                # Deeper by one: an extension that holds nothing but another one must end as well.
                found = self._extensions(code, inside, depth + 1)
            except NotMsgpackError:
                found = None
            if found is not None:
                return found
        return Node(OBJECT, f"extension type {code}", (("data", Node(BYTES, data.hex(), is_cut=is_cut)),), is_cut)

    def _number(self, form: str) -> float:
        number: float = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return number

    def _length(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            self._at = len(self._data)
            raise _CutError
        self._at += size
        return self._data[self._at - size : self._at]

    def _up_to(self, size: int) -> tuple[bytes, bool]:
        """Return so many bytes, or as many as there are and True."""
        if self._at + size <= len(self._data):
            return self._take(size), False
        if not self._is_cut:
            raise NotMsgpackError("the bytes end inside a value")
        self._limits.cut = self._limits.cut or _END
        return self._take(len(self._data) - self._at), True


def _label(key: Node) -> str:
    if key.kind == TEXT:
        return key.text
    if key.kind == LIST:
        return f"({', '.join(_label(inner) for _, inner in key.children[:4])})"
    return f"({key.text})"


def _moment(data: bytes) -> str:
    """Return the time of a timestamp, or "" if it is none that a calendar has."""
    if len(data) == 4:
        nanoseconds, seconds = 0, int.from_bytes(data)
    elif len(data) == 8:
        both = int.from_bytes(data)
        nanoseconds, seconds = both >> 34, both & ((1 << 34) - 1)
    elif len(data) == 12:
        nanoseconds, seconds = int.from_bytes(data[:4]), int.from_bytes(data[4:], signed=True)
    else:
        return ""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return ""
    return f"{moment:%Y-%m-%d %H:%M:%S}.{nanoseconds:09} UTC"
