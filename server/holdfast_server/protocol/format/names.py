"""Which texts may name a namespace, a workflow or a checkpoint."""

import re

MAX_NAMESPACE_BYTES = 128
MAX_WORKFLOW_ID_BYTES = 512

# Slashes; C0, DEL and C1; line and paragraph separators; characters that reorder the text around them (Unicode
# Bidi_Control).
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def problem_of(beginning: str, limit_bytes: int) -> str:
    """Return why a text cannot be a name, or the beginning of one; "" if it can."""
    # The count of characters comes first, so that a text of megabytes is not encoded.
    if len(beginning) > limit_bytes or not (beginning.isascii() or len(beginning.encode()) <= limit_bytes):
        return f"expected at most {limit_bytes} bytes of UTF-8, got {len(beginning)} characters"
    if _FORBIDDEN.search(beginning) is None:
        return ""
    if "/" in beginning or "\\" in beginning:
        return "must not contain a slash"
    return "must not contain NUL, other control characters or characters that change the direction of text"
