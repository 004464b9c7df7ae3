"""Which checkpoint of a workflow is the latest one.

LangGraph's latest checkpoint is the one with the largest id; Holdfast's newest is the one that was saved last. They are
the same while ids increase from save to save. A checkpoint whose id is not larger than all ids before it, and every
checkpoint after that, has the largest id as a label, so a reader of the newest checkpoint finds the latest one. This
holds for any number of writers: a save commits only right after the revision up to which its saver knows the ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast._core.checkpoint import Checkpoint
from holdfast.adapters.langgraph.names import decoded, encoded

_LABEL = "largest"
# On the same checkpoints: set if the checkpoint with the largest id is pinned, so that retention passes it over.
_PINNED = "largest_pinned"


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a workflow's checkpoints at a revision.

    Attributes:
        largest_id: the largest id; "" if there is no checkpoint.
        is_mixed: whether the checkpoint with the largest id may not be the newest one.
        revision: the revision.
        is_pinned: whether the checkpoint with the largest id is pinned, if it is not the newest.

    """

    largest_id: str = ""
    is_mixed: bool = False
    revision: int = 0
    is_pinned: bool = False

    @classmethod
    def of(cls, newest: Checkpoint, revision: int = 0) -> "Order":
        """Return the order according to the newest checkpoint.

        Args:
            newest: the checkpoint.
            revision: a revision up to which it is the newest, if later than its own.

        """
        revision = max(revision, newest.revision)
        if is_mixed(newest.labels):
            return cls(decoded(newest.labels[_LABEL]), True, revision, _PINNED in newest.labels)
        return cls(decoded(newest.checkpoint_id), False, revision)

    @property
    def labels(self) -> Mapping[str, str]:
        """The additional labels of a checkpoint that is saved in this order."""
        pinned = {_PINNED: "1"} if self.is_pinned else {}
        return {_LABEL: encoded(self.largest_id), **pinned} if self.is_mixed else {}

    def with_id(self, checkpoint_id: str, revision: int = 0) -> "Order":
        """Return the order after a checkpoint is saved as a revision."""
        largest_id = max(self.largest_id, checkpoint_id)
        is_mixed = self.is_mixed or checkpoint_id < largest_id
        return Order(largest_id, is_mixed, revision, self.is_pinned and largest_id == self.largest_id)


def is_mixed(labels: Mapping[str, str]) -> bool:
    """Return whether a checkpoint with these labels, or one before it, was saved out of the order of ids."""
    return _LABEL in labels
