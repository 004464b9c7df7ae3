"""Checkpoint ids that a server makes. They contain their revision, so that a load by id needs no index."""

import random


def new_checkpoint_id(revision: int) -> str:
    """Return a new id that contains its revision."""
    return f"cp-{revision:012d}-{random.getrandbits(48):012x}"


def revision_in(checkpoint_id: str) -> int | None:
    """Return the revision that an id contains; None for an id that has not the form of a server's."""
    kind, _, rest = checkpoint_id.partition("-")
    digits = rest.partition("-")[0]
    return int(digits) if kind == "cp" and len(digits) == 12 and digits.isascii() and digits.isdigit() else None
