"""The request ids that a server has read in the logs of workflows, so that it reads each slot for them once."""

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

from holdfast_server.protocol.format.keys import WorkflowKeys

# Ids of all workflows together; about 100 bytes each. Of a workflow with more only the newest ones are kept.
_MOST_IDS = 200_000


@dataclass(slots=True)
class Seen:
    """The request ids of a range of a workflow's slots.

    Attributes:
        last: the newest slot that was read.
        revisions: the slot of each id, by its hash.

    """

    last: int
    revisions: dict[int, int] = field(default_factory=dict)


class SeenRequests:
    """What is known of the workflows that were searched lately."""

    def __init__(self) -> None:
        self._workflows: OrderedDict[WorkflowKeys, Seen] = OrderedDict()
        self._ids = 0

    def of(self, keys: WorkflowKeys) -> Seen | None:
        """What is known of a workflow; None where it was not searched lately."""
        seen = self._workflows.get(keys)
        if seen is not None:
            self._workflows.move_to_end(keys)
        return seen

    def begin(self, keys: WorkflowKeys, last: int) -> Seen:
        """Begin behind a slot with a workflow that was not searched lately."""
        self._workflows[keys] = seen = Seen(last)
        return seen

    def enter(self, seen: Seen, revision: int, request_id: str) -> None:
        """Enter the next slot; "" where it cannot be read."""
        seen.last = revision
        if not request_id:
            return
        before = len(seen.revisions)
        seen.revisions[hash(request_id)] = revision
        self._ids += len(seen.revisions) - before
        while self._ids > _MOST_IDS:
            self._shrink(seen)

    def _shrink(self, kept: Seen) -> None:
        keys, oldest = next(iter(self._workflows.items()))
        if oldest is not kept:
            del self._workflows[keys]
            self._ids -= len(oldest.revisions)
            return
        for each in list(islice(kept.revisions, max(1, len(kept.revisions) // 2))):
            del kept.revisions[each]
            self._ids -= 1
