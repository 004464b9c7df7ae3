"""Folders in memory, for stores of tests that say nothing about disks: a sync takes a millisecond or more on a disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 2 << 30


@contextmanager
def folder_in_memory(otherwise: Path, *, needed_bytes: int = _NEEDED_BYTES) -> Iterator[Path]:
    """Make a folder that exists while the block lasts, in memory if there is room. Yield it.

    Args:
        otherwise: an existing folder for it if there is no room in memory.
        needed_bytes: how much must be free in memory.

    """
    has_room = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= needed_bytes
    with tempfile.TemporaryDirectory(dir=_MEMORY if has_room else otherwise, ignore_cleanup_errors=True) as made:
        yield Path(made)
