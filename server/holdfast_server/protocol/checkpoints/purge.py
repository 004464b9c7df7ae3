"""Purges: deletions whose bytes go at once, for the sake of privacy, and not after the grace.

The deletion is committed first, and its marker names the slots whose content goes. Then the content is removed: blobs,
records and claims, last what the markers themselves hold. A marker is not removed but replaced by what the log needs of
it, in one step: a slot that stood empty for a moment could be won by a writer whose view of the log is of before, and
whoever looks for what he put there finds its digest. What a purge that broke has left, its retry removes, or the next
collection.

A reader under way meets parts that are gone, or a marker without its content, and looks again. Ids stay until they are
collected: the log must know what was deleted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.checkpoints import records
from holdfast_server.protocol.checkpoints.delete import delete_workflow
from holdfast_server.protocol.checkpoints.heads import no_workflow
from holdfast_server.protocol.checkpoints.live import newest_live
from holdfast_server.protocol.checkpoints.lookup import find_by_id
from holdfast_server.protocol.checkpoints.retention import blob_number
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import WorkflowKeys, batch_stamp, blob_base
from holdfast_server.protocol.format.revision_set import RevisionSet
from holdfast_server.protocol.log import append_once, next_marker
from holdfast_server.protocol.log.append_once import Appended, Request, append
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import scan
from holdfast_server.stores.base import StoreError
from holdfast_server.stores.listing import list_all

_AT_ONCE = 16


async def purge(log: Log, request: Request, checkpoint_id: str, *, deadline: float) -> Appended:
    """Delete a checkpoint and remove its content, and that of all that had its id before, deleted or not.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_NOT_FOUND; CHECKPOINT_DELETED: and nothing of it is left;
            WRITER_FENCED, REQUEST_ID_REUSED; COMMIT_UNKNOWN: also where it is deleted and not all is removed, which the
            same request does; CHECKPOINT_CORRUPTED: a marker is damaged, which may be the one.
        StoreError: the store cannot be used.

    """
    keys = request.keys
    fingerprint = sha256(b"purge\0" + checkpoint_id.encode()).digest()
    versions: list[int] = []
    looked_up_to = 0

    async def build(head: Entry | None) -> Marker:
        nonlocal looked_up_to
        if head is None:
            raise no_workflow(keys)
        await append_once.refuse_or_replay(log, head, request, fingerprint)
        versions.extend(await _versions(log, keys, head, checkpoint_id, looked_up_to))
        looked_up_to = head.revision
        if not versions:
            # It says why.
            await find_by_id(log, keys, head, checkpoint_id)
        marker = next_marker.successor(head, request, MarkerKind.MARKER_KIND_DELETED, fingerprint)
        marker.checkpoint_id = checkpoint_id
        # What an earlier try of a save has left of its upload goes too: no upload of before may commit any more.
        marker.low_water_mark = marker.revision
        marker.purged.extend(next_marker.with_deleted((), [(each, each) for each in versions]))
        live = {each for each in versions if not head.gone(each)}
        next_marker.mark_deleted(marker, [(each, each) for each in live])
        if head.marker.last_data_revision in live:
            marker.last_data_revision = await newest_live(log, keys, head, live)
            marker.previous_data_revision = marker.last_data_revision
        return next_marker.remember(marker, head)

    attached = await records.batches(log.store, keys, checkpoint_id)
    done = await append(log, request, build, deadline)
    return await _finished(log, keys, done, attached)


async def purge_workflow(log: Log, request: Request, attached: Iterable[str], *, deadline: float) -> Appended:
    """Delete a workflow and remove all content that was in it.

    Args:
        log: the log.
        request: who asks.
        attached: the batches of records that were there before.
        deadline: until when, in the event loop's time.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, WRITER_FENCED, REQUEST_ID_REUSED; COMMIT_UNKNOWN: also where it is deleted
            and not all is removed, which the same request does.
        StoreError: the store cannot be used.

    """
    done = await delete_workflow(log, request, deadline=deadline, purges=True)
    return await _finished(log, request.keys, done, attached)


async def _finished(log: Log, keys: WorkflowKeys, done: Appended, attached: Iterable[str]) -> Appended:
    """The same deletion, once its content is removed."""
    try:
        await finish(log, keys, done.entry, () if done.replayed else attached)
    except StoreError as error:
        # Whatever the store has refused, the deletion is committed.
        raise HoldfastError(
            Reason.COMMIT_UNKNOWN,
            f"the deletion is committed, but not all of the content could be removed: {error}",
            revision=done.entry.revision,
            last_said=error,
        ) from error
    return done


async def finish(log: Log, keys: WorkflowKeys, deletion: Entry, attached: Iterable[str] = ()) -> int:
    """Remove the content that a committed deletion says goes at once, as far as it is there.

    Args:
        log: the log.
        keys: the workflow.
        deletion: the deletion.
        attached: batches of records to remove beside those that are older than the deletion.

    Returns:
        How many checkpoints were there.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    await _remove(log, [*attached, *[key async for key in _older_batches(log, keys, deletion)]])
    await _remove(log, [key async for key in _dead_blobs(log, keys, deletion)])
    if not deletion.marker.checkpoint_id:
        await _remove(log, [key async for key in _dead_claims(log, keys, deletion)])
    purged = 0
    for each in deletion.marker.purged:
        some: list[Entry] = []
        async for (_, revision), entry in scan(log, keys, each.first, each.last):
            if isinstance(entry, Entry) and entry.is_checkpoint:
                some.append(entry)
            elif isinstance(entry, HoldfastError) and not isinstance(entry, MarkerGoneError):
                # It cannot be read, but may still hold what was in it. It stays a damaged one.
                await log.store.replace(keys.marker(revision), b"")
            if len(some) == _AT_ONCE:
                purged += await _erase(log, keys, some)
                some = []
        purged += await _erase(log, keys, some)
    return purged


async def _erase(log: Log, keys: WorkflowKeys, some: list[Entry]) -> int:
    async def erase(entry: Entry) -> None:
        await _remove(log, [keys.blob(part.blob) for part in entry.marker.parts if part.blob])
        # Last: as long as it is there, what it names may be, too.
        bare = marker_codec.encode(marker_codec.without_content(entry.marker, entry.digest))
        await log.store.replace(keys.marker(entry.revision), bare)

    await asyncio.gather(*map(erase, some))
    return len(some)


async def _versions(log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, above: int) -> list[int]:
    """The slots whose content is a checkpoint with an id, collected ones left out."""
    found = []
    async for (_, revision), entry in scan(log, keys, above + 1, head.revision):
        if isinstance(entry, Entry):
            if entry.is_checkpoint and entry.marker.checkpoint_id == checkpoint_id:
                found.append(revision)
        elif not isinstance(entry, MarkerGoneError) and not head.gone(revision):
            raise entry
    return found


async def _older_batches(log: Log, keys: WorkflowKeys, deletion: Entry) -> AsyncIterator[str]:
    """The batches of records that are surely older than the deletion, by the store's own clock."""
    key = keys.marker(deletion.revision)
    listed = await log.retried_store.list(key, limit=1)
    checkpoint_id = deletion.marker.checkpoint_id
    async for each in list_all(log.store, keys.batches(checkpoint_id) if checkpoint_id else keys.records):
        is_older = bool(listed) and each.modified_seconds < listed[0].modified_seconds
        if is_older and batch_stamp(each.key.removeprefix(keys.prefix)) is not None:
            yield each.key


async def _dead_blobs(log: Log, keys: WorkflowKeys, deletion: Entry) -> AsyncIterator[str]:
    """The blobs of uploads that began before the deletion, but for those that a checkpoint names which stays.

    A save that has not committed by then may not use them any more.
    """
    is_named: Callable[[int], bool] | None = None
    async for each in list_all(log.store, keys.blobs):
        relative = each.key.removeprefix(keys.prefix)
        base = blob_base(relative)
        if base is None:
            continue
        if base >= deletion.marker.low_water_mark:
            break
        is_named = is_named or await _naming(log, keys, deletion)
        if not is_named(blob_number(relative)):
            yield each.key


async def _naming(log: Log, keys: WorkflowKeys, deletion: Entry) -> Callable[[int], bool]:
    """Tells of a blob's number whether a checkpoint may need it that is older than a deletion and stays."""
    marker, named = deletion.marker, set[int]()
    goes = RevisionSet(0, [(each.first, each.last) for each in marker.purged])
    if goes.all_of((1, deletion.revision - 1)):
        return lambda number: False
    async for (_, revision), entry in scan(log, keys, 1, deletion.revision - 1):
        if isinstance(entry, Entry):
            if not goes.is_deleted(revision):
                named.update(blob_number(part.blob) for part in entry.marker.parts if part.blob)
        elif not isinstance(entry, MarkerGoneError) and not deletion.gone(revision):
            # What it needs, nobody can tell.
            return lambda number: True
    return named.__contains__


async def _dead_claims(log: Log, keys: WorkflowKeys, deletion: Entry) -> AsyncIterator[str]:
    """The claims of earlier generations, which no longer count."""
    async for each in list_all(log.store, keys.claims):
        if each.key >= keys.claims_of(deletion.marker.claim_generation):
            break
        if keys.is_claim(each.key):
            yield each.key


async def _remove(log: Log, doomed: list[str]) -> None:
    for start in range(0, len(doomed), _AT_ONCE):
        await asyncio.gather(*(log.store.delete(key) for key in doomed[start : start + _AT_ONCE]))
