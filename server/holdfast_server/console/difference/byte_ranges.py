"""The difference between two stretches of bytes: the ranges in which they differ, at the same offsets."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_RANGES = 50
_BLOCK_BYTES = 64
# Ranges with fewer equal bytes between them are one.
_GAP_BYTES = 8
_SHOWN_BYTES = 16


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range of bytes that differ.

    Attributes:
        offset: the first one.
        size_bytes: how many there are, in the longer of both.
        before: the first bytes of it in the older stretch, as hexadecimal digits.
        after: those in the newer stretch.

    """

    offset: int
    size_bytes: int
    before: str
    after: str


def byte_changes(before: bytes, after: bytes) -> tuple[Sequence[ByteRange], bool]:
    """Return the first ranges in which bytes differ, and whether there are more."""
    found: list[tuple[int, int]] = []
    for block in range(0, max(len(before), len(after)), _BLOCK_BYTES):
        old, new = before[block : block + _BLOCK_BYTES], after[block : block + _BLOCK_BYTES]
        if old == new:
            continue
        for index in range(max(len(old), len(new))):
            if old[index : index + 1] == new[index : index + 1]:
                continue
            at = block + index
            if found and at - found[-1][1] < _GAP_BYTES:
                found[-1] = (found[-1][0], at + 1)
            elif len(found) > MAX_RANGES:
                break
            else:
                found.append((at, at + 1))
        if len(found) > MAX_RANGES:
            break
    shown = [
        ByteRange(start, end - start, _digits(before[start:end]), _digits(after[start:end]))
        for start, end in found[:MAX_RANGES]
    ]
    return shown, len(found) > MAX_RANGES


def _digits(data: bytes) -> str:
    return data[:_SHOWN_BYTES].hex(" ") + (" …" if len(data) > _SHOWN_BYTES else "")
