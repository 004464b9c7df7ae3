"""Checks of what a saver returns: its database may have rows that no saver has written."""

from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from holdfast.moving import ItemError


def require_text(name: str, given: object) -> None:
    """Check that an id is text.

    Args:
        name: what it is the id of.
        given: the id.

    Raises:
        ItemError: it is not.

    """
    problem = f"the id of a {name} must be Unicode text, not {given!r:.200}"
    if not isinstance(given, str):
        raise ItemError("UNREADABLE", problem)
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ItemError("UNREADABLE", problem) from None


def require_checkpoint(checkpoint_id: str, found: CheckpointTuple) -> None:
    """Check that a checkpoint is one, and has the id by which it was found.

    Raises:
        ItemError: it is not.

    """
    checkpoint: Any = found.checkpoint
    fields = ("channel_values", "channel_versions", "versions_seen")
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(name), dict) for name in fields):
        raise ItemError("UNREADABLE", f"checkpoint {checkpoint_id} cannot be read: it has no {', '.join(fields)}")
    if (actual := checkpoint.get("id")) != checkpoint_id:
        raise ItemError("UNREADABLE", f"checkpoint {checkpoint_id} contains checkpoint {actual!r:.200}")
