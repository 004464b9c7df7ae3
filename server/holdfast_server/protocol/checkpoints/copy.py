"""Copies of workflows: every checkpoint with its id, its parents and its records, oldest first, each by a commit.

A copy that broke is continued by a retry with the same request id, which skips the checkpoints that exist already.
"""

import time
from dataclasses import dataclass, replace
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, StoredPart
from holdfast_server.protocol.checkpoints import records
from holdfast_server.protocol.checkpoints.heads import Looks, OvertakenError, Skipped, read_head
from holdfast_server.protocol.checkpoints.live import live_below
from holdfast_server.protocol.checkpoints.load import as_of_now
from holdfast_server.protocol.checkpoints.lookup import find_by_id
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.sealed import is_sealed
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.compare_and_set import is_empty
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.encoding import HeldPart, PartEncoder, Payload
from holdfast_server.protocol.payload.parts import copy_part
from holdfast_server.protocol.payload.reads import is_encoded, read_part

_PREFIX = "copy-"


@dataclass(frozen=True, slots=True)
class Copied:
    """The result of a copy.

    Attributes:
        checkpoints: how many checkpoints were copied, by this attempt or an earlier one.
        source: the head of the log that was copied.
        target: the head of the target after the last checkpoint that this attempt copied; None if it copied none.

    """

    checkpoints: int
    source: Entry
    target: Entry | None


@dataclass(frozen=True, slots=True)
class _Copy:
    log: Log
    source: WorkflowKeys
    request: Request
    deadline: float
    encoder: PartEncoder
    has_begun: bool = False

    async def copy(self, entry: Entry, *, is_first: bool) -> Entry | None:
        """Copy a checkpoint, its parts and records first, so that a reader of the copy finds all of it.

        Returns:
            The new head of the target; None if this attempt did not append to it.

        Raises:
            OvertakenError: it was deleted or replaced since it was found, and is collected.
            HoldfastError: INVALID_REQUEST: a client has encrypted it, so that nobody could open a
                copy.

        """
        target, marker = self.request.keys, entry.marker
        if is_sealed(marker.labels):
            raise HoldfastError(
                Reason.INVALID_REQUEST,
                f"workflow_id: checkpoint {marker.checkpoint_id!r} is encrypted and bound to its workflow: "
                "no key would open a copy",
                field="workflow_id",
                checkpoint_id=marker.checkpoint_id,
            )
        spec = self._spec(marker, is_first=is_first)
        if self.has_begun or self.request.first_attempt_at is not None:
            earlier = await self._found(spec.checkpoint_id)
            if earlier == spec.request.request_id:
                return None
            # Replace a copy of a checkpoint that was replaced in the source since. Never replace another writer's.
            spec = replace(spec, replace=earlier.startswith(_PREFIX))
        await records.copy(self.log, self.source, target, marker.checkpoint_id, deadline=self.deadline)
        base = await self.log.known_revision(target)
        try:
            parts = [await self._copied(part, base) for part in marker.parts]
        except HoldfastError as error:
            raise await as_of_now(self.log, self.source, entry, error) from None
        saved = await save(self.log, spec, Payload(self.encoder, target, parts), deadline=self.deadline)
        return None if saved.replayed else saved.entry

    async def _copied(self, part: StoredPart, base_revision: int) -> StoredPart | HeldPart:
        """Return a copy of a part. A part may only rest on others of its own workflow, so that it is encoded again."""
        target, store = self.request.keys, self.log.store
        if part.blob and not is_encoded(part):
            return await copy_part(store, self.source, target, part, base_revision)
        blocks = read_part(store, self.source, part, bases=self.encoder.bases)
        return await HeldPart.of(part.name, b"".join([block async for block in blocks]))

    async def require_room(self, oldest: Entry) -> None:
        """Check that the target is empty, or that an earlier attempt has begun to fill it."""
        target = await self.log.head(self.request.keys)
        if is_empty(target) or await self._has(oldest):
            return
        raise HoldfastError(
            Reason.REVISION_CONFLICT,
            f"workflow {self.request.keys.workflow_id!r} has checkpoints that are not part of this copy",
            head_revision=0 if target is None else target.revision,
        )

    async def _has(self, entry: Entry) -> bool:
        spec = self._spec(entry.marker, is_first=True)
        return await self._found(spec.checkpoint_id) == spec.request.request_id

    async def _found(self, checkpoint_id: str) -> str:
        """Return the request that saved the checkpoint with an id in the target; "" if there is none."""
        head = await self.log.known_head(self.request.keys)
        if head is None:
            return ""
        try:
            found = await find_by_id(self.log, self.request.keys, head, checkpoint_id)
        except HoldfastError:
            return ""
        return found.marker.request_id

    def _spec(self, marker: Marker, *, is_first: bool) -> CheckpointSpec:
        ttl_seconds = None
        if marker.HasField("expire_time"):
            # An expired checkpoint expires in the target too, at the next collection.
            ttl_seconds = max(1e-3, marker.expire_time.ToNanoseconds() / 1e9 - time.time())
        name = sha256(f"{self.request.request_id}/{marker.revision}".encode()).hexdigest()[:32]
        return CheckpointSpec(
            replace(self.request, request_id=f"{_PREFIX}{name}"),
            marker.format.name,
            marker.format.version,
            checkpoint_id=marker.checkpoint_id,
            parent_id=marker.parent_id,
            producer_name=marker.producer.name,
            producer_version=marker.producer.version,
            labels=dict(marker.labels),
            expected_revision=0 if is_first else None,
            ttl_seconds=ttl_seconds,
            needs_parent=bool(marker.needed_revision),
            pinned=marker.pinned,
        )


async def copy_workflow(
    log: Log, source: WorkflowKeys, request: Request, *, deadline: float, encoder: PartEncoder | None = None
) -> Copied:
    """Copy all checkpoints of a workflow into one that has none, or that an earlier attempt has begun to fill.

    Args:
        log: the log.
        source: the workflow to copy.
        request: the request, whose workflow is the target.
        deadline: when to give up, in the event loop's time.
        encoder: stores the parts; None to store them as they are.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND; REVISION_CONFLICT: the target has checkpoints; INVALID_REQUEST: one is
            encrypted, and was not copied; CHECKPOINT_CORRUPTED: one is damaged, and was not copied; CHECKPOINT_DELETED:
            the workflow was deleted during the copy; COMMIT_UNKNOWN.

    """
    copy = _Copy(log, source, request, deadline, encoder or PartEncoder(log.store))
    looks = Looks()
    while True:
        head = await read_head(log, source)
        try:
            return await _copy_all(copy, head)
        except OvertakenError as error:
            looks.again(head, error)
            copy = replace(copy, has_begun=True)


async def _copy_all(copy: _Copy, head: Entry) -> Copied:
    skipped: list[Skipped] = []
    live = live_below(copy.log, copy.source, head, head.revision + 1, skipped)
    target: Entry | None = None
    revisions = [entry.revision async for entry in live]
    if skipped:
        raise skipped[0].error
    for index, revision in enumerate(reversed(revisions)):
        entry = await copy.log.read(copy.source, revision, head)
        if entry is None or not entry.is_checkpoint:
            continue
        is_first = index == 0 and not copy.has_begun
        if is_first:
            await copy.require_room(entry)
        target = await copy.copy(entry, is_first=is_first) or target
    return Copied(len(revisions), head, target)
