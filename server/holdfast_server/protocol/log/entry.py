"""An entry of a log, decoded from the marker that holds it."""

import asyncio
from dataclasses import dataclass, field
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.format.revision_set import RevisionSet
from holdfast_server.protocol.format.short_forms import FINGERPRINT_BYTES

# A larger marker is decoded in a thread, so that it does not hold up other calls.
_THREAD_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a log.

    Attributes:
        marker: the commit marker that holds it.
        digest: the digest of the frame that the marker was read from; the next marker repeats it.
        size_bytes: the size of that frame.

    """

    marker: Marker
    digest: bytes
    size_bytes: int
    _gone: RevisionSet | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def gone(self) -> RevisionSet:
        """The revisions that are deleted or below the floor, according to this entry."""
        if self._gone is None:
            # Kept: building it takes a step for each range, and a head is used often.
            object.__setattr__(self, "_gone", RevisionSet.of(self.marker))
        assert self._gone is not None
        return self._gone

    @property
    def revision(self) -> int:
        """The number of the entry in its log."""
        return self.marker.revision

    @property
    def is_checkpoint(self) -> bool:
        """Whether it holds a checkpoint whose content was not purged."""
        return self.marker.kind == MarkerKind.MARKER_KIND_DATA and not self.marker.purged_digest

    def is_save_of(self, checkpoint_id: str) -> bool:
        """Return whether it is the save of a checkpoint with an id, also if its content was purged since."""
        return self.marker.kind == MarkerKind.MARKER_KIND_DATA and self.marker.checkpoint_id == checkpoint_id

    def is_of_content(self, fingerprint: bytes) -> bool:
        """Return whether its request had a content, by the digest of that."""
        return self.marker.request_fingerprint[:FINGERPRINT_BYTES] == fingerprint[:FINGERPRINT_BYTES]

    @property
    def keys(self) -> WorkflowKeys:
        """The keys of the workflow, whose names the marker repeats."""
        return WorkflowKeys(self.marker.namespace, self.marker.workflow_id)


def name_head(error: HoldfastError, head: Entry | None) -> None:
    """Name the head that an error depends on in its metadata, so that a caller notices a log that was rolled back.

    Args:
        error: the error.
        head: the head, read since the call came in; None for an empty log.

    """
    error.metadata["head_revision"] = str(0 if head is None else head.revision)
    error.metadata["head_digest"] = "" if head is None else head.digest.hex()


def digest_of(frame: bytes) -> bytes:
    """Return the digest of a marker's frame, which the next marker repeats."""
    return sha256(frame).digest()


def entry_of(marker: Marker, frame: bytes) -> Entry:
    """Return the entry of a marker and its frame."""
    # The marker after one that was purged or rewritten repeats the digest that the frame had before.
    return Entry(marker, marker_codec.first_digest(marker) or digest_of(frame), len(frame))


async def decode_entry(key: str, frame: bytes) -> Entry:
    """Decode the entry in a frame, in a thread if the frame is large.

    Args:
        key: the key that the frame was read from.
        frame: the frame.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED, also for a marker of another key; LAYOUT_UNSUPPORTED.

    """
    return await asyncio.to_thread(_decode, key, frame) if len(frame) > _THREAD_BYTES else _decode(key, frame)


def _decode(key: str, frame: bytes) -> Entry:
    entry = entry_of(_require_place(marker_codec.decode(frame, key), key), frame)
    # Built in the thread: a marker may hold many ranges.
    _ = entry.gone
    return entry


def _require_place(marker: Marker, key: str) -> Marker:
    if WorkflowKeys(marker.namespace, marker.workflow_id).marker(marker.revision) != key:
        raise HoldfastError(Reason.CHECKPOINT_CORRUPTED, "a commit marker belongs to another key", key=key)
    return marker
