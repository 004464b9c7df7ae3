"""Convert ids of engines to ids that the server accepts. Different texts always give different ids."""

import re
from hashlib import sha256
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from urllib.parse import unquote

WORKFLOW_BYTES = 512
CHECKPOINT_BYTES = 256
LABEL_BYTES = 1024

# Not allowed in an id: control characters, line separators and characters that change the direction of text.
_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_RESERVED = re.compile(rf"[%/\\{_UNPRINTABLE}]")
_RESERVED_OR_COLON = re.compile(rf"[%:/\\{_UNPRINTABLE}]")


def holdfast_id(text: str, limit_bytes: int) -> str:
    """Return the id that stands for an engine's id.

    Characters that an id must not contain are percent-encoded; any other text stays as it is. An id that is too long is
    cut, and a digest of the whole text is appended.

    Args:
        text: the engine's id.
        limit_bytes: the maximum length of the result in UTF-8.

    Raises:
        TypeError: the id is not text.
        ValueError: the id is empty, or contains a lone surrogate.

    """
    _require_text(text)
    if not text:
        raise ValueError("an id must not be empty")
    escaped = _RESERVED.sub(_escape, text)
    if escaped in (".", ".."):
        escaped = escaped.replace(".", "%2E")
    if len(escaped.encode()) <= limit_bytes:
        return escaped
    # No escaped text contains "%~", so a cut id never equals another one.
    digest = sha256(text.encode()).hexdigest()
    kept = escaped.encode()[: limit_bytes - len(digest) - 2].decode(errors="ignore")
    return f"{kept}%~{digest}"


def joined(*ids: str) -> str:
    """Join several ids with colons. `split` reverses it. The length of the result is not limited.

    Raises:
        TypeError: one of the ids is not text.
        ValueError: one of them contains a lone surrogate.

    """
    for part in ids:
        _require_text(part)
    return ":".join(_RESERVED_OR_COLON.sub(_escape, part) for part in ids)


def split(name: str) -> list[str]:
    """Return the ids that `joined` made a name from."""
    return [unquote(part) for part in name.split(":")]


def _require_text(given: object) -> None:
    if not isinstance(given, str):
        raise TypeError(f"an id must be text, not {repr(given)}")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError(f"an id must be Unicode text without lone surrogates, not {repr(given)}") from None


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
