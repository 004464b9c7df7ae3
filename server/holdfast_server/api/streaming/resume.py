"""The metadata by which a caller resumes an upload whose stream broke.

A caller sends RESUME_KEY: "1" to wait for the server's position, or the position "PART:BYTE" that GetUpload returned.
The server answers RECEIVED_KEY with its position before anything else: the part that comes next, counted from 0, and
the byte of that part.
"""

import re

from holdfast_server.api.call_context import CallContext

RESUME_KEY = "holdfast-resume"
RECEIVED_KEY = "holdfast-received"
_POSITION = re.compile(r"([0-9]{1,3}):([0-9]{1,15})")


def requested_resume(context: CallContext) -> tuple[bool, tuple[int, int] | None]:
    """Return whether the caller resumes an upload, and the part and byte that it expects; None if it states none."""
    position = context.headers.get(RESUME_KEY)
    found = _POSITION.fullmatch(position or "")
    return position is not None, (int(found[1]), int(found[2])) if found else None
