"""The bytes of a commit marker, a claim or a batch of records: a `frame` around a protobuf body.

The version of a marker's frame follows from the marker: version 2 has the digests of recent entries, which older
servers do not know.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal, TypeVar

from google.protobuf.message import DecodeError, Message

from holdfast_server.layout.v1.marker_pb2 import Claim, IdIndex, Marker, RecordBatch, StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import frame, id_index, invariants
from holdfast_server.protocol.format.bounded_read import MAX_MARKER_BYTES
from holdfast_server.protocol.format.keys import MAX_REVISION
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.format.short_forms import LongFormError, lengthen, short_form

# The newest version of frames that this server reads and writes.
MARKER_VERSION = frame.VERSION

_Body = TypeVar("_Body", bound=Message)

_Content = Literal[
    "parts",
    "labels",
    "format",
    "producer",
    "parent_id",
    "expire_time",
    "request_fingerprint",
    "trace_id",
    "pinned",
    "principal",
]
_NAMES: dict[type[Message], str] = {
    Marker: "commit marker",
    Claim: "claim",
    IdIndex: "index of ids",
    RecordBatch: "batch of records",
}
# The name of the caller, and the fields that it filled. Its checkpoint id and request id are kept after a purge: the
# log needs them to recognise the id and a retry.
_CONTENT: tuple[_Content, ...] = (
    "parts",
    "labels",
    "format",
    "producer",
    "parent_id",
    "expire_time",
    "request_fingerprint",
    "trace_id",
    "pinned",
    "principal",
)
# The bytes of parts in a larger marker are compressed already, or were not worth it.
_COMPRESSED_BYTES = 8 << 10


def version_of(marker: Marker) -> int:
    """Return the version of a marker's frame."""
    return 2 if marker.recent_digests else 1


def encode(marker: Marker, key: str) -> bytes:
    """Return the frame of a commit marker.

    Raises:
        HoldfastError: LOG_FULL: the frame would be too large to be read again.

    """
    version = version_of(marker)
    if version == 1:
        return frame.pack(_bounded(marker.SerializeToString(deterministic=True)), key, version)
    body = _bounded(short_form(marker, key))
    return frame.pack(body, key, version, compresses=len(body) <= _COMPRESSED_BYTES, is_fast=True)


def encode_claim(claim: Claim, key: str) -> bytes:
    """Return the frame of a claim."""
    return frame.pack(claim.SerializeToString(deterministic=True), key, 1)


def encode_index(index: IdIndex, key: str) -> bytes:
    """Return the frame of an object of the index of ids."""
    # Digests do not compress.
    return frame.pack(index.SerializeToString(deterministic=True), key, 2, compresses=False)


def encode_batch(batch: RecordBatch, key: str, version: int) -> bytes:
    """Return the frame of a batch of records. From version 2 on, it has only the records: the key has everything else.

    Raises:
        HoldfastError: LOG_FULL: the frame would be too large to be read again.

    """
    stored = batch if version == 1 else RecordBatch(records=batch.records)
    return frame.pack(_bounded(stored.SerializeToString(deterministic=True)), key, version)


def _bounded(body: bytes) -> bytes:
    if frame.HEADER_BYTES + len(body) > MAX_MARKER_BYTES:
        raise HoldfastError(
            Reason.LOG_FULL,
            f"the commit marker would have {len(body)} bytes: too many checkpoints are deleted between live ones",
            marker_bytes=len(body),
        )
    return body


def without_content(marker: Marker, digest: bytes) -> Marker:
    """Return what remains of a marker after a purge: the fields that the log needs.

    Args:
        marker: the marker.
        digest: the digest of its frame.

    """
    bare = Marker()
    bare.CopyFrom(marker)
    for field in _CONTENT:
        bare.ClearField(field)
    bare.ClearField("rewritten_digest")
    bare.purged_digest = digest
    return bare


def with_parts(marker: Marker, digest: bytes, parts: Sequence[StoredPart]) -> Marker:
    """Return a marker with parts that are stored in another way.

    Args:
        marker: the marker.
        digest: the digest of its first frame.
        parts: the parts.

    """
    rewritten = Marker()
    rewritten.CopyFrom(marker)
    del rewritten.parts[:]
    rewritten.parts.extend(parts)
    rewritten.rewritten_digest = digest
    return rewritten


def first_digest(marker: Marker) -> bytes:
    """Return the digest of a marker's first frame if a purge has replaced that frame; otherwise nothing."""
    return marker.purged_digest or marker.rewritten_digest


def is_of(found: bytes, sent: bytes, key: str) -> bool:
    """Return whether bytes under a key are a frame, or what a purge has put in the place of that frame."""
    if found == sent:
        return True
    try:
        return first_digest(decode(found, key)) == sha256(sent).digest()
    except HoldfastError:
        return False


def decode(data: bytes, key: str) -> Marker:
    """Return the commit marker in a frame. It satisfies `invariants`.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    marker, version = _decode(data, key, Marker())
    try:
        lengthen(marker, key)
    except LongFormError as error:
        raise _corrupted(marker, key, f"its field {error} is invalid") from None
    unknown = invariants.unknown(marker)
    if unknown:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED, f"a commit marker has {unknown}, which this server does not know", key=key
        )
    invalid = "recent_digests" if version != version_of(marker) else invariants.invalid_field(marker)
    if invalid:
        raise _corrupted(marker, key, f"its field {invalid} is invalid")
    return marker


def decode_claim(data: bytes, key: str) -> Claim:
    """Return the claim in a frame.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    claim, _ = _decode(data, key, Claim())
    if not 0 <= claim.base_revision <= MAX_REVISION:
        raise _corrupted(claim, key, f"its field base_revision is invalid: {claim.base_revision}")
    return claim


def decode_index(data: bytes, key: str, revisions: Range) -> IdIndex:
    """Return the object of the index of ids in a frame.

    Args:
        data: the frame.
        key: the key that it was read from.
        revisions: the revisions that it covers according to that key.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    body, _ = _decode(data, key, IdIndex())
    first, last = revisions
    count, rest = divmod(len(body.digests), id_index.DIGEST_BYTES)
    if rest or body.first_revision < first or body.first_revision + count - 1 != last:
        raise _corrupted(body, key, f"it has {count} ids from revision {body.first_revision} on")
    return body


def decode_batch(data: bytes, key: str) -> tuple[RecordBatch, int]:
    """Return the batch of records in a frame, and the frame's version. From version 2 on, it has only the records.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    return _decode(data, key, RecordBatch())


def _decode(data: bytes, key: str, message: _Body) -> tuple[_Body, int]:
    body, version = frame.unpack(data, key, _NAMES[type(message)])
    try:
        message.ParseFromString(body)
    except DecodeError:
        raise _corrupted(message, key, "its body cannot be read") from None
    return message, version


def _corrupted(message: Message, key: str, why: str) -> HoldfastError:
    return frame.corrupted(_NAMES[type(message)], key, why)
