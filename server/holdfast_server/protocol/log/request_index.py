"""The request ids that a server has found in logs, so that it reads each entry for them only once."""

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

from holdfast_server.protocol.format.keys import WorkflowKeys

# Ids of all workflows together, about 100 bytes each. If one workflow has more, the newest ones are kept.
_MOST_IDS = 200_000


@dataclass(slots=True)
class IndexedRange:
    """The request ids of a range of revisions of one workflow.

    Attributes:
        last: the newest revision that was read.
        revisions: the revision of each id, by the id's hash.

    """

    last: int
    revisions: dict[int, int] = field(default_factory=dict)


class RequestIndex:
    """The request ids of the workflows that were searched last."""

    def __init__(self) -> None:
        self._workflows: OrderedDict[WorkflowKeys, IndexedRange] = OrderedDict()
        self._ids = 0

    def get(self, keys: WorkflowKeys) -> IndexedRange | None:
        """Return the range of a workflow; None if it was not searched lately."""
        indexed = self._workflows.get(keys)
        if indexed is not None:
            self._workflows.move_to_end(keys)
        return indexed

    def start(self, keys: WorkflowKeys, last: int) -> IndexedRange:
        """Start the range of a workflow after a revision."""
        self._workflows[keys] = indexed = IndexedRange(last)
        return indexed

    def add(self, indexed: IndexedRange, revision: int, request_id: str) -> None:
        """Add the next revision to a range; with the id "" if its entry cannot be read."""
        indexed.last = revision
        if not request_id:
            return
        before = len(indexed.revisions)
        indexed.revisions[hash(request_id)] = revision
        self._ids += len(indexed.revisions) - before
        while self._ids > _MOST_IDS:
            self._shrink(indexed)

    def _shrink(self, kept: IndexedRange) -> None:
        keys, oldest = next(iter(self._workflows.items()))
        if oldest is not kept:
            del self._workflows[keys]
            self._ids -= len(oldest.revisions)
            return
        for request_hash in list(islice(kept.revisions, max(1, len(kept.revisions) // 2))):
            del kept.revisions[request_hash]
            self._ids -= 1
