"""Choices, read from bytes. All bytes are valid choices; after the last byte every choice is zero."""

from collections.abc import Sequence
from typing import TypeVar

_Choice = TypeVar("_Choice")

_EDGES = (
    0,
    1,
    -1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    -(2**63),
    16**9 - 1,
    16**9,
    253402300800,
    -62135596801,
    10**9,
)


class Reader:
    """A reader of choices, from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def is_used_up(self) -> bool:
        return self._position >= len(self._data)

    def byte(self) -> int:
        return self._take(1)[0]

    def below(self, limit: int) -> int:
        return self.byte() % limit

    def choice(self, choices: Sequence[_Choice]) -> _Choice:
        return choices[self.below(len(choices))]

    def integer(self) -> int:
        """Choose a small integer, one at an edge, or any signed 64-bit one."""
        kind = self.byte()
        if kind < 128:
            return kind
        if kind < 192:
            return _EDGES[kind % len(_EDGES)]
        return int.from_bytes(self._take(kind % 8 + 1), "big", signed=True)

    def raw(self) -> bytes:
        """Choose bytes, with their length in front."""
        size = self.byte()
        if size == 255:
            size = int.from_bytes(self._take(2), "big")
        return self._data[self._position : self._advance(size)]

    def text(self) -> str:
        return self.raw().decode(errors="replace")

    def rest(self) -> bytes:
        return self._data[self._position : self._advance(len(self._data))]

    def _take(self, size: int) -> bytes:
        start = self._position
        return self._data[start : self._advance(size)].ljust(size, b"\0")

    def _advance(self, size: int) -> int:
        self._position = min(len(self._data), self._position + size)
        return self._position
