"""What a saver knows of the order of a workflow's checkpoints.

LangGraph's latest checkpoint is the one with the largest id, Holdfast's newest is the one that was saved last. They are
the same while ids grow from save to save. A save whose id is not larger than those before it, and each save behind it,
is labelled, so that who reads the newest learns that the order has to be looked up.
"""

from dataclasses import dataclass

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Order:
    """The largest id of a workflow, "" for none, and whether the newest checkpoint may be another one."""

    largest_id: str = ""
    is_mixed: bool = False

    def mixes(self, checkpoint_id: str) -> bool:
        """Whether the order is no longer that of the ids, once this one is saved."""
        return self.is_mixed or checkpoint_id < self.largest_id

    def with_id(self, checkpoint_id: str) -> "Order":
        """The order once it is saved."""
        return Order(max(self.largest_id, checkpoint_id), self.mixes(checkpoint_id))


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
