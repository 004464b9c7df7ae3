"""Saving: prepare (upload what is too large for the marker, claim a chosen id), then commit one marker."""

import random
from dataclasses import dataclass, field
from hashlib import sha256

from holdfast_server.protocol import entries
from holdfast_server.protocol import marker as marker_codec
from holdfast_server.protocol.entries import Replay, Request
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.put_if_absent import put_if_absent
from holdfast_server.storage.v1.marker_pb2 import Marker, MarkerKind, PrepareMarker, StoredPart


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """What is said of a checkpoint that is saved, apart from its parts.

    Attributes:
        request: what every appending request says.
        format_name: the payload's format.
        format_version: its version.
        checkpoint_id: the id that the caller chose, or "".
        parent_id: the checkpoint that this one was made from, or "".
        producer_name: the program that saves.
        producer_version: its version.
        labels: the labels.
        expected_revision: the head's revision that the commit requires, 0 for a new workflow; None for any.
        ttl_seconds: how long the checkpoint must be kept; None for ever.

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


@dataclass(frozen=True, slots=True)
class Saved:
    """The committed entry, and whether an earlier try had committed it."""

    entry: Entry
    replayed: bool


async def save(log: Log, wanted: SaveRequest, parts: list[StoredPart], *, deadline: float) -> Saved:
    """Commit a checkpoint whose parts are uploaded.

    Args:
        log: the log.
        wanted: what is said of the checkpoint.
        parts: its parts, in order.
        deadline: until when, in the event loop's time.

    Raises:
        HoldfastError: WRITER_FENCED, REVISION_CONFLICT, CHECKPOINT_ID_REUSED, REQUEST_ID_REUSED,
            COMMIT_UNKNOWN, LAYOUT_UNSUPPORTED.

    """
    fingerprint = _fingerprint(wanted, parts)
    search = await _claim(log, wanted, deadline) if wanted.checkpoint_id else None

    async def build(head: Entry | None) -> Marker:
        if head is not None:
            await entries.refuse_or_replay(log, head, wanted.request, fingerprint)
            if search is not None:
                await search.require_unused(head, fingerprint)
        _require_revision(wanted, head)
        marker = entries.successor(head, wanted.request, MarkerKind.MARKER_KIND_DATA, fingerprint)
        _describe(marker, wanted, parts)
        return entries.remember(marker, head, marker.checkpoint_id)

    try:
        return Saved(await log.append(wanted.request.keys, build, deadline=deadline), replayed=False)
    except Replay as replay:
        return Saved(replay.entry, replayed=True)


def new_checkpoint_id(revision: int) -> str:
    """An id that tells its own revision."""
    return f"cp-{revision:012d}-{random.getrandbits(48):012x}"


def told_revision(checkpoint_id: str) -> int | None:
    """The revision that an id made by a server tells; None where it tells none."""
    kind, _, rest = checkpoint_id.partition("-")
    digits = rest.partition("-")[0]
    return int(digits) if kind == "cp" and len(digits) == 12 and digits.isascii() and digits.isdigit() else None


class _IdSearch:
    """Looks for a chosen id in every slot between its claim's base and the head, each slot once."""

    def __init__(self, log: Log, wanted: SaveRequest, base_revision: int) -> None:
        self._log = log
        self._wanted = wanted
        self._searched_to = base_revision

    async def require_unused(self, head: Entry, fingerprint: bytes) -> None:
        found = await self._find(head)
        self._searched_to = head.revision
        if found is None:
            return
        if found.marker.request_fingerprint == fingerprint and not entries.is_deleted(head, found.revision):
            raise Replay(found)
        raise HoldfastError(
            Reason.CHECKPOINT_ID_REUSED,
            f"checkpoint id {self._wanted.checkpoint_id!r} belongs to revision {found.revision}, "
            "which has other content or was deleted",
            checkpoint_id=self._wanted.checkpoint_id,
            revision=found.revision,
        )

    async def _find(self, head: Entry) -> Entry | None:
        keys, wanted_id = self._wanted.request.keys, self._wanted.checkpoint_id
        recent = head.marker.recent
        for entry in recent:
            if entry.checkpoint_id == wanted_id and entry.revision > head.marker.floor:
                return await self._log.read(keys, entry.revision, head)
        if recent and recent[-1].revision <= self._searched_to + 1:
            return None
        async for older in self._log.walk_back(keys, head, self._searched_to):
            if older.marker.kind == MarkerKind.MARKER_KIND_DATA and older.marker.checkpoint_id == wanted_id:
                return older
        return None


async def _claim(log: Log, wanted: SaveRequest, deadline: float) -> _IdSearch:
    """Claim a chosen id, or learn from the claim that is there where to look for it."""
    keys = wanted.request.keys
    base = await log.known_revision(keys)
    claim = PrepareMarker(checkpoint_id=wanted.checkpoint_id, request_id=wanted.request.request_id, base_revision=base)
    key = keys.claim(wanted.checkpoint_id)
    frame = marker_codec.encode(claim)
    found = await put_if_absent(log.store, key, frame, is_mine=lambda data: data == frame, deadline=deadline)
    if found is not None:
        base = marker_codec.decode_claim(found, key).base_revision
    return _IdSearch(log, wanted, base)


def _require_revision(wanted: SaveRequest, head: Entry | None) -> None:
    if wanted.expected_revision is None:
        return
    revision = 0 if head is None or _is_empty(head) else head.revision
    if wanted.expected_revision not in (revision, head.revision if head is not None else 0):
        actual = head.revision if head is not None else 0
        raise HoldfastError(
            Reason.REVISION_CONFLICT,
            f"expected revision {wanted.expected_revision}, the head is revision {actual}",
            expected_revision=wanted.expected_revision,
            head_revision=actual,
        )


def _is_empty(head: Entry) -> bool:
    """Whether the workflow was deleted as a whole."""
    return head.marker.kind == MarkerKind.MARKER_KIND_DELETED and not head.marker.checkpoint_id


def _describe(marker: Marker, wanted: SaveRequest, parts: list[StoredPart]) -> None:
    marker.checkpoint_id = wanted.checkpoint_id or new_checkpoint_id(marker.revision)
    marker.parent_id = wanted.parent_id
    marker.format.name = wanted.format_name
    marker.format.version = wanted.format_version
    marker.producer.name = wanted.producer_name
    marker.producer.version = wanted.producer_version
    marker.labels.update(wanted.labels)
    marker.parts.extend(parts)
    marker.last_data_revision = marker.revision
    if wanted.ttl_seconds is not None:
        marker.expire_time.FromNanoseconds(marker.create_time.ToNanoseconds() + int(wanted.ttl_seconds * 1e9))


def _fingerprint(wanted: SaveRequest, parts: list[StoredPart]) -> bytes:
    described = Marker(kind=MarkerKind.MARKER_KIND_DATA, checkpoint_id=wanted.checkpoint_id, parent_id=wanted.parent_id)
    described.format.name = wanted.format_name
    described.format.version = wanted.format_version
    described.labels.update(wanted.labels)
    for part in parts:
        described.parts.add(name=part.name, size_bytes=part.size_bytes, sha256=part.sha256)
    return sha256(described.SerializeToString(deterministic=True)).digest()
