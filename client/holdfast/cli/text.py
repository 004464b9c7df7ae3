"""Text from callers as it is printed: as it is, but for characters that a terminal would obey or not show."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len

# Control (C0, C1), format (bidirectional, zero width), lone surrogates, line and paragraph separators.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""Return text with each character that is not printable escaped as in Python: \x1b, \n, \u202e."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(each) if unicodedata.category(each) in _ESCAPED else each for each in text)


def is_text(data: bytes) -> bool:
    """Return whether bytes are UTF-8 that a terminal shows without obeying any of it."""
    try:
        lines = data.decode().replace("\r\n", "\n").replace("\n", "").replace("\t", "")
    except UnicodeDecodeError:
        return False
    return printable(lines) == lines


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lay out a table, a line for each row, never wrapped or cut, however wide."""
    cells = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(cell_len(row[index]) for row in cells) for index in range(len(columns))]
    for row in cells:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip(" ")


def flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested names with values into rows of two cells."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
