"""Ids of engines as ids of Holdfast: any text becomes a name that the server takes, and no two texts the same one."""

import re
from hashlib import sha256
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from urllib.parse import unquote

WORKFLOW_BYTES = 512
CHECKPOINT_BYTES = 256
LABEL_BYTES = 1024

# Control characters, separators of lines, and what changes the direction of text: no name may hold them.
_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_RESERVED = re.compile(rf"[%/\\{_UNPRINTABLE}]")
_RESERVED_OR_COLON = re.compile(rf"[%:/\\{_UNPRINTABLE}]")


def holdfast_id(text: str, limit_bytes: int) -> str:
    """The id that stands for an engine's id: the same text where a name may hold it, else escaped; a long one is cut.

    Args:
        text: the engine's id.
        limit_bytes: how long the result may be, in UTF-8.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty, or no Unicode text.

    """
    _require_text(text)
    if not text:
        raise ValueError("an id must not be empty")
    escaped = _RESERVED.sub(_escape, text)
    if escaped in (".", ".."):
        escaped = escaped.replace(".", "%2E")
    if len(escaped.encode()) <= limit_bytes:
        return escaped
    # No escaped text holds "%~", so that what is cut meets no other id.
    digest = sha256(text.encode()).hexdigest()
    kept = escaped.encode()[: limit_bytes - len(digest) - 2].decode(errors="ignore")
    return f"{kept}%~{digest}"


def joined(*ids: str) -> str:
    """One id of several, with colons between them, which `split` takes apart again. However long it becomes.

    Raises:
        TypeError: one of them is not text.

    """
    for each in ids:
        _require_text(each)
    return ":".join(_RESERVED_OR_COLON.sub(_escape, each) for each in ids)


def split(name: str) -> list[str]:
    """The ids that a name was joined from."""
    return [unquote(each) for each in name.split(":")]


def _require_text(given: object) -> None:
    if not isinstance(given, str):
        raise TypeError(f"an id must be text, not {repr(given)}")


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
