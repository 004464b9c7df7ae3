"""The checkpoints that rest on content which is purged: each is stored again, whole, and its marker replaced.

A replaced marker keeps the digest of its first frame, so that the chain of digests holds and the writer recognises it.
This happens after the deletion is committed, because no later checkpoint can rest on the replaced ones then: a save
with an older view of the log would name bytes that are not there any more. It is done again by a retry of the purge and
by collections, until nothing rests on what is purged. The result is the same every time: a blob's key contains the
digest of its bytes.
"""

from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import PartEncoding, StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import WorkflowKeys, new_blob
from holdfast_server.protocol.format.revision_set import RevisionSet
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import scan
from holdfast_server.protocol.payload import frames
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.stores.base import ObjectNotFoundError

# A blob has to stay until the marker names it, inline bytes need no such care.
_INLINE_BYTES = 1 << 20
_PUTS = 3


async def rewrite(log: Log, keys: WorkflowKeys, deletion: Entry) -> list[int]:
    """Store the live checkpoints that rest on what a committed deletion purges without their bases.

    Args:
        log: the log.
        keys: the workflow.
        deletion: the deletion.

    Returns:
        The revisions of those that were stored again.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    goes = RevisionSet(0, [(each.first, each.last) for each in deletion.marker.purged])
    bases = Bases()
    rewritten: list[int] = []
    # Newest first: what a checkpoint rests on must not be replaced before itself.
    for revision in reversed(await _dependents(log, keys, deletion, goes)):
        found = await log.retried_reader.read_or_damage(keys, revision)
        try:
            if isinstance(found, Entry) and _rests_on(found, goes):
                await _rewrite(log, deletion, found, goes, bases)
                rewritten.append(revision)
        except HoldfastError as error:
            # Otherwise it is damaged, and stays so, or another process has replaced it.
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
    return rewritten


async def _dependents(log: Log, keys: WorkflowKeys, deletion: Entry, goes: RevisionSet) -> list[int]:
    """Return the checkpoints that are live according to a deletion and rest on what it purges."""
    oldest = min((each.first for each in deletion.marker.purged), default=deletion.revision)
    first = max(oldest, deletion.marker.floor) + 1
    return [
        entry.revision
        async for _, entry in scan(log, keys, first, deletion.revision - 1)
        if isinstance(entry, Entry) and not deletion.gone(entry.revision) and _rests_on(entry, goes)
    ]


def _rests_on(entry: Entry, goes: RevisionSet) -> bool:
    return entry.is_checkpoint and any(_part_rests_on(part, goes) for part in entry.marker.parts)


def _part_rests_on(part: StoredPart, goes: RevisionSet) -> bool:
    return any(goes.is_deleted(base.revision) for base in part.bases)


async def _rewrite(log: Log, deletion: Entry, entry: Entry, goes: RevisionSet, bases: Bases) -> None:
    keys = entry.keys
    room = _INLINE_BYTES
    parts: list[StoredPart] = []
    blobs: dict[str, bytes] = {}
    for part in entry.marker.parts:
        # Others stay as they are: a checkpoint that does not rest on what is purged may rest on them.
        if not _part_rests_on(part, goes):
            parts.append(part)
            continue
        frame = await frames.encode(await bases.rebuild(log.store, keys, part))
        parts.append(_whole(part, frame, deletion.revision, room))
        room -= len(parts[-1].inline)
        if parts[-1].blob:
            blobs[parts[-1].blob] = frame
            await log.store.replace(keys.blob(parts[-1].blob), frame)
    rewritten = marker_codec.encode(
        marker_codec.with_parts(entry.marker, entry.digest, parts), keys.marker(entry.revision)
    )
    await log.store.replace(keys.marker(entry.revision), rewritten)
    for blob, frame in blobs.items():
        await _require(log, keys, blob, frame)


def _whole(part: StoredPart, frame: bytes, base_revision: int, room: int) -> StoredPart:
    stored = StoredPart(
        name=part.name,
        size_bytes=part.size_bytes,
        sha256=part.sha256,
        crc32c=part.crc32c,
        encoding=PartEncoding.PART_ENCODING_ZSTD,
        stored_bytes=len(frame),
    )
    if len(frame) <= room:
        stored.inline = frame
    else:
        stored.blob = new_blob(base_revision, sha256(frame).hexdigest()[:32])
    return stored


async def _require(log: Log, keys: WorkflowKeys, blob: str, frame: bytes) -> None:
    """Write a blob again if a collection removed it before the marker named it."""
    for _ in range(_PUTS):
        if await _exists(log, keys, blob):
            return
        await log.store.replace(keys.blob(blob), frame)


async def _exists(log: Log, keys: WorkflowKeys, blob: str) -> bool:
    try:
        await log.retried_store.get(keys.blob(blob), length=1)
    except ObjectNotFoundError:
        return False
    return True
