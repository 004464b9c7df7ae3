"""Loading: what the caller accepts, whether it is whole, and the fallback to the last good checkpoint."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum

from holdfast_server.protocol.checkpoints.heads import (
    OvertakenError,
    Skipped,
    deleted,
    head_or_skip,
    looked_at,
    read_head,
)
from holdfast_server.protocol.checkpoints.live import live_below
from holdfast_server.protocol.checkpoints.lookup import find_wanted
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import next_marker
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.parts import read_part, require_presence


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

    async def look() -> Found:
        if fallback:
            return await _find_whole(log, keys, checkpoint_id, accepted)
        head = await read_head(log, keys)
        entry = await find_wanted(log, keys, head, checkpoint_id)
        require_accepted(entry, accepted)
        return Found(entry, head.revision)

    return await looked_at(look)


async def _find_whole(log: Log, keys: WorkflowKeys, checkpoint_id: str, accepted: Sequence[AcceptedFormat]) -> Found:
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
    seen = max([0 if readable is None else readable.revision, *(each.revision for each in skipped)])
    if not checkpoint_id and (await log.newest(keys) or 0) > seen:
        raise OvertakenError(Reason.CHECKPOINT_CORRUPTED, "something newer was saved while older ones were checked")
    raise _nothing_good(skipped)


async def candidates(
    log: Log, keys: WorkflowKeys, head: Entry | None, checkpoint_id: str, skipped: list[Skipped]
) -> AsyncIterator[Entry]:
    """The checkpoint that a load means, then the older ones, newest first. Damaged markers go to `skipped`.

    Args:
        log: the log.
        keys: the workflow.
        head: the newest marker that can be read.
        checkpoint_id: the checkpoint, or "" for the newest.
        skipped: the damaged markers above that head.

    Raises:
        OvertakenError: the head is too old.
        HoldfastError: CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED, LAYOUT_UNSUPPORTED.

    """
    if head is None:
        return
    try:
        first = await find_wanted(log, keys, head, checkpoint_id, lost=[each.revision for each in skipped])
        yield first
        below = first.revision
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
        below = int(error.metadata["revision"])
        skipped.append(Skipped(below, checkpoint_id, error))
    async for entry in live_below(log, keys, head, below, skipped):
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
    """The true name of a damage: OvertakenError where the checkpoint was deleted or replaced in the meantime."""
    if await next_marker.is_gone_by_now(log, keys, entry.revision):
        return deleted(entry.marker.checkpoint_id, OvertakenError)
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


async def history(
    log: Log, keys: WorkflowKeys, below: int | None, skipped: list[Skipped] | None = None
) -> AsyncIterator[Entry]:
    """The checkpoints of a workflow below a revision (None: all), newest first. Damaged markers go to `skipped`.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, LAYOUT_UNSUPPORTED.

    """
    async for entry in history_of(log, keys, await read_head(log, keys), below, skipped):
        yield entry


async def history_of(
    log: Log, keys: WorkflowKeys, head: Entry, below: int | None, skipped: list[Skipped] | None = None
) -> AsyncIterator[Entry]:
    """The same, where the head is known, or the newest marker that can be read.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED, and of a workflow that goes on meanwhile CHECKPOINT_CORRUPTED of its head.

    """
    skipped = [] if skipped is None else skipped
    while True:
        try:
            async for entry in live_below(log, keys, head, head.revision + 1 if below is None else below, skipped):
                below = entry.revision
                yield entry
        except OvertakenError:
            head = await read_head(log, keys)
            continue
        return


def _nothing_good(skipped: list[Skipped]) -> HoldfastError:
    tried = "; ".join(f"revision {each.revision}: {each.error.message}" for each in skipped[:5])
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"no good checkpoint is left; {tried}", passed_over=len(skipped))
