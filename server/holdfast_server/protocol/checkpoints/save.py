"""Saves: store the parts too large for the marker, claim a chosen id that may not be new, then commit one marker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind, StoredPart
from holdfast_server.protocol.checkpoints.lookup import find_by_id
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.ids import new_checkpoint_id
from holdfast_server.protocol.format.keys import WorkflowKeys, blob_base
from holdfast_server.protocol.log import append_once, compare_and_set, fresh_ids, next_marker
from holdfast_server.protocol.log.append_once import Appended, Request
from holdfast_server.protocol.log.claims import ChosenId
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.encoding import PartEncoder, Payload, Predecessor
from holdfast_server.protocol.payload.parts import copy_part

# Servers that append markers of earlier versions do not carry over the floor of bases.
_ENCODING_VERSION = 2


@dataclass(frozen=True, slots=True)
class CheckpointSpec:
    """The description of a checkpoint to save, without its parts.

    Attributes:
        request: the request.
        format_name: the payload's format.
        format_version: its version.
        checkpoint_id: the id that the caller chose; "" to have the server make one.
        parent_id: the checkpoint that this one was made from; "" for none.
        producer_name: the program that saves.
        producer_version: its version.
        labels: the labels.
        expected_revision: the revision since which nothing may stand against the commit; 0 to expect that no checkpoint
            exists; None for any.
        ttl_seconds: how long the checkpoint must be kept; None for ever.
        replace: whether it replaces the checkpoint that has its id.
        needs_parent: whether it is of no use without its parent.
        pinned: whether retention by count and age and prunes skip it.
        fresh_id: whether the caller promises that the id is new.

    """

    request: Request
    format_name: str
    format_version: int
    checkpoint_id: str = ""
    parent_id: str = ""
    producer_name: str = ""
    producer_version: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    expected_revision: int | None = None
    ttl_seconds: float | None = None
    replace: bool = False
    needs_parent: bool = False
    pinned: bool = False
    fresh_id: bool = False


def _admit_all(head: Entry | None) -> None:
    """Let every save commit."""


async def save(
    log: Log,
    spec: CheckpointSpec,
    parts: Payload | Sequence[StoredPart],
    *,
    deadline: float,
    admit: Callable[[Entry | None], None] = _admit_all,
) -> Appended:
    """Commit a checkpoint.

    Args:
        log: the log.
        spec: the description of the checkpoint.
        parts: its parts, in order; a sequence if all of them are stored already.
        deadline: when to give up, in the event loop's time.
        admit: called with the head before each attempt to commit after it, unless the request was committed before. It
            raises to refuse the save.

    Raises:
        HoldfastError: WRITER_FENCED, REVISION_CONFLICT, CHECKPOINT_ID_REUSED, REQUEST_ID_REUSED,
            COMMIT_UNKNOWN, LAYOUT_UNSUPPORTED; for a parent that is needed CHECKPOINT_NOT_FOUND,
            CHECKPOINT_DELETED, CHECKPOINT_CORRUPTED.

    """
    keys = spec.request.keys
    payload = parts if isinstance(parts, Payload) else Payload(PartEncoder(log.store), keys, parts)
    fingerprint = _fingerprint(spec, payload)
    if payload.needs_blobs:
        # Before the turn of this save, so that others need not wait for it.
        await _stored(log, keys, await log.known_head(keys), payload)
    chosen = ChosenId(log, spec.request, spec.checkpoint_id, deadline) if spec.checkpoint_id else None
    if chosen is not None and not spec.fresh_id:
        await chosen.claim(await log.known_head(keys))

    async def build(head: Entry | None) -> Marker:
        replaced = 0
        await append_once.refuse_or_replay(log, head, spec.request, fingerprint)
        admit(head)
        is_fresh = spec.fresh_id and fresh_ids.has_room(log, keys, head)
        if chosen is not None:
            replaced = await chosen.find_replaced(head, fingerprint, replaces=spec.replace, is_fresh=is_fresh)
        compare_and_set.require(head, spec.expected_revision, spec.request.epoch)
        stored = await _stored(log, keys, head, payload)
        if head is not None:
            stored = await _copy_old_blobs(log, keys, head, stored)
        marker = next_marker.successor(head, spec.request, MarkerKind.MARKER_KIND_DATA, fingerprint)
        _describe(marker, spec, stored)
        compare_and_set.enter_save(marker)
        fresh_ids.enter(log, keys, marker, is_fresh=is_fresh)
        if replaced:
            next_marker.mark_deleted(marker, [(replaced, replaced)])
            marker.replaced_revision = replaced
        if spec.needs_parent:
            marker.needed_revision = await _revision_of_parent(log, spec, head)
        return marker

    saved = await append_once.append(log, spec.request, build, deadline)
    if not saved.replayed:
        payload.keep()
    return saved


async def _stored(log: Log, keys: WorkflowKeys, head: Entry | None, payload: Payload) -> Sequence[StoredPart]:
    """Return the parts of a payload, stored according to a head."""
    encodes = log.version_after(head) >= _ENCODING_VERSION
    if head is None:
        return await payload.stored(None, base_floor=0, base_revision=0, low_water_mark=0, encodes=encodes)
    before = await _predecessor(log, keys, head) if encodes and payload.is_encodable else None
    marker = head.marker
    return await payload.stored(
        before,
        base_floor=marker.base_floor,
        base_revision=head.revision,
        low_water_mark=marker.low_water_mark,
        encodes=encodes,
    )


async def _predecessor(log: Log, keys: WorkflowKeys, head: Entry) -> Predecessor | None:
    """Return the checkpoint that the next one may rest on: the newest live one, unless it is damaged or excluded."""
    revision = head.marker.last_data_revision
    if revision <= max(head.marker.floor, head.marker.base_floor):
        return None
    try:
        entry = await log.read(keys, revision, head)
    except HoldfastError as error:
        if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED):
            raise
        return None
    return Predecessor.of(entry.marker) if entry is not None and entry.is_checkpoint else None


async def _copy_old_blobs(
    log: Log, keys: WorkflowKeys, head: Entry, parts: Sequence[StoredPart]
) -> Sequence[StoredPart]:
    """Return the parts, with copies of those blobs that a collection may remove because their upload is too old.

    Raises:
        HoldfastError: STORE_UNAVAILABLE: one is removed already; the caller must send the payload again.

    """
    try:
        return [
            await copy_part(log.store, keys, keys, part, head.revision)
            if part.blob and (blob_base(part.blob) or 0) < head.marker.low_water_mark
            else part
            for part in parts
        ]
    except HoldfastError:
        raise HoldfastError(
            Reason.STORE_UNAVAILABLE, "the upload took so long that it was collected; it must be sent again"
        ) from None


async def _revision_of_parent(log: Log, spec: CheckpointSpec, head: Entry | None) -> int:
    if head is None:
        raise HoldfastError(
            Reason.CHECKPOINT_NOT_FOUND, f"no checkpoint {spec.parent_id!r}", checkpoint_id=spec.parent_id
        )
    return (await find_by_id(log, spec.request.keys, head, spec.parent_id)).revision


def _describe(marker: Marker, spec: CheckpointSpec, parts: Sequence[StoredPart]) -> None:
    marker.checkpoint_id = spec.checkpoint_id or new_checkpoint_id(marker.revision)
    marker.parent_id = spec.parent_id
    marker.format.name = spec.format_name
    marker.format.version = spec.format_version
    marker.producer.name = spec.producer_name
    marker.producer.version = spec.producer_version
    marker.labels.update(spec.labels)
    marker.pinned = spec.pinned
    marker.parts.extend(parts)
    marker.last_data_revision = marker.revision
    if spec.ttl_seconds is not None:
        marker.expire_time.FromNanoseconds(marker.create_time.ToNanoseconds() + int(spec.ttl_seconds * 1e9))


def _fingerprint(spec: CheckpointSpec, payload: Payload) -> bytes:
    described = Marker(kind=MarkerKind.MARKER_KIND_DATA, checkpoint_id=spec.checkpoint_id, parent_id=spec.parent_id)
    described.format.name = spec.format_name
    described.format.version = spec.format_version
    described.labels.update(spec.labels)
    described.needed_revision = int(spec.needs_parent)
    described.pinned = spec.pinned
    for part in payload.parts:
        described.parts.add(name=part.name, size_bytes=part.size_bytes, sha256=part.sha256)
    return sha256(described.SerializeToString(deterministic=True)).digest()
