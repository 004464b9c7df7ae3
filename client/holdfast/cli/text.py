"""Printing of text from callers: unchanged, except for characters that control a terminal or are invisible."""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len

# Control (C0, C1), format (bidirectional, zero width), lone surrogates, line and paragraph separators.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def json_text(document: Any, indent: int | None = None) -> str:
    """Return a document as JSON without a character that controls a terminal. JSON itself escapes all but DEL."""
    return json.dumps(document, indent=indent).replace("\x7f", r"\u007f")


def printable(text: str) -> str:
    r"""Return text with each character that is not printable escaped as in Python: \x1b, \n, \u202e."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escape(character) if unicodedata.category(character) in _ESCAPED else character for character in text
    )


def is_text(data: bytes) -> bool:
    """Return whether bytes are UTF-8 without characters that control a terminal or are invisible."""
    try:
        lines = data.decode().replace("\r\n", "\n").replace("\n", "").replace("\t", "")
    except UnicodeDecodeError:
        return False
    return printable(lines) == lines


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, one for each row. Lines are never wrapped or cut, however long."""
    cells = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(cell_len(row[index]) for row in cells) for index in range(len(columns))]
    for row in cells:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip(" ")


def flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten a nested mapping into rows of two cells: the dotted name and the value."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
