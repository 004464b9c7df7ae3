"""Ids of engines as names that the server takes: without slashes and control characters, and not too long."""

import hashlib
import re
from urllib.parse import unquote

_FORBIDDEN = re.compile(r"[%:/\\\x00-\x1f\x7f]")
_ID_BYTES = 256


def joined(*ids: str) -> str:
    """A name of ids, which `split` takes apart again."""
    return ":".join(_FORBIDDEN.sub(lambda found: f"%{ord(found[0]):02X}", each) for each in ids)


def split(name: str) -> list[str]:
    """The ids that a name was joined from."""
    return [unquote(each) for each in name.split(":")]


def short(given: str) -> str:
    """An id as a checkpoint id or a label; where it is too long for one, its digest."""
    name = joined(given)
    if len(name.encode()) <= _ID_BYTES and name not in (".", ".."):
        return name
    return f"sha256:{hashlib.sha256(given.encode()).hexdigest()}"
