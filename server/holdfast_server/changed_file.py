"""Changes of the files that commands write and servers watch: each change is whole or not made, one at a time."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_Item = TypeVar("_Item")


@contextmanager
def changing(
    path: str, parsed: Callable[[str], list[_Item]], serialized: Callable[[list[_Item]], bytes]
) -> Iterator[list[_Item]]:
    """Read a file, and replace it at the end of the block by one with the items that are then in the list.

    Commands that change the same file wait for each other. A server that reads it sees the old or the new content. A
    new file can be read by its owner only.

    Args:
        path: the file; one that does not exist has no items.
        parsed: reads the items of the file at a path.
        serialized: returns the content of a file with some items.

    Raises:
        OSError: the file cannot be written.

    """
    # A link stays one.
    path = os.path.realpath(path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        existing = os.stat(path) if os.path.exists(path) else None
        items = parsed(path) if existing is not None else []
        before = list(items)
        yield items
        if items != before:
            _replace(path, serialized(items), existing)
            os.fsync(folder)
    finally:
        os.close(folder)


def _replace(path: str, data: bytes, existing: os.stat_result | None) -> None:
    """Write a file whole or not at all, with the owner and the mode of the one that exists."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{os.path.basename(path)}-", dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if existing is not None:
                os.fchown(descriptor, existing.st_uid, existing.st_gid)
                os.fchmod(descriptor, existing.st_mode & 0o777)
            os.fsync(descriptor)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
