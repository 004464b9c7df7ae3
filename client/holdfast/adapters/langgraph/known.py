"""What a saver knows of the order of a workflow's checkpoints.

LangGraph's latest checkpoint is the one with the largest id, Holdfast's newest is the one that was saved last. They are
the same while ids grow from save to save. A save whose id is not larger than those before it, and each save behind it,
is labelled with the largest id, so that who reads the newest learns where the latest is. That holds for any number of
writers, since each saves only right behind the revision up to which it knows the ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.adapters.langgraph.names import decoded, encoded
from holdfast.checkpoint import Checkpoint

_LABEL = "largest"
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Order:
    """The largest id of a workflow, "" for none, whether the newest checkpoint may be another one, and as of when."""

    largest_id: str = ""
    is_mixed: bool = False
    revision: int = 0

    @classmethod
    def of(cls, newest: Checkpoint, revision: int = 0) -> "Order":
        """What the newest checkpoint tells, which is the newest up to its own revision or a later one."""
        revision = max(revision, newest.revision)
        if is_mixed(newest.labels):
            return cls(decoded(newest.labels[_LABEL]), True, revision)
        return cls(decoded(newest.checkpoint_id), False, revision)

    @property
    def labels(self) -> Mapping[str, str]:
        """What it adds to the labels of the checkpoint that is saved with it."""
        return {_LABEL: encoded(self.largest_id)} if self.is_mixed else {}

    def with_id(self, checkpoint_id: str, revision: int = 0) -> "Order":
        """The order once a checkpoint is saved, as some revision."""
        is_mixed = self.is_mixed or checkpoint_id < self.largest_id
        return Order(max(self.largest_id, checkpoint_id), is_mixed, revision)


def is_mixed(labels: Mapping[str, str]) -> bool:
    """Whether a checkpoint, or one before it, was saved out of the order of the ids."""
    return _LABEL in labels


class Known:
    """The orders of the workflows that were used lately. What is forgotten costs a call."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}

    def get(self, workflow_id: str) -> Order | None:
        """The order of a workflow; None where it has to be looked up."""
        return self._orders.get(workflow_id)

    def put(self, workflow_id: str, order: Order) -> None:
        """Note the order of a workflow."""
        if len(self._orders) >= _MOST:
            self._orders = {}
        self._orders[workflow_id] = order

    def forget(self, workflow_id: str) -> None:
        """Look it up the next time."""
        self._orders.pop(workflow_id, None)
