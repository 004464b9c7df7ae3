"""Ids that a server makes. A checkpoint's id contains its revision, so that a load by id needs no index.

Randomness comes directly from the operating system: in a process that embeds the service, `uuid` and `random` belong to
the program, whose tests patch and seed them.
"""

from os import urandom


def unique() -> str:
    """Return an id that no other call returns, of 32 hex digits."""
    return urandom(16).hex()


def new_checkpoint_id(revision: int) -> str:
    """Return a new id that contains its revision."""
    return f"cp-{revision:012d}-{urandom(6).hex()}"


def revision_in(checkpoint_id: str) -> int | None:
    """Return the revision that an id contains; None for an id that has not the form of a server's."""
    kind, _, rest = checkpoint_id.partition("-")
    digits = rest.partition("-")[0]
    return int(digits) if kind == "cp" and len(digits) == 12 and digits.isascii() and digits.isdigit() else None
