"""The file of the servers' keys for MACs. The first one makes MACs, all of them check.

The file is TOML:

    [[key]]
    id = "5f0c7a1b"
    secret = "…"

The id is derived from the secret, and stated so that people find a key. A key is known to whoever can read the file.
"""

import os
import re
import stat
import tomllib
from collections.abc import Sequence
from typing import Any

from holdfast_server.protocol.format.macs import SECRET_BYTES, MacKey
from holdfast_server.trust.watched_file import InvalidFileError, read, text_of

_SECRET = re.compile(rf"[0-9a-f]{{{2 * SECRET_BYTES}}}")
_FIELDS = {"id", "secret"}


def new_key() -> MacKey:
    """Return a new key."""
    return MacKey(os.urandom(SECRET_BYTES))


def read_keys(path: str) -> list[MacKey]:
    """Read a file of keys.

    Raises:
        InvalidFileError: the file cannot be read or is invalid, or users outside of its group can read or write it.

    """
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise InvalidFileError(f"cannot read it: {error.strerror}") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise InvalidFileError(f"others can read or write it: expected mode 400 to 640, got {mode:o}")
    return parse(read(path))


def parse(data: bytes) -> list[MacKey]:
    """Parse the content of a file of keys.

    Raises:
        InvalidFileError: it is invalid, or has no key.

    """
    try:
        given = tomllib.loads(text_of(data))
    except (ValueError, RecursionError):
        # The parser's message may show a part of a secret.
        raise InvalidFileError("expected TOML with [[key]] tables") from None
    tables = given.get("key", [])
    if set(given) - {"key"} or not isinstance(tables, list) or not tables:
        raise InvalidFileError("expected [[key]] tables only, at least one")
    keys = [_parsed(number, table) for number, table in enumerate(tables, 1)]
    if len({key.key_id for key in keys}) < len(keys):
        raise InvalidFileError("two keys have the same id")
    return keys


def serialized(keys: Sequence[MacKey]) -> bytes:
    """Return the content of a file of keys."""
    lines = [
        "# Keys for the MACs of a Holdfast store. The first one makes MACs. `holdfast-server mac-key` writes this."
    ]
    for key in keys:
        lines += ["", "[[key]]", f'id = "{key.key_id}"', f'secret = "{key.secret.hex()}"']
    return ("\n".join(lines) + "\n").encode()


def _parsed(number: int, table: Any) -> MacKey:
    where = f"key {number}"
    if not isinstance(table, dict):
        raise InvalidFileError(f"{where}: expected a table")
    unknown = sorted(set(table) - _FIELDS)
    if unknown:
        raise InvalidFileError(f"{where}: unknown key {unknown[0]!r}: expected {', '.join(sorted(_FIELDS))}")
    secret = table.get("secret")
    # The value is not shown.
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise InvalidFileError(f"{where}: secret: expected {2 * SECRET_BYTES} hex digits in lower case")
    key = MacKey(bytes.fromhex(secret))
    if table.get("id") != key.key_id:
        raise InvalidFileError(f"{where}: id: expected {key.key_id!r}, which its secret has, got {table.get('id')!r}")
    return key
