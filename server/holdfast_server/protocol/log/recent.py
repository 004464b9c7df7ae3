"""The newest entries of a log, which each marker remembers: a retry or a load by id finds them without a search.

Markers of version 2 have short digests in place of the ids, so that an entry which matches is only a candidate. Every
caller reads it and compares the id itself.
"""

from collections.abc import Iterator
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind, RecentEntry
from holdfast_server.protocol.format.id_index import NO_CHECKPOINT, digest_of
from holdfast_server.protocol.format.invariants import RECENT_BYTES, REQUEST_BYTES
from holdfast_server.protocol.format.marker import version_of

# Of the head's entries, those that the next marker carries over.
_MOST_CARRIED = 15


def remember(marker: Marker, head: Marker | None, version: int) -> None:
    """Add a finished marker to its own recent entries, and carry over those of the head before it.

    Args:
        marker: the marker. Its version follows from what is added.
        head: the marker of the head; None for an empty log.
        version: the version of new logs. A log whose head has a newer version keeps that one.

    """
    checkpoint_id = marker.checkpoint_id if marker.kind == MarkerKind.MARKER_KIND_DATA else ""
    if version_after(head, version) == 1:
        marker.recent.add(revision=marker.revision, request_id=marker.request_id, checkpoint_id=checkpoint_id)
    else:
        checkpoint = digest_of(checkpoint_id) if checkpoint_id else NO_CHECKPOINT
        marker.recent_digests = _request_digest(marker.request_id) + checkpoint
    if head is None:
        return
    before = head.recent_digests
    count = max(0, min(len(before) // RECENT_BYTES, head.revision - marker.floor, _MOST_CARRIED))
    if count and head.revision == marker.revision - 1:
        marker.recent_digests += before[: RECENT_BYTES * count]
    elif count:
        # A repair has left a gap.
        marker.recent.extend(RecentEntry(revision=revision, digests=each) for revision, each in _digests(head, count))
    if head.recent:
        older = [each for each in head.recent if each.revision > marker.floor]
        marker.recent.extend(older[: _MOST_CARRIED - count])


def version_after(head: Marker | None, version: int) -> int:
    """Return the version of the marker after a head: that of new logs, or that of the head if it is newer.

    Args:
        head: the marker of the head; None for an empty log.
        version: the version of new logs.

    """
    return version if head is None else max(version, version_of(head))


def with_request(marker: Marker, request_id: str) -> Iterator[int]:
    """Yield the recent revisions that may be those of a request, newest first."""
    digest = _request_digest(request_id)
    if digest in marker.recent_digests:
        yield from (revision for revision, each in _digests(marker) if each.startswith(digest))
    for entry in marker.recent:
        if entry.digests.startswith(digest) if entry.digests else entry.request_id == request_id:
            yield entry.revision


def with_checkpoint(marker: Marker, checkpoint_id: str) -> Iterator[int]:
    """Yield the recent revisions that may hold a checkpoint with an id, newest first."""
    digest = digest_of(checkpoint_id)
    if digest in marker.recent_digests:
        yield from (revision for revision, each in _digests(marker) if each.endswith(digest))
    for entry in marker.recent:
        if entry.digests.endswith(digest) if entry.digests else entry.checkpoint_id == checkpoint_id:
            yield entry.revision


def revisions(marker: Marker) -> list[int]:
    """Return the revisions of the recent entries, newest first."""
    return [*(revision for revision, _ in _digests(marker)), *(entry.revision for entry in marker.recent)]


def checkpoints(marker: Marker) -> Iterator[tuple[int, bytes]]:
    """Yield the recent revisions with the digests of their checkpoints' ids, newest first; zeros if there is none."""
    for revision, each in _digests(marker):
        yield revision, each[REQUEST_BYTES:]
    for entry in marker.recent:
        if entry.digests:
            yield entry.revision, entry.digests[REQUEST_BYTES:]
        else:
            yield entry.revision, digest_of(entry.checkpoint_id) if entry.checkpoint_id else NO_CHECKPOINT


def _request_digest(request_id: str) -> bytes:
    return sha256(request_id.encode()).digest()[:REQUEST_BYTES]


def _digests(marker: Marker, count: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the revision and the digests of the entries in recent_digests, newest first, or only some of them."""
    digests = marker.recent_digests
    for index in range(len(digests) // RECENT_BYTES if count is None else count):
        yield marker.revision - index, digests[RECENT_BYTES * index : RECENT_BYTES * (index + 1)]
