"""Checkpoint ids that a server makes: they tell their own revision, so that a load by id needs no index."""

import random


def new_checkpoint_id(revision: int) -> str:
    """An id that tells its own revision."""
    return f"cp-{revision:012d}-{random.getrandbits(48):012x}"


def told_revision(checkpoint_id: str) -> int | None:
    """The revision that an id made by a server tells; None where it tells none."""
    kind, _, rest = checkpoint_id.partition("-")
    digits = rest.partition("-")[0]
    return int(digits) if kind == "cp" and len(digits) == 12 and digits.isascii() and digits.isdigit() else None
