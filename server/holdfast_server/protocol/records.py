"""Records: small things that engines attach to a checkpoint id, beside the log.

Each call writes one object under a fresh key, so that nobody contends for a slot and a batch is there as a whole or not
at all. The key holds a stamp, by which the batches of a checkpoint are put in order: a hybrid logical clock (Kulkarni
et al., "Logical Physical Clocks", 2014), whose causes the callers carry. A record gives way to what its key has, or
takes its place, as if the batches were applied one after the other; of two tries of one request the earlier counts.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast_server.protocol import marker as marker_codec
from holdfast_server.protocol.bounded_read import read_whole
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import WorkflowKeys, batch_stamp
from holdfast_server.protocol.log import Log
from holdfast_server.protocol.put_if_absent import put_if_absent
from holdfast_server.storage.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore
from holdfast_server.stores.listing import list_all
from holdfast_server.stores.retried import retried

MAX_STAMP = (1 << 62) - 1
# No caller moves the clock of a server further than clocks are apart.
_FURTHEST_MICROSECONDS = 24 * 3600 * 10**6
_READS_AT_ONCE = 16


class Stamps:
    """The stamps of a server: each larger than all that it has given, and than what the caller has seen."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, observed: int = 0) -> int:
        """A new stamp, in microseconds since the epoch while the clocks of servers agree."""
        clock = time.time_ns() // 1000
        seen = min(observed, clock + _FURTHEST_MICROSECONDS)
        self._last = max(clock, self._last + 1, seen + 1)
        return self._last


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a checkpoint id, in the order of their keys, and the largest stamp among them."""

    records: Sequence[StoredRecord] = ()
    stamp: int = 0

    @property
    def size_bytes(self) -> int:
        """The bytes of the records and their keys."""
        return sum(len(each.key.encode()) + len(each.data) for each in self.records)


async def attach(log: Log, keys: WorkflowKeys, batch: RecordBatch, *, deadline: float) -> None:
    """Write a batch.

    Args:
        log: the log.
        keys: the workflow.
        batch: the records, of a checkpoint that need not exist.
        deadline: until when, in the event loop's time.

    Raises:
        HoldfastError: COMMIT_UNKNOWN, QUOTA_EXCEEDED.
        StoreError: the store cannot be used.

    """
    key = keys.batch(batch.checkpoint_id, batch.stamp, batch.request_id)
    frame = marker_codec.encode(batch)
    await put_if_absent(log.store, key, frame, is_mine=lambda data: data == frame, deadline=deadline)


async def copy(log: Log, source: WorkflowKeys, target: WorkflowKeys, checkpoint_id: str, *, deadline: float) -> None:
    """Copy what is attached to a checkpoint to the one of the same id in another workflow, which has none.

    Raises:
        HoldfastError: COMMIT_UNKNOWN; CHECKPOINT_CORRUPTED: a batch is damaged; LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    for key in await batches(log.store, source, checkpoint_id):
        batch = await _read_batch(log.store, source, key)
        if batch is not None:
            await attach(log, target, batch, deadline=deadline)


async def batches(store: ObjectStore, keys: WorkflowKeys, checkpoint_id: str) -> list[str]:
    """The keys of the batches of a checkpoint id, the oldest first."""
    listed = [each.key async for each in list_all(store, keys.batches(checkpoint_id))]
    return [key for key in listed if batch_stamp(key.removeprefix(keys.prefix)) is not None]


async def read(store: ObjectStore, keys: WorkflowKeys, checkpoint_id: str) -> Records:
    """The records of a checkpoint id.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: a batch is damaged; LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    found = await batches(store, keys, checkpoint_id)
    whole: list[RecordBatch] = []
    try:
        for start in range(0, len(found), _READS_AT_ONCE):
            some = found[start : start + _READS_AT_ONCE]
            read_now = await asyncio.gather(*(_read_batch(store, keys, key) for key in some))
            whole += [batch for batch in read_now if batch is not None]
    except HoldfastError as error:
        error.metadata.setdefault("checkpoint_id", checkpoint_id)
        raise
    return _merged(whole)


async def forget(store: ObjectStore, found: Sequence[str]) -> None:
    """Remove batches by their keys. Keys are never used twice, so that a late request does no harm."""
    for start in range(0, len(found), _READS_AT_ONCE):
        await asyncio.gather(*(store.delete(key) for key in found[start : start + _READS_AT_ONCE]))


async def check(store: ObjectStore, keys: WorkflowKeys, key: str) -> int:
    """How many records a batch holds; none where it is gone.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: it is damaged, or lies in another one's place; LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    batch = await _read_batch(store, keys, key)
    return 0 if batch is None else len(batch.records)


async def _read_batch(store: ObjectStore, keys: WorkflowKeys, key: str) -> RecordBatch | None:
    try:
        frame = await retried(lambda: read_whole(store, key))
    except ObjectNotFoundError:
        # Collected since it was listed.
        return None
    batch = marker_codec.decode_batch(frame, key)
    if not 0 <= batch.stamp <= MAX_STAMP or key != keys.batch(batch.checkpoint_id, batch.stamp, batch.request_id):
        raise HoldfastError(
            Reason.CHECKPOINT_CORRUPTED, "a batch of records is damaged: it belongs to another place", key=key
        )
    return batch


def _merged(batches: Sequence[RecordBatch]) -> Records:
    """What the batches come to, which are in the order of their stamps."""
    kept: dict[str, StoredRecord] = {}
    requests: set[str] = set()
    for batch in batches:
        if batch.request_id in requests:
            continue
        requests.add(batch.request_id)
        for record in batch.records:
            if record.replace or record.key not in kept:
                kept[record.key] = record
    return Records([kept[key] for key in sorted(kept)], batches[-1].stamp if batches else 0)
