"""Records: small data that engines attach to a checkpoint id, beside the log.

Each call writes one object under a new key, so that calls do not contend for a revision, and a batch exists as a whole
or not at all. The key contains a stamp, which orders the batches of a checkpoint: a hybrid logical clock (Kulkarni et
al., "Logical Physical Clocks", 2014), carried from call to call by the callers. A record is dropped if its key has one,
or replaces that one, as if the batches were applied one after the other. Of two attempts of one request the earlier one
counts.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from holdfast_server.layout.v1.marker_pb2 import RecordBatch
from holdfast_server.protocol.checkpoints.window import Batch, Records, Window
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import frame
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.keys import WorkflowKeys, batch_request, batch_stamp, request_digest
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.put_if_absent import put_if_absent
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, ObjectSummary
from holdfast_server.stores.listing import list_all
from holdfast_server.stores.retried import RetriedStore

MAX_STAMP = (1 << 62) - 1
# For all batches of one checkpoint as they are stored, since a reader reads them all. A batch counts as
# _LEAST_BATCH_BYTES or more.
MAX_CHECKPOINT_BYTES = 64 << 20
_LEAST_BATCH_BYTES = 16 << 10
_LISTED_EVERY_BYTES = 4 << 20
_KNOWN_CHECKPOINTS = 4096
# A caller cannot move the clock of a server further ahead than clocks may differ.
_FURTHEST_MICROSECONDS = 24 * 3600 * 10**6
_DELETES_AT_ONCE = 16
# A batch is in memory as bytes and as a message.
_READS_AT_ONCE = 4
# More than a call may attach.
_LARGEST_BATCH_BYTES = 4 << 20
# A larger frame is compressed or decoded in a thread, so that it does not hold up other calls.
_THREAD_BYTES = 32 << 10


class Stamps:
    """The clock of a server. Each stamp is larger than all before it and than the one that the caller has observed."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, observed: int = 0) -> int:
        """Return a new stamp: microseconds since the epoch, or more if clocks differ.

        Args:
            observed: the largest stamp that the caller has seen.

        """
        clock = time.time_ns() // 1000
        bounded = min(observed, clock + _FURTHEST_MICROSECONDS)
        self._last = max(clock, self._last + 1, bounded + 1)
        return self._last


class Room:
    """A limit on the records of each checkpoint.

    The bytes that this process attaches are counted. The store is listed only after a few megabytes, so that a
    checkpoint with few records costs no further request. Each of several servers, and each restart, may exceed the
    limit by that much.

    Args:
        store: the store.

    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        # By workflow and checkpoint: the bytes that were listed, and those attached since.
        self._known: OrderedDict[tuple[WorkflowKeys, str], tuple[int, int]] = OrderedDict()

    async def require(
        self, keys: WorkflowKeys, checkpoint_id: str, more_bytes: int, *, limit_bytes: int = MAX_CHECKPOINT_BYTES
    ) -> None:
        """Refuse a batch that exceeds the limit of its checkpoint, otherwise count it.

        Args:
            keys: the workflow.
            checkpoint_id: the checkpoint.
            more_bytes: the size of the batch.
            limit_bytes: how much the checkpoint may have.

        Raises:
            HoldfastError: QUOTA_EXCEEDED.
            StoreError: the store cannot be used.

        """
        checkpoint = (keys, checkpoint_id)
        listed, since = self._known.pop(checkpoint, (0, 0))
        more = max(more_bytes, _LEAST_BATCH_BYTES)
        if since + more > _LISTED_EVERY_BYTES or listed + since + more > limit_bytes:
            found = await _listed(self._store, keys, checkpoint_id)
            listed, since = sum(max(each.size_bytes, _LEAST_BATCH_BYTES) for each in found), 0
        is_full = listed + since + more > limit_bytes
        self._known[checkpoint] = (listed, since if is_full else since + more)
        if len(self._known) > _KNOWN_CHECKPOINTS:
            self._known.popitem(last=False)
        if is_full:
            raise HoldfastError(
                Reason.QUOTA_EXCEEDED,
                f"records: checkpoint {checkpoint_id!r} has {listed} bytes of records, "
                f"{more} more exceed the limit of {limit_bytes} (a call counts {_LEAST_BATCH_BYTES} or more)",
                checkpoint_id=checkpoint_id,
                limit_bytes=limit_bytes,
            )


async def attach(log: Log, keys: WorkflowKeys, batch: RecordBatch, *, deadline: float) -> None:
    """Write a batch of records.

    Args:
        log: the log.
        keys: the workflow.
        batch: the records; their checkpoint need not exist.
        deadline: when to give up, in the event loop's time.

    Raises:
        HoldfastError: COMMIT_UNKNOWN, QUOTA_EXCEEDED.
        StoreError: the store cannot be used.

    """
    key = keys.batch(batch.checkpoint_id, batch.stamp, request_digest(batch.request_id))
    await _write(log, key, batch, version=log.marker_version, deadline=deadline)


async def copy(log: Log, source: WorkflowKeys, target: WorkflowKeys, checkpoint_id: str, *, deadline: float) -> None:
    """Copy the records of a checkpoint to the one with the same id in another workflow, which has none.

    Raises:
        HoldfastError: COMMIT_UNKNOWN; CHECKPOINT_CORRUPTED: a batch is damaged; LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    for key in await batches(log.store, source, checkpoint_id):
        batch = await _read_batch(log.store, source, key)
        if batch is not None:
            place = target.batch(checkpoint_id, batch.stamp, batch.request)
            # What a newer server wrote in short form lacks what version 1 repeats.
            version = log.marker_version if batch.message.request_id else marker_codec.MARKER_VERSION
            await _write(log, place, batch.message, version=version, deadline=deadline)


async def _write(log: Log, key: str, batch: RecordBatch, *, version: int, deadline: float) -> None:
    if batch.ByteSize() > _THREAD_BYTES:
        data = await asyncio.to_thread(marker_codec.encode_batch, batch, key, version)
    else:
        data = marker_codec.encode_batch(batch, key, version)
    await put_if_absent(log.store, key, data, is_mine=lambda found: found == data, deadline=deadline)


async def batches(store: ObjectStore, keys: WorkflowKeys, checkpoint_id: str) -> list[str]:
    """Return the keys of the batches of a checkpoint id, the oldest first."""
    return [each.key for each in await _listed(store, keys, checkpoint_id)]


async def _listed(store: ObjectStore, keys: WorkflowKeys, checkpoint_id: str) -> list[ObjectSummary]:
    listed = [each async for each in list_all(store, keys.batches(checkpoint_id))]
    return [each for each in listed if batch_stamp(each.key.removeprefix(keys.prefix)) is not None]


async def read(
    store: ObjectStore,
    keys: WorkflowKeys,
    checkpoint_id: str,
    *,
    after: str = "",
    limit_bytes: int | None = None,
    max_records: int | None = None,
    hold: Callable[[int], None] = lambda _: None,
) -> Records:
    """Read the records of a checkpoint id, as many as fit.

    Every batch is read, since each may hold the next key. At most a few batches and the result are in memory.

    Args:
        store: the store.
        keys: the workflow.
        checkpoint_id: the checkpoint.
        after: the key after which to begin; "" for the first one.
        limit_bytes: how many bytes the records may have as fields of a message; None for all records. The first record
            is returned whatever its size.
        max_records: the most records to return; None for any number.
        hold: called with the number of bytes that the read takes in memory at most, before it begins. May raise.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: a batch is damaged; LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    listed = await _listed(store, keys, checkpoint_id)
    hold(_most_bytes(listed, limit_bytes))
    found = [each.key for each in listed]
    window = Window(after, limit_bytes, max_records)
    try:
        for start in range(0, len(found), _READS_AT_ONCE):
            some = found[start : start + _READS_AT_ONCE]
            for batch in await asyncio.gather(*(_read_batch(store, keys, key) for key in some)):
                if batch is not None:
                    window.apply(batch)
    except HoldfastError as error:
        error.metadata.setdefault("checkpoint_id", checkpoint_id)
        raise
    return window.records()


def _most_bytes(listed: Sequence[ObjectSummary], limit_bytes: int | None) -> int:
    """Return how many bytes of batches are in memory at once: those being read, raw and parsed, and those kept."""
    bodies = (min(max(each.size_bytes, frame.most_bytes(each.size_bytes)), _LARGEST_BATCH_BYTES) for each in listed)
    sizes = sorted(bodies, reverse=True)
    total = sum(sizes)
    return 2 * sum(sizes[:_READS_AT_ONCE]) + (total if limit_bytes is None else min(total, limit_bytes))


async def forget(store: ObjectStore, found: Sequence[str]) -> None:
    """Remove batches by their keys. A key is never used again, so that a late request is harmless."""
    for start in range(0, len(found), _DELETES_AT_ONCE):
        await asyncio.gather(*(store.delete(key) for key in found[start : start + _DELETES_AT_ONCE]))


async def check(store: ObjectStore, keys: WorkflowKeys, key: str) -> int:
    """Return the number of records in a batch; 0 if it does not exist.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: it is damaged, or belongs to another key; LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    batch = await _read_batch(store, keys, key)
    return 0 if batch is None else len(batch.message.records)


async def _read_batch(store: ObjectStore, keys: WorkflowKeys, key: str) -> Batch | None:
    try:
        data = await read_whole(RetriedStore(store), key)
    except ObjectNotFoundError:
        # It was collected after the listing.
        return None
    if len(data) > _THREAD_BYTES:
        batch, version = await asyncio.to_thread(marker_codec.decode_batch, data, key)
    else:
        batch, version = marker_codec.decode_batch(data, key)
    relative = key.removeprefix(keys.prefix)
    stamp, request = batch_stamp(relative) or 0, batch_request(relative)
    # The checksum of a newer version covers the key.
    is_in_place = version > 1 or key == keys.batch(batch.checkpoint_id, batch.stamp, request_digest(batch.request_id))
    if not stamp <= MAX_STAMP or not is_in_place:
        raise HoldfastError(
            Reason.CHECKPOINT_CORRUPTED, "a batch of records is damaged: it belongs to another key", key=key
        )
    return Batch(batch, stamp, request)
