"""How far a process has written the index of ids of each workflow, so that its next save can say so."""

from collections import OrderedDict

from holdfast_server.protocol.format.keys import WorkflowKeys

# About 150 bytes each. A workflow that is dropped is indexed again from where its head says, which finds the objects.
_MOST_WORKFLOWS = 20_000


class Indexed:
    """The last revisions of the indexes that this process has written, of the workflows that were saved to last.

    They stay true if the workflow is deleted: a later index begins above them.
    """

    def __init__(self) -> None:
        self._ends: OrderedDict[WorkflowKeys, int] = OrderedDict()

    def end(self, keys: WorkflowKeys) -> int:
        """Return the revision up to which this process has written the index of a workflow; 0 if it has not."""
        return self._ends.get(keys, 0)

    def reach(self, keys: WorkflowKeys, end: int) -> None:
        """Note that the index of a workflow is complete and durable up to a revision."""
        self._ends[keys] = end
        self._ends.move_to_end(keys)
        if len(self._ends) > _MOST_WORKFLOWS:
            self._ends.popitem(last=False)
