"""The records of a checkpoint id, as its batches are applied one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord

# Tags and lengths of a record, its key and its data: https://protobuf.dev/programming-guides/encoding/
_FIELD_BYTES = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of one call.

    Attributes:
        message: the records. In frames of version 2 it has no other fields.
        stamp: orders the batches of the checkpoint.
        request: identifies the request that attached it, see `keys.request_digest`.

    """

    message: RecordBatch
    stamp: int
    request: str


@dataclass(frozen=True, slots=True)
class Records:
    """Records of a checkpoint id, in the order of their keys.

    Attributes:
        records: the records.
        stamp: the largest stamp of all batches of the checkpoint.
        is_whole: whether no record follows.

    """

    records: Sequence[StoredRecord]
    stamp: int
    is_whole: bool


class Window:
    """The first records after a key, as batches are applied in the order of their stamps.

    A key that was dropped because of the limit is not added again, since the records that it had are forgotten.
    """

    def __init__(self, after: str, limit_bytes: int | None, max_records: int | None) -> None:
        self._after = after
        self._limit_bytes = limit_bytes
        self._max_records = max_records
        # This key and later ones are dropped; None if none was.
        self._dropped_from: str | None = None
        self._kept: dict[str, StoredRecord] = {}
        self._size_bytes = 0
        self._requests: set[str] = set()
        self._stamp = 0

    def apply(self, batch: Batch) -> None:
        """Apply a batch, unless an earlier one of its request was applied."""
        self._stamp = max(self._stamp, batch.stamp)
        if batch.request in self._requests:
            return
        self._requests.add(batch.request)
        for record in batch.message.records:
            if self._is_within(record.key) and (record.replace or record.key not in self._kept):
                before = self._kept.get(record.key)
                self._size_bytes += _field_bytes(record) - (0 if before is None else _field_bytes(before))
                self._kept[record.key] = record
        self._drop()

    def records(self) -> Records:
        """Return the records that result from the batches."""
        return Records([self._kept[key] for key in sorted(self._kept)], self._stamp, self._dropped_from is None)

    def _is_within(self, key: str) -> bool:
        is_dropped = self._dropped_from is not None and key >= self._dropped_from
        return (not self._after or key > self._after) and not is_dropped

    def _drop(self) -> None:
        """Drop the last keys while there are too many."""
        if self._fits():
            return
        for key in sorted(self._kept, reverse=True):
            if self._fits():
                break
            self._size_bytes -= _field_bytes(self._kept.pop(key))
            self._dropped_from = key

    def _fits(self) -> bool:
        count = len(self._kept)
        # A single record is kept whatever its size.
        has_room = self._limit_bytes is None or self._size_bytes <= self._limit_bytes or count == 1
        return has_room and (self._max_records is None or count <= self._max_records)


def _field_bytes(record: StoredRecord) -> int:
    """Return the size of a record as a field of a message, or a few bytes more."""
    return len(record.key.encode()) + len(record.data) + _FIELD_BYTES
