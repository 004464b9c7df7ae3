"""Bytes as rows of hexadecimal digits and ASCII."""

from collections.abc import Sequence
from dataclasses import dataclass

_ROW_BYTES = 16


@dataclass(frozen=True, slots=True)
class HexRow:
    """Sixteen bytes, or fewer in the last row.

    Attributes:
        offset: the first byte's offset, as eight hexadecimal digits or more.
        digits: the bytes, each as two hexadecimal digits, in two groups of eight.
        text: the same bytes as ASCII, with a dot for each that is not printable.

    """

    offset: str
    digits: str
    text: str


def hex_rows(data: bytes, offset: int = 0) -> Sequence[HexRow]:
    """Return the rows of some bytes, which begin at an offset."""
    return [_row(data[start : start + _ROW_BYTES], offset + start) for start in range(0, len(data), _ROW_BYTES)]


def _row(data: bytes, offset: int) -> HexRow:
    half = _ROW_BYTES // 2
    groups = [data[:half].hex(" "), data[half:].hex(" ")]
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return HexRow(f"{offset:08x}", "  ".join(groups).rstrip(), text)
