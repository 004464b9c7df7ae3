"""The header Range of HTTP: one range of bytes, so that a download that broke off can continue."""

import re

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class UnsatisfiableError(Exception):
    """No byte of the content is in the range."""


def requested(header: str, size_bytes: int) -> range | None:
    """Return the range of bytes that a request names; None for all bytes.

    Other units, several ranges and malformed ones are ignored, as the standard allows.

    Args:
        header: the header's value; "" for none.
        size_bytes: the size of the content.

    Raises:
        UnsatisfiableError: the content has no byte in the range.

    """
    found = _RANGE.fullmatch(header)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        # The last bytes, as many as the number says.
        named = range(max(0, size_bytes - int(found[2])), size_bytes)
    elif found[2] and int(found[2]) < int(found[1]):
        return None
    else:
        named = range(int(found[1]), min(int(found[2]) + 1, size_bytes) if found[2] else size_bytes)
    if not named:
        raise UnsatisfiableError
    return named
