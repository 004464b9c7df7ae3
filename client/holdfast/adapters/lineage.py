"""Walks from a checkpoint to its parent, and on. The ids of parents are chosen by callers, and may form a circle."""

from holdfast._core.errors import of_reason


class Lineage:
    """The parents that a walk has come to."""

    def __init__(self) -> None:
        self._parents: set[str] = set()

    def require_new(self, parent_id: str) -> None:
        """Check that the walk has not come to a parent before.

        Raises:
            CheckpointCorruptedError: it has, so that it would never end.

        """
        if parent_id in self._parents:
            raise of_reason(
                "CHECKPOINT_CORRUPTED",
                f"checkpoint {parent_id!r} is its own ancestor: the parents of {len(self._parents)} checkpoints form "
                "a circle",
                metadata={"checkpoint_id": parent_id},
            )
        self._parents.add(parent_id)
