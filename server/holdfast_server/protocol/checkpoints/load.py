"""Loads: the accepted formats, the check of a payload, and the fallback to the last good checkpoint."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum

from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.checkpoints.heads import (
    Looks,
    NamedHead,
    OvertakenError,
    Skipped,
    deleted,
    head_or_skip,
    naming_head,
    read_head,
    retry_overtaken,
)
from holdfast_server.protocol.checkpoints.live import live_below
from holdfast_server.protocol.checkpoints.lookup import find_requested
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import next_marker
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.reads import read_part, require_presence


@dataclass(frozen=True, slots=True)
class AcceptedFormat:
    """A format name, and a closed range of versions."""

    name: str
    min_version: int
    max_version: int


class Depth(Enum):
    """How much of a checkpoint is checked: its marker, then also that its parts exist, then also their digests."""

    MARKER = 1
    PRESENCE = 2
    CHECKSUM = 3


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a load.

    Attributes:
        entry: the checkpoint.
        head: the head of the log.
        skipped: the newer checkpoints that were skipped.

    """

    entry: Entry
    head: NamedHead
    skipped: tuple[Skipped, ...] = ()

    @property
    def head_revision(self) -> int:
        """The revision of the head; 0 if the head is damaged."""
        return self.head.revision if self.head.digest else 0


async def find(
    log: Log,
    keys: WorkflowKeys,
    checkpoint_id: str,
    accepted: Sequence[AcceptedFormat],
    *,
    fallback: bool,
    bases: Bases | None = None,
) -> Found:
    """Return the checkpoint that a load means; with fallback, the newest whole one at or before it.

    Args:
        log: the log.
        keys: the workflow.
        checkpoint_id: the checkpoint, or "" for the newest.
        accepted: the formats that the caller accepts; none: any.
        fallback: whether an older checkpoint may be returned in place of a damaged one.
        bases: content of bases that need not be read from the store; None to read all of it.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED,
            CHECKPOINT_CORRUPTED, FORMAT_INCOMPATIBLE, LAYOUT_UNSUPPORTED.

    """

    async def look() -> Found:
        if fallback:
            return await _find_whole(log, keys, checkpoint_id, accepted, bases)
        head = await read_head(log, keys)
        with naming_head(head):
            entry = await find_requested(log, keys, head, checkpoint_id)
            require_accepted(entry, accepted)
        return Found(entry, NamedHead.of(head))

    return await retry_overtaken(look)


async def _find_whole(
    log: Log, keys: WorkflowKeys, checkpoint_id: str, accepted: Sequence[AcceptedFormat], bases: Bases | None
) -> Found:
    skipped: list[Skipped] = []
    check = Check(log, keys, bases)
    readable = await head_or_skip(log, keys, skipped)
    head = NamedHead.of(readable, skipped)
    async for candidate in candidates(log, keys, readable, checkpoint_id, skipped):
        require_accepted(candidate, accepted)
        try:
            await check.require(candidate, Depth.CHECKSUM)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            skipped.append(Skipped(candidate.revision, candidate.marker.checkpoint_id, error))
            continue
        return Found(candidate, head, tuple(skipped))
    seen = max([0 if readable is None else readable.revision, *(each.revision for each in skipped)])
    if not checkpoint_id and (await log.newest(keys) or 0) > seen:
        raise OvertakenError(Reason.CHECKPOINT_CORRUPTED, "a newer checkpoint was saved while older ones were checked")
    raise _nothing_good(skipped)


async def candidates(
    log: Log, keys: WorkflowKeys, head: Entry | None, checkpoint_id: str, skipped: list[Skipped]
) -> AsyncIterator[Entry]:
    """Yield the checkpoint that a load means, then the older ones, newest first.

    Args:
        log: the log.
        keys: the workflow.
        head: the newest marker that can be read.
        checkpoint_id: the checkpoint, or "" for the newest.
        skipped: the damaged markers above that head; gets those below it too.

    Raises:
        OvertakenError: the head is out of date.
        HoldfastError: CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED, LAYOUT_UNSUPPORTED.

    """
    if head is None:
        return
    try:
        first = await find_requested(log, keys, head, checkpoint_id, lost=[each.revision for each in skipped])
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
    """Check the parts of one checkpoint; see `Check.require`."""
    await Check(log, keys).require(entry, depth)


class Check:
    """Checks the parts of the checkpoints of a workflow. A base that is found damaged is not read again.

    Args:
        log: the log.
        keys: the workflow.
        bases: content of bases that need not be read from the store; None to read all of it.

    """

    def __init__(self, log: Log, keys: WorkflowKeys, bases: Bases | None = None) -> None:
        self._log = log
        self._keys = keys
        self._bases = bases or Bases(0)
        # By part and by what its marker states of the damaged base and of those before it: another marker may state it
        # differently.
        self._damaged: dict[tuple[object, ...], HoldfastError] = {}

    async def require(self, entry: Entry, depth: Depth) -> None:
        """Check the parts of a checkpoint. A missing part is damage only if the checkpoint still exists.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, CHECKPOINT_DELETED.

        """
        if depth is Depth.MARKER:
            return
        for part in entry.marker.parts:
            self._refuse_damaged_bases(entry, part)
            try:
                if depth is Depth.PRESENCE:
                    await require_presence(self._log.store, self._keys, part)
                    continue
                async for _ in read_part(self._log.store, self._keys, part, bases=self._bases):
                    pass
            except HoldfastError as error:
                found = await as_of_now(self._log, self._keys, entry, error)
                if "base_revision" in error.metadata and found is error:
                    revisions = [base.revision for base in part.bases]
                    damaged = revisions.index(int(error.metadata["base_revision"]))
                    self._damaged[_statement(part, damaged)] = error
                raise found from None

    def _refuse_damaged_bases(self, entry: Entry, part: StoredPart) -> None:
        for index in range(len(part.bases) if self._damaged else 0):
            known = self._damaged.get(_statement(part, index))
            if known is not None:
                metadata = known.metadata | {
                    "checkpoint_id": entry.marker.checkpoint_id,
                    "revision": str(entry.revision),
                }
                raise HoldfastError(known.reason, known.message, **metadata)


def _statement(part: StoredPart, last: int) -> tuple[object, ...]:
    """Return what a marker states of the bases of a part, up to one of them."""
    bases = (
        (base.revision, base.size_bytes, base.digest, base.stored_bytes, base.encoding, base.blob)
        for base in part.bases[: last + 1]
    )
    return part.name, *bases


async def as_of_now(log: Log, keys: WorkflowKeys, entry: Entry, damage: HoldfastError) -> HoldfastError:
    """Return the error for a damaged checkpoint: OvertakenError if it is not as it was found any more.

    It may have been deleted or replaced, or stored in another way because one of its bases was purged.
    """
    if await next_marker.is_gone_by_now(log, keys, entry.revision):
        return deleted(entry.marker.checkpoint_id, OvertakenError)
    if await is_rewritten(log, keys, entry):
        return OvertakenError(
            Reason.CHECKPOINT_CORRUPTED,
            f"revision {entry.revision} was stored in another way while it was read",
            revision=entry.revision,
        )
    damage.metadata.setdefault("checkpoint_id", entry.marker.checkpoint_id)
    damage.metadata.setdefault("revision", str(entry.revision))
    return damage


async def is_rewritten(log: Log, keys: WorkflowKeys, entry: Entry) -> bool:
    """Return whether parts of a checkpoint have been stored without their bases since its marker was read."""
    if not any(part.bases for part in entry.marker.parts):
        return False
    try:
        current = await log.read_unbounded(keys, entry.revision)
    except HoldfastError:
        return False
    return current is not None and list(current.marker.parts) != list(entry.marker.parts)


def require_accepted(entry: Entry, accepted: Sequence[AcceptedFormat]) -> None:
    """Refuse a checkpoint with a format that the caller does not accept.

    Raises:
        HoldfastError: FORMAT_INCOMPATIBLE.

    """
    stored = entry.marker.format
    if not accepted or any(
        known.name == stored.name and known.min_version <= stored.version <= known.max_version for known in accepted
    ):
        return
    expected = ", ".join(f"{known.name} {known.min_version} to {known.max_version}" for known in accepted)
    raise HoldfastError(
        Reason.FORMAT_INCOMPATIBLE,
        f"the checkpoint has format {stored.name} version {stored.version}, the caller accepts {expected}",
        format_name=stored.name,
        format_version=stored.version,
        accepted=expected,
        checkpoint_id=entry.marker.checkpoint_id,
        revision=entry.revision,
    )


async def history(
    log: Log, keys: WorkflowKeys, below: int | None, skipped: list[Skipped] | None = None
) -> AsyncIterator[Entry]:
    """Yield the checkpoints of a workflow below a revision (None: all), newest first. Damaged ones go to `skipped`.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, LAYOUT_UNSUPPORTED.

    """
    async for entry in history_of(log, keys, await read_head(log, keys), below, skipped):
        yield entry


async def history_of(
    log: Log, keys: WorkflowKeys, head: Entry, below: int | None, skipped: list[Skipped] | None = None
) -> AsyncIterator[Entry]:
    """Yield the same as `history` for a head that was read before, or the newest entry that can be read.

    Raises:
        OvertakenError: it was overtaken again and again without a new head, which happens only with a broken store.
        HoldfastError: LAYOUT_UNSUPPORTED; CHECKPOINT_CORRUPTED of a new head, if the workflow changes concurrently.

    """
    skipped = [] if skipped is None else skipped
    looks = Looks()
    while True:
        try:
            async for entry in live_below(log, keys, head, head.revision + 1 if below is None else below, skipped):
                below = entry.revision
                yield entry
        except OvertakenError as error:
            head = await read_head(log, keys)
            looks.again(head, error)
            continue
        return


def _nothing_good(skipped: list[Skipped]) -> HoldfastError:
    reasons = "; ".join(f"revision {each.revision}: {each.error.message}" for each in skipped[:5])
    return HoldfastError(
        Reason.CHECKPOINT_CORRUPTED, f"no good checkpoint is left; {reasons}", passed_over=len(skipped)
    )
