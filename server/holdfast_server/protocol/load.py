"""Loading: which entry a load means, what the caller accepts, and the fallback to the last good one."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum

from holdfast_server.protocol import entries, slots
from holdfast_server.protocol import marker as marker_codec
from holdfast_server.protocol.bounded_read import read_whole
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.payload import read_part, require_presence
from holdfast_server.protocol.save import told_revision
from holdfast_server.storage.v1.marker_pb2 import MarkerKind
from holdfast_server.stores.base import ObjectNotFoundError


@dataclass(frozen=True, slots=True)
class AcceptedFormat:
    """A format name, and a closed range of versions."""

    name: str
    min_version: int
    max_version: int


class Depth(Enum):
    """How deep a check looks; each includes the ones before it."""

    MARKER = 1
    PRESENCE = 2
    CHECKSUM = 3


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that was passed over, and why."""

    revision: int
    checkpoint_id: str
    error: HoldfastError


@dataclass(frozen=True, slots=True)
class Found:
    """What a load found: the entry, what was passed over before it, and the head's revision (0: it is damaged)."""

    entry: Entry
    head_revision: int
    skipped: tuple[Skipped, ...] = ()


async def find(
    log: Log, keys: WorkflowKeys, checkpoint_id: str, accepted: Sequence[AcceptedFormat], *, fallback: bool
) -> Found:
    """The checkpoint that a load means; with fallback, the newest at or before it that is whole.

    Args:
        log: the log.
        keys: the workflow.
        checkpoint_id: the checkpoint, or "" for the newest.
        accepted: the formats that the caller understands; none: any.
        fallback: whether damage may be answered with an older checkpoint.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED,
            CHECKPOINT_CORRUPTED, FORMAT_INCOMPATIBLE, LAYOUT_UNSUPPORTED.

    """
    if not fallback:
        head = await _head(log, keys)
        entry = await _wanted(log, keys, head, checkpoint_id)
        require_accepted(entry, accepted)
        return Found(entry, head.revision)
    skipped: list[Skipped] = []
    readable = await head_or_skip(log, keys, skipped)
    head_revision = readable.revision if readable is not None and not skipped else 0
    async for candidate in candidates(log, keys, readable, checkpoint_id, skipped):
        require_accepted(candidate, accepted)
        try:
            await check(log, keys, candidate, Depth.CHECKSUM)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            skipped.append(Skipped(candidate.revision, candidate.marker.checkpoint_id, error))
            continue
        return Found(candidate, head_revision, tuple(skipped))
    raise _nothing_good(skipped)


async def candidates(
    log: Log, keys: WorkflowKeys, head: Entry | None, checkpoint_id: str, skipped: list[Skipped]
) -> AsyncIterator[Entry]:
    """The checkpoint that a load means, then the older ones, newest first. Damaged markers go to `skipped`.

    Raises:
        HoldfastError: CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED, LAYOUT_UNSUPPORTED.

    """
    if head is None:
        return
    try:
        first = await _wanted(log, keys, head, checkpoint_id)
        yield first
        below = first.revision
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
        below = int(error.metadata.get("revision", head.revision))
        skipped.append(Skipped(below, checkpoint_id, error))
    async for entry in _data_below(log, keys, head, below, skipped):
        yield entry


async def check(log: Log, keys: WorkflowKeys, entry: Entry, depth: Depth) -> None:
    """Check a checkpoint's parts. A part that is gone counts only while the checkpoint still exists.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED, CHECKPOINT_DELETED.

    """
    if depth is Depth.MARKER:
        return
    try:
        for part in entry.marker.parts:
            if depth is Depth.PRESENCE:
                await require_presence(log.store, keys, part)
                continue
            async for _ in read_part(log.store, keys, part):
                pass
    except HoldfastError as error:
        raise await as_of_now(log, keys, entry, error) from None


async def as_of_now(log: Log, keys: WorkflowKeys, entry: Entry, damage: HoldfastError) -> HoldfastError:
    """The true name of a damage: a checkpoint deleted in the meantime is not damaged."""
    if await _is_gone_by_now(log, keys, entry.revision):
        return _deleted(entry.marker.checkpoint_id)
    damage.metadata.setdefault("checkpoint_id", entry.marker.checkpoint_id)
    damage.metadata.setdefault("revision", str(entry.revision))
    return damage


def require_accepted(entry: Entry, accepted: Sequence[AcceptedFormat]) -> None:
    """Refuse a checkpoint whose format the caller does not understand.

    Raises:
        HoldfastError: FORMAT_INCOMPATIBLE.

    """
    stored = entry.marker.format
    if not accepted or any(
        known.name == stored.name and known.min_version <= stored.version <= known.max_version for known in accepted
    ):
        return
    understood = ", ".join(f"{known.name} {known.min_version} to {known.max_version}" for known in accepted)
    raise HoldfastError(
        Reason.FORMAT_INCOMPATIBLE,
        f"the checkpoint has format {stored.name} version {stored.version}, the caller accepts {understood}",
        format_name=stored.name,
        format_version=stored.version,
        accepted=understood,
        checkpoint_id=entry.marker.checkpoint_id,
        revision=entry.revision,
    )


async def history(log: Log, keys: WorkflowKeys, below: int | None) -> AsyncIterator[Entry]:
    """The checkpoints of a workflow below a revision (None: all), newest first. Damaged markers are left out.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, LAYOUT_UNSUPPORTED.

    """
    head = await _head(log, keys)
    async for entry in _data_below(log, keys, head, head.revision + 1 if below is None else below, []):
        yield entry


async def find_by_id(log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str) -> Entry:
    """The checkpoint with an id, as the head has it.

    Raises:
        HoldfastError: CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED, CHECKPOINT_CORRUPTED.

    """
    entry = await _search_id(log, keys, head, checkpoint_id)
    if entry is None or entry.revision <= head.marker.floor:
        raise HoldfastError(
            Reason.CHECKPOINT_NOT_FOUND, f"no checkpoint {checkpoint_id!r}", checkpoint_id=checkpoint_id
        )
    if entries.is_deleted(head, entry.revision):
        raise _deleted(checkpoint_id)
    return entry


async def _search_id(log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str) -> Entry | None:
    for recent in head.marker.recent:
        if recent.checkpoint_id == checkpoint_id:
            return await _read_data(log, keys, head, recent.revision)
    told = told_revision(checkpoint_id)
    if told is not None:
        entry = await log.read(keys, told, head)
        if entry is not None and entry.marker.checkpoint_id == checkpoint_id:
            return entry
    key = keys.claim(head.marker.claim_generation, checkpoint_id)
    try:
        claim = marker_codec.decode_claim(await read_whole(log.store, key), key)
    except ObjectNotFoundError:
        newer = await log.head(keys)
        if newer is None or newer.marker.claim_generation == head.marker.claim_generation:
            return None
        return await _search_id(log, keys, newer, checkpoint_id)
    async for entry in log.walk_back(keys, head, claim.base_revision):
        if entry.marker.kind == MarkerKind.MARKER_KIND_DATA and entry.marker.checkpoint_id == checkpoint_id:
            return entry
    return None


async def _head(log: Log, keys: WorkflowKeys) -> Entry:
    head = await log.head(keys)
    if head is None:
        raise HoldfastError(
            Reason.WORKFLOW_NOT_FOUND,
            f"nothing was ever saved for workflow {keys.workflow_id!r} in namespace {keys.namespace!r}",
        )
    return head


async def head_or_skip(log: Log, keys: WorkflowKeys, skipped: list[Skipped]) -> Entry | None:
    """The head; where the newest marker is damaged, the newest older one that can be read.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, LAYOUT_UNSUPPORTED.

    """
    try:
        return await _head(log, keys)
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
        damage = error
    revision = await log.newest(keys)
    skipped.append(Skipped(revision or 0, "", damage))
    # By what lies there: what was put far beyond the log must not be looked for slot by slot.
    while revision and (revision := await slots.newest(log.store, keys, below=revision)):
        try:
            entry = await log.read_unbounded(keys, revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            skipped.append(Skipped(revision, "", error))
        else:
            if entry is not None:
                return entry
    return None


async def _wanted(log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str) -> Entry:
    if checkpoint_id:
        return await find_by_id(log, keys, head, checkpoint_id)
    if head.marker.last_data_revision <= head.marker.floor:
        raise HoldfastError(Reason.CHECKPOINT_NOT_FOUND, "the workflow has no checkpoint", revision=head.revision)
    return await _read_data(log, keys, head, head.marker.last_data_revision)


async def _read_data(log: Log, keys: WorkflowKeys, head: Entry, revision: int) -> Entry:
    try:
        entry = await log.read(keys, revision, head)
    except HoldfastError as error:
        error.metadata["revision"] = str(revision)
        raise
    if entry is None:
        if await _is_gone_by_now(log, keys, revision):
            raise HoldfastError(
                Reason.CHECKPOINT_DELETED, f"the checkpoint of revision {revision} was deleted", revision=revision
            )
        raise HoldfastError(
            Reason.CHECKPOINT_CORRUPTED, f"the commit marker of revision {revision} is gone", revision=revision
        )
    return entry


async def _data_below(
    log: Log, keys: WorkflowKeys, head: Entry, below: int, skipped: list[Skipped]
) -> AsyncIterator[Entry]:
    """Live checkpoints below a revision, newest first: by the links while they hold, else slot by slot."""
    revision = head.marker.last_data_revision if head.marker.last_data_revision < below else below - 1
    while revision > head.marker.floor:
        following = revision - 1
        try:
            entry = await _read_data(log, keys, head, revision)
        except HoldfastError as error:
            if error.reason is Reason.CHECKPOINT_CORRUPTED:
                skipped.append(Skipped(revision, "", error))
            elif error.reason is not Reason.CHECKPOINT_DELETED:
                raise
        else:
            following = entry.marker.previous_data_revision
            if entry.marker.kind == MarkerKind.MARKER_KIND_DATA and not entries.is_deleted(head, revision):
                yield entry
        revision = following


async def _is_gone_by_now(log: Log, keys: WorkflowKeys, revision: int) -> bool:
    head = await log.head(keys)
    return head is None or entries.gone(head)(revision)


def _deleted(checkpoint_id: str) -> HoldfastError:
    return HoldfastError(
        Reason.CHECKPOINT_DELETED, f"checkpoint {checkpoint_id!r} was deleted", checkpoint_id=checkpoint_id
    )


def _nothing_good(skipped: list[Skipped]) -> HoldfastError:
    tried = "; ".join(f"revision {each.revision}: {each.error.message}" for each in skipped[:5])
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"no good checkpoint is left; {tried}", passed_over=len(skipped))
