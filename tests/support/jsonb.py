"""SQLite's JSONB for a Python whose SQLite is older than 3.45, so that CrewAI can write its files of checkpoints."""

import json
import math
import sqlite3
from typing import Any

import pytest

_CONSTANTS = {None: 0, True: 1, False: 2}


def jsonb(text: str) -> bytes:
    """Return the JSONB of a text that `json.dumps` made, as SQLite's function `jsonb` does."""
    return _element(json.loads(text, parse_constant=lambda name: None if name == "NaN" else float(name)))


def give_sqlite_jsonb(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Add the function `jsonb` to the connections that a module opens, unless SQLite has it."""
    if sqlite3.sqlite_version_info >= (3, 45):
        return
    monkeypatch.setattr(module, "sqlite3", _Sqlite())


class _Sqlite:
    """The module `sqlite3` as a module sees it that only opens connections."""

    Cursor = sqlite3.Cursor

    @staticmethod
    def connect(location: str) -> sqlite3.Connection:
        connection = sqlite3.connect(location)
        connection.create_function("jsonb", 1, jsonb, deterministic=True)
        return connection


def _element(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return bytes([_CONSTANTS[value]])
    if isinstance(value, int):
        return _sized(3, str(value).encode())
    if isinstance(value, float):
        text = repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}9e999"
        return _sized(5, text.encode())
    if isinstance(value, str):
        escaped = json.dumps(value)[1:-1]
        return _sized(8 if "\\" in escaped else 7, escaped.encode())
    if isinstance(value, list):
        return _sized(11, b"".join(map(_element, value)))
    return _sized(12, b"".join(_element(each) for pair in value.items() for each in pair))


def _sized(kind: int, content: bytes) -> bytes:
    size = len(content)
    if size < 12:
        return bytes([size << 4 | kind]) + content
    code, width = next((code, width) for code, width in ((12, 1), (13, 2), (14, 4)) if size < 256**width)
    return bytes([code << 4 | kind]) + size.to_bytes(width) + content
