"""The newest known entry of each workflow, within a budget of memory."""

from collections import OrderedDict
from dataclasses import dataclass

from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import Entry

# The memory that a decoded marker takes beyond its bytes: the protobuf arena and the objects around it, and a message
# for each repeated field and label. Measured: tests/unit/server/protocol/log/test_head_cache.py.
_HEAD_BYTES = 3_000
_REPEATED_BYTES = 70
_LABEL_BYTES = 200


@dataclass(frozen=True, slots=True)
class Head:
    """An entry that was the newest one at `read_at` or later, by a clock that counts suspend."""

    entry: Entry
    read_at: float

    @property
    def held_bytes(self) -> int:
        """About how much memory it takes."""
        marker = self.entry.marker
        repeated = len(marker.deleted) + len(marker.recent) + len(marker.parts)
        return (
            _HEAD_BYTES
            + self.entry.size_bytes * 6 // 5
            + repeated * _REPEATED_BYTES
            + len(marker.labels) * _LABEL_BYTES
            + 4 * (len(marker.namespace) + len(marker.workflow_id))
        )


class HeadCache:
    """The heads of the workflows that were used last.

    Args:
        limit_bytes: about how much memory they may take together. The newest one stays in any case.

    Attributes:
        held_bytes: about how much memory they take.

    """

    def __init__(self, limit_bytes: int) -> None:
        self.held_bytes = 0
        self._limit_bytes = limit_bytes
        # Each with the memory that it takes.
        self._heads: OrderedDict[WorkflowKeys, tuple[Head, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of heads."""
        return len(self._heads)

    def get(self, keys: WorkflowKeys) -> Head | None:
        """Return the head of a workflow; None if it is not in the cache."""
        held = self._heads.get(keys)
        return None if held is None else held[0]

    def touch(self, keys: WorkflowKeys) -> None:
        """Mark the head of a workflow as used, so that others are dropped first."""
        self._heads.move_to_end(keys)

    def keep(self, keys: WorkflowKeys, head: Head) -> None:
        """Keep the head of a workflow in place of the one before, and drop the least recently used ones."""
        before, before_bytes = self._heads.pop(keys, (None, 0))
        is_same = before is not None and before.entry is head.entry
        held_bytes = before_bytes if is_same else head.held_bytes
        self._heads[keys] = head, held_bytes
        self.held_bytes += held_bytes - before_bytes
        while self.held_bytes > self._limit_bytes and len(self._heads) > 1:
            self.forget(next(iter(self._heads)))

    def forget(self, keys: WorkflowKeys) -> None:
        """Drop the head of a workflow, if it is in the cache."""
        _, held_bytes = self._heads.pop(keys, (None, 0))
        self.held_bytes -= held_bytes
