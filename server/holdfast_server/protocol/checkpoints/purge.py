"""Purges: deletions that remove the bytes at once instead of after the grace, for privacy.

The deletion is committed first; its marker names the revisions whose content is purged, and no later checkpoint may
rest on anything before it. Then checkpoints that rest on what is purged are stored without it (`dependents`). Only then
the content is removed: blobs, records and claims, and last the content of the markers. A marker is not removed but
replaced in one step by the fields that the log needs, for two reasons:

- a revision without a marker could be won by a writer with an old view of the log;
- the server that wrote the marker recognises it by the digest that stays.

What a broken purge has left is removed by its retry or by the next collection. A concurrent reader finds missing parts
or a marker without content, and begins again. Ids stay until they are collected, since the log must know what was
deleted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.checkpoints import dependents, records
from holdfast_server.protocol.checkpoints.delete import delete_workflow
from holdfast_server.protocol.checkpoints.heads import no_workflow
from holdfast_server.protocol.checkpoints.live import newest_live
from holdfast_server.protocol.checkpoints.lookup import find_by_id
from holdfast_server.protocol.checkpoints.retention import blob_number, blobs_of
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys, batch_stamp, blob_base, index_range
from holdfast_server.protocol.format.revision_set import RevisionSet
from holdfast_server.protocol.log import append_once, next_marker
from holdfast_server.protocol.log.append_once import Appended, Request, append
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import scan
from holdfast_server.stores.base import StoreError, erasing
from holdfast_server.stores.listing import list_all

_AT_ONCE = 16


async def purge(log: Log, request: Request, checkpoint_id: str, *, deadline: float) -> Appended:
    """Delete a checkpoint and remove its content, and that of all earlier checkpoints with its id, deleted or not.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_NOT_FOUND; CHECKPOINT_DELETED: and nothing of it is left;
            WRITER_FENCED, REQUEST_ID_REUSED; COMMIT_UNKNOWN: also if it is deleted but not all content is removed,
            which a retry does; CHECKPOINT_CORRUPTED: a damaged marker may be the one with the id.
        StoreError: the store cannot be used.

    """
    keys = request.keys
    fingerprint = sha256(b"purge\0" + checkpoint_id.encode()).digest()
    versions: list[int] = []
    searched_to = 0

    async def build(head: Entry | None) -> Marker:
        nonlocal searched_to
        if head is None:
            raise no_workflow(keys)
        await append_once.refuse_or_replay(log, head, request, fingerprint)
        versions.extend(await _versions(log, keys, head, checkpoint_id, searched_to))
        searched_to = head.revision
        if not versions:
            # Raises the reason.
            await find_by_id(log, keys, head, checkpoint_id)
        marker = next_marker.successor(head, request, MarkerKind.MARKER_KIND_DELETED, fingerprint)
        marker.checkpoint_id = checkpoint_id
        # No earlier upload may commit from now on, so that the remains of unfinished saves can be removed too.
        marker.low_water_mark = marker.revision
        marker.base_floor = marker.revision
        marker.purged.extend(next_marker.with_deleted((), [(version, version) for version in versions]))
        live = {version for version in versions if not head.gone(version)}
        next_marker.mark_deleted(marker, [(version, version) for version in live])
        if head.marker.last_data_revision in live:
            marker.last_data_revision = await newest_live(log, keys, head, live)
            marker.previous_data_revision = marker.last_data_revision
        return marker

    attached = await records.batches(log.store, keys, checkpoint_id)
    done = await append(log, request, build, deadline)
    return await _finished(log, keys, done, attached)


async def purge_workflow(log: Log, request: Request, attached: Iterable[str], *, deadline: float) -> Appended:
    """Delete a workflow and remove its content.

    Args:
        log: the log.
        request: the request.
        attached: the batches of records that existed before the call.
        deadline: when to give up, in the event loop's time.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, WRITER_FENCED, REQUEST_ID_REUSED; COMMIT_UNKNOWN: also if it is deleted but
            not all content is removed, which a retry does.
        StoreError: the store cannot be used.

    """
    done = await delete_workflow(log, request, deadline=deadline, purges=True)
    return await _finished(log, request.keys, done, attached)


async def _finished(log: Log, keys: WorkflowKeys, done: Appended, attached: Iterable[str]) -> Appended:
    """Remove the content of a committed deletion, and return the deletion."""
    try:
        await finish(log, keys, done.entry, () if done.replayed else attached)
    except StoreError as error:
        # The deletion is committed, so that only a retry can report success.
        raise HoldfastError(
            Reason.COMMIT_UNKNOWN,
            f"the deletion is committed, but not all of the content could be removed: {error}",
            revision=done.entry.revision,
            last_said=error,
        ) from error
    return done


async def finish(log: Log, keys: WorkflowKeys, deletion: Entry, attached: Iterable[str] = ()) -> int:
    """Remove the content that a committed deletion purges, as far as it still exists.

    Args:
        log: the log.
        keys: the workflow.
        deletion: the deletion.
        attached: batches of records to remove, besides those that are older than the deletion.

    Returns:
        How many checkpoints still had content.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    with erasing():
        return await _finish(log, keys, deletion, attached)


async def _finish(log: Log, keys: WorkflowKeys, deletion: Entry, attached: Iterable[str]) -> int:
    rewritten = await dependents.rewrite(log, keys, deletion)
    if rewritten:
        await _erase_again(log, keys, deletion, rewritten)
    await _remove(log, [*attached, *[key async for key in _older_batches(log, keys, deletion)]])
    await _remove(log, [key async for key in _dead_blobs(log, keys, deletion)])
    if not deletion.marker.checkpoint_id:
        await _remove(log, [key async for key in _dead_claims(log, keys, deletion)])
        await _remove(log, [key async for key in _dead_indexes(log, keys, deletion)])
    purged = 0
    for each in deletion.marker.purged:
        some: list[Entry] = []
        async for (_, revision), entry in scan(log, keys, each.first, each.last):
            if isinstance(entry, Entry) and entry.is_checkpoint:
                some.append(entry)
            elif isinstance(entry, HoldfastError) and not isinstance(entry, MarkerGoneError):
                # It cannot be read but may still hold content. It stays damaged, without the content.
                await log.store.replace(keys.marker(revision), b"")
            if len(some) == _AT_ONCE:
                purged += await _erase(log, keys, some)
                some = []
        purged += await _erase(log, keys, some)
    return purged


async def _erase_again(log: Log, keys: WorkflowKeys, deletion: Entry, rewritten: Sequence[int]) -> None:
    """Remove the content of rewritten checkpoints that a later purge has removed while they were written."""
    newest = await log.head(keys)
    if newest is None or not any(map(newest.gone, rewritten)):
        return
    async for _, entry in scan(log, keys, deletion.revision + 1, newest.revision):
        if not isinstance(entry, Entry) or not entry.marker.purged:
            continue
        goes = RevisionSet(0, [(each.first, each.last) for each in entry.marker.purged])
        for revision in filter(goes.is_deleted, rewritten):
            found = await log.retried_reader.read_or_damage(keys, revision)
            if isinstance(found, Entry) and found.is_checkpoint:
                await _erase(log, keys, [found])


async def _erase(log: Log, keys: WorkflowKeys, some: list[Entry]) -> int:
    async def erase(entry: Entry) -> None:
        await _remove(log, [keys.blob(part.blob) for part in entry.marker.parts if part.blob])
        # The marker is last, since only it names the blobs.
        key = keys.marker(entry.revision)
        bare = marker_codec.encode(marker_codec.without_content(entry.marker, entry.digest), key)
        await log.store.replace(key, bare)

    await asyncio.gather(*map(erase, some))
    return len(some)


async def _versions(log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, above: int) -> list[int]:
    """Return the revisions above another one that hold a checkpoint with an id and are not collected."""
    found = []
    async for (_, revision), entry in scan(log, keys, above + 1, head.revision):
        if isinstance(entry, Entry):
            if entry.is_checkpoint and entry.marker.checkpoint_id == checkpoint_id:
                found.append(revision)
        elif not isinstance(entry, MarkerGoneError) and not head.gone(revision):
            raise entry
    return found


async def _older_batches(log: Log, keys: WorkflowKeys, deletion: Entry) -> AsyncIterator[str]:
    """Yield the batches of records that are certainly older than a deletion, by the store's own clock."""
    committed = [await _modified(log, keys.marker(deletion.revision))]
    if deletion.revision < MAX_REVISION:
        # The entry after it is not older. If it seems so, a time is damaged, and fewer batches are removed.
        committed.append(await _modified(log, keys.marker(deletion.revision + 1)))
    if committed[0] is None:
        return
    before = min(seconds for seconds in committed if seconds is not None)
    checkpoint_id = deletion.marker.checkpoint_id
    async for each in list_all(log.store, keys.batches(checkpoint_id) if checkpoint_id else keys.records):
        if each.modified_seconds < before and batch_stamp(each.key.removeprefix(keys.prefix)) is not None:
            yield each.key


async def _modified(log: Log, key: str) -> float | None:
    """Return the time of an object by the store's own clock; None if it does not exist."""
    listed = await log.retried_store.list(key, limit=1)
    return listed[0].modified_seconds if listed and listed[0].key == key else None


async def _dead_blobs(log: Log, keys: WorkflowKeys, deletion: Entry) -> AsyncIterator[str]:
    """Yield the blobs of uploads that began before a deletion, except those that a remaining checkpoint names.

    A save that was not committed before the deletion cannot use its blobs any more.
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
    """Return a function that reports whether a remaining checkpoint, older than a deletion, may need a blob number."""
    marker, named = deletion.marker, set[int]()
    goes = RevisionSet(0, [(each.first, each.last) for each in marker.purged])
    if goes.all_of((1, deletion.revision - 1)):
        return lambda number: False
    async for (_, revision), entry in scan(log, keys, 1, deletion.revision - 1):
        if isinstance(entry, Entry):
            if not goes.is_deleted(revision):
                named.update(map(blob_number, blobs_of(entry.marker)))
        elif not isinstance(entry, MarkerGoneError) and not deletion.gone(revision):
            # A damaged marker may need any blob.
            return lambda number: True
    return named.__contains__


async def _dead_claims(log: Log, keys: WorkflowKeys, deletion: Entry) -> AsyncIterator[str]:
    """Yield the claims of earlier generations, which no longer count."""
    async for each in list_all(log.store, keys.claims):
        if each.key >= keys.claims_of(deletion.marker.claim_generation):
            break
        if keys.is_claim(each.key):
            yield each.key


async def _dead_indexes(log: Log, keys: WorkflowKeys, deletion: Entry) -> AsyncIterator[str]:
    """Yield the objects of the index of ids that cover only what was deleted with the workflow."""
    async for each in list_all(log.store, keys.indexes):
        revisions = index_range(each.key.removeprefix(keys.prefix))
        if revisions is not None and revisions[1] <= deletion.marker.floor:
            yield each.key


async def _remove(log: Log, doomed: list[str]) -> None:
    for start in range(0, len(doomed), _AT_ONCE):
        await asyncio.gather(*(log.store.delete(key) for key in doomed[start : start + _AT_ONCE]))
