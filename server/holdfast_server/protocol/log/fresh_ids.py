"""Checkpoint ids that are not claimed, since their callers promised that they are new: an index finds them.

The commit of such a checkpoint is its marker alone. Its id is found, newest first:

- among the recent entries of the head;
- above the end of the index, by the recent entries of one marker in sixteen;
- in the objects of the index (`format/id_index`), which are written after the commits that they contain.

A marker says where the index begins and up to which revision it is complete. Nothing else decides what it contains, so
that an object may be written by any process, more than once, or never: without it, its part of the log is read.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice

from holdfast_server.layout.v1.marker_pb2 import IdIndex, Marker, MarkerKind
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import id_index
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.id_index import (
    BLOCK,
    DIGEST_BYTES,
    MOST_UNINDEXED,
    NO_CHECKPOINT,
    UNKNOWN,
    digest_of,
)
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log import next_marker, recent
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.put_if_absent import put_if_absent
from holdfast_server.protocol.log.walks import newest_below, read_many, scan
from holdfast_server.stores.base import ObjectNotFoundError

# How many objects are written in a row.
_MOST_OBJECTS = 8
_OBJECTS_AT_ONCE = 16
_STRIDE = 16
# A damaged log may have very many.
_MOST_DAMAGED = 100
# Servers that do not know the index refuse markers of this version.
_MARKER_VERSION = 2


def has_any(head: Entry) -> bool:
    """Return whether a log has a checkpoint whose id was not claimed, according to its head."""
    return head.marker.last_fresh_revision > head.marker.floor


def has_room(log: Log, keys: WorkflowKeys, head: Entry | None) -> bool:
    """Return whether the next checkpoint may do without a claim.

    An older server, which would not find it, must refuse the log, and too many that are not indexed would be a long
    walk.
    """
    if log.version_after(head) < _MARKER_VERSION:
        return False
    if head is None or not has_any(head):
        return True
    return head.revision - _end(log, keys, head.marker) < MOST_UNINDEXED


def enter(log: Log, keys: WorkflowKeys, marker: Marker, *, is_fresh: bool) -> None:
    """Enter into a marker of a checkpoint whether its id was claimed, and how far the index is complete by now."""
    if is_fresh:
        if not marker.last_fresh_revision:
            marker.indexed_from = marker.indexed_to = marker.revision - 1
        marker.fresh_id = True
        marker.last_fresh_revision = marker.revision
    if marker.last_fresh_revision:
        marker.indexed_to = _end(log, keys, marker)


def is_due(log: Log, entry: Entry) -> bool:
    """Return whether the next object of the index can be written, now that an entry is committed."""
    return has_any(entry) and entry.revision - _end(log, entry.keys, entry.marker) >= BLOCK


async def find(log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str) -> Entry | None:
    """Return the newest checkpoint with an id from the start of the index to the newest id that was not claimed.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: a damaged marker may be the one with the id; LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    if not has_any(head):
        return None
    damaged: list[HoldfastError] = []
    async for (first, last), found in _candidates(log, keys, head, checkpoint_id):
        if isinstance(found, Entry):
            if found.is_save_of(checkpoint_id):
                return found
        elif not await next_marker.is_gone_by_now(log, keys, last, head, first=first):
            damaged.append(found)
            if len(damaged) == _MOST_DAMAGED:
                break
    if damaged:
        raise damaged[-1]
    return None


async def extend(log: Log, head: Entry, *, deadline: float) -> None:
    """Write the objects of the index that the revisions up to a head fill, and note how far it is complete.

    Args:
        log: the log.
        head: a committed entry of it.
        deadline: when to give up, in the event loop's time.

    Raises:
        HoldfastError: COMMIT_UNKNOWN, LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    keys, start = head.keys, head.marker.indexed_from
    for _ in range(_MOST_OBJECTS):
        end = _end(log, keys, head.marker) + BLOCK
        if not has_any(head) or end > head.revision:
            return
        await _write(log, keys, head, (end - start) // BLOCK, deadline)
        log.indexed.reach(keys, end)


async def rebuilt(log: Log, keys: WorkflowKeys, head: Entry, revisions: Range) -> bytes:
    """Return the frame of an object of the index, from the log alone.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    return _frame(keys.index(*revisions), *await _from_log(log, keys, head, revisions))


async def read_object(log: Log, keys: WorkflowKeys, revisions: Range) -> tuple[int, bytes]:
    """Return the first revision of an object of the index, and the digests from there on.

    Raises:
        ObjectNotFoundError: it does not exist.
        HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    key = keys.index(*revisions)
    body = marker_codec.decode_index(await read_whole(log.retried_store, key), key, revisions)
    return body.first_revision, body.digests


def _end(log: Log, keys: WorkflowKeys, marker: Marker) -> int:
    """Return how far the index is complete, according to a marker or to this process."""
    return max(marker.indexed_to, log.indexed.end(keys))


async def _candidates(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str
) -> AsyncIterator[tuple[Range, Entry | HoldfastError]]:
    """Yield the entries that may have an id, newest first; a damaged one, or a range of missing ones, as its error."""
    digest = digest_of(checkpoint_id)
    async for revisions, piece in _newest_first(log, keys, head):
        if piece is None:
            found = [each async for each in scan(log, keys, *revisions)]
            for each in reversed(found):
                yield each
            continue
        first, digests = piece
        for place in id_index.places(digests, digest):
            revision = first + place
            is_unknown = digests[place * DIGEST_BYTES :][:DIGEST_BYTES] == UNKNOWN
            if revision > head.marker.floor and not (is_unknown and head.gone(revision)):
                yield (revision, revision), (await read_many(log, keys, [revision]))[0]


async def _newest_first(
    log: Log, keys: WorkflowKeys, head: Entry
) -> AsyncIterator[tuple[Range, tuple[int, bytes] | None]]:
    """Yield the ids up to the newest one that was not claimed, in pieces: from which revision on, and their digests.

    None: the object of the index is damaged or missing.
    """
    start, floor = head.marker.indexed_from, head.marker.floor
    end = max(head.marker.indexed_to, floor)
    if head.marker.last_fresh_revision > end:
        tail = (end + 1, head.marker.last_fresh_revision)
        yield tail, (end + 1, await _read_log(log, keys, head, tail))
    objects = id_index.cover(start, head.marker.indexed_to, floor)
    while some := list(islice(objects, _OBJECTS_AT_ONCE)):
        for revisions, piece in zip(
            some, await asyncio.gather(*(_read(log, keys, each) for each in some)), strict=True
        ):
            yield (max(revisions[0], floor + 1), revisions[1]), piece
            if piece is None and (newest := await newest_below(log, keys, revisions[1] + 1)) < revisions[0]:
                # Nothing is left of these revisions. A damaged head may claim that billions exist.
                objects = id_index.cover(start, newest, floor)
                break


async def _read(log: Log, keys: WorkflowKeys, revisions: Range) -> tuple[int, bytes] | None:
    """Return the same as `read_object`; None if the object is damaged or missing."""
    try:
        return await read_object(log, keys, revisions)
    except ObjectNotFoundError:
        return None
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
        return None


async def _write(log: Log, keys: WorkflowKeys, head: Entry, number: int, deadline: float) -> None:
    start, floor = head.marker.indexed_from, head.marker.floor
    covered = id_index.covered(start, number)
    block = (covered[1] - BLOCK + 1, covered[1])
    if covered[1] <= floor:
        return
    first = max(block[0], floor + 1)
    digests = await _read_log(log, keys, head, (first, block[1]))
    for each in id_index.cover(start, block[0] - 1, floor):
        # An object that begins later than its range was written when the floor was higher than this head says.
        if first > each[1] + 1 or each[0] < covered[0]:
            break
        first, older = await _read(log, keys, each) or await _from_log(log, keys, head, each)
        digests = older + digests
    key = keys.index(*covered)
    frame = _frame(key, first, digests)
    # Another process may have written it: any object of this range contains the same ids.
    await put_if_absent(log.store, key, frame, is_mine=lambda data: data == frame, deadline=deadline)


def _frame(key: str, first: int, digests: bytes) -> bytes:
    return marker_codec.encode_index(IdIndex(first_revision=first, digests=digests), key)


async def _from_log(log: Log, keys: WorkflowKeys, head: Entry, revisions: Range) -> tuple[int, bytes]:
    """Return the first revision of a range that is above the floor, and the digests of the ids from there on."""
    begin = max(revisions[0], head.marker.floor + 1)
    digests = bytearray(UNKNOWN * (revisions[1] - begin + 1))
    async for (_, revision), entry in scan(log, keys, begin, revisions[1]):
        if isinstance(entry, Entry):
            place = DIGEST_BYTES * (revision - begin)
            is_checkpoint = entry.marker.kind == MarkerKind.MARKER_KIND_DATA
            digest = digest_of(entry.marker.checkpoint_id) if is_checkpoint else NO_CHECKPOINT
            digests[place : place + DIGEST_BYTES] = digest
    return begin, bytes(digests)


async def _read_log(log: Log, keys: WorkflowKeys, head: Entry, revisions: Range) -> bytes:
    """Return the digests of the ids of a few revisions.

    Read one marker in sixteen, since each has the ids of the entries before it, then those that remain unknown.
    """
    wanted = range(revisions[0], revisions[1] + 1)
    found: dict[int, bytes] = dict(recent.checkpoints(head.marker))
    for stride in (_STRIDE, 1):
        some = [revision for revision in reversed(wanted) if revision not in found][::stride]
        for revision, entry in zip(some, await read_many(log, keys, some), strict=True):
            if isinstance(entry, Entry):
                found.update(recent.checkpoints(entry.marker))
            else:
                found.setdefault(revision, UNKNOWN)
    return b"".join(found[revision] for revision in wanted)
