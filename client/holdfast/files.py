"""Files of callers, written whole or not at all."""

import os
from pathlib import Path

from holdfast import request_ids


def write_whole(path: "str | os.PathLike[str]", data: bytes) -> None:
    """Write a file beside its place and move it there, so that a failure leaves the old one as it was.

    What exists there and is no regular file, such as a pipe or a device, is written to directly. A link is followed.

    Args:
        path: where the file goes; its folder must exist.
        data: all that it will hold.

    Raises:
        OSError: it cannot be written.

    """
    place = Path(path).resolve()
    if place.exists() and not place.is_file():
        place.write_bytes(data)
        return
    draft = place.with_name(f".{place.name[:100]}.{request_ids.new()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            draft.chmod(place.stat().st_mode & 0o7777)
        draft.replace(place)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
