"""The bytes of a commit marker, a claim or a batch of records: a frame around a protobuf body.

Frame: magic "HFMK", marker version (u16), reserved (u16, zero), body length (u32), CRC-32C of the body (u32), body;
integers big-endian. A reader refuses a version that it does not know before it reads further.

The checksum of version 1 covers only the body. A later version that keeps magic and version in their place must include
the first eight bytes in its checksum, so that its markers are never valid by the rules of version 1. A frame with a
newer version that is valid by those rules is therefore a damaged marker of version 1, not one of a newer server.
"""

import struct
from hashlib import sha256
from typing import Literal, TypeVar

from crc32c import crc32c
from google.protobuf.message import DecodeError, Message

from holdfast_server.layout.v1.marker_pb2 import Claim, Marker, RecordBatch
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import invariants
from holdfast_server.protocol.format.bounded_read import MAX_MARKER_BYTES
from holdfast_server.protocol.format.keys import MAX_REVISION

MARKER_VERSION = 1

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
]
_MAGIC = b"HFMK"
_NAMES: dict[type[Message], str] = {Marker: "commit marker", Claim: "claim", RecordBatch: "batch of records"}
# The fields that a caller filled. Its checkpoint id and request id are kept after a purge: the log needs them to
# recognise the id and a retry.
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
)
_FRAME = struct.Struct(">4sHHII")


def encode(body: Message) -> bytes:
    """Return the frame of a body.

    Raises:
        HoldfastError: LOG_FULL: the frame would be too large to be read again.

    """
    data = body.SerializeToString(deterministic=True)
    if _FRAME.size + len(data) > MAX_MARKER_BYTES:
        raise HoldfastError(
            Reason.LOG_FULL,
            f"the commit marker would have {len(data)} bytes: too many checkpoints are deleted between live ones",
            marker_bytes=len(data),
        )
    return _FRAME.pack(_MAGIC, MARKER_VERSION, 0, len(data), crc32c(data)) + data


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
    bare.purged_digest = digest
    return bare


def is_of(found: bytes, frame: bytes) -> bool:
    """Return whether bytes are a frame, or what a purge has left of that frame."""
    if found == frame:
        return True
    try:
        return decode(found, "").purged_digest == sha256(frame).digest()
    except HoldfastError:
        return False


def decode(frame: bytes, key: str) -> Marker:
    """Return the commit marker in a frame. It satisfies `invariants`.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    body = _decode(frame, key, Marker())
    unknown = invariants.unknown(body)
    if unknown:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED, f"a commit marker has {unknown}, which this server does not know", key=key
        )
    invalid = invariants.invalid_field(body)
    if invalid:
        raise _corrupted(body, key, f"its field {invalid} is invalid")
    return body


def decode_claim(frame: bytes, key: str) -> Claim:
    """Return the claim in a frame.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    body = _decode(frame, key, Claim())
    if not 0 <= body.base_revision <= MAX_REVISION:
        raise _corrupted(body, key, f"its field base_revision is invalid: {body.base_revision}")
    return body


def decode_batch(frame: bytes, key: str) -> RecordBatch:
    """Return the batch of records in a frame.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    return _decode(frame, key, RecordBatch())


def _decode(frame: bytes, key: str, body: _Body) -> _Body:
    if len(frame) < _FRAME.size or frame[:4] != _MAGIC:
        raise _corrupted(body, key, "it does not begin with a whole frame header")
    _, version, reserved, length, checksum = _FRAME.unpack_from(frame)
    data = frame[_FRAME.size :]
    flaw = _flaw(data, reserved, length, checksum)
    if version > MARKER_VERSION and flaw:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"a {_NAMES[type(body)]} has version {version}, this server reads up to {MARKER_VERSION}",
            marker_version=version,
            supported_marker_version=MARKER_VERSION,
            key=key,
        )
    if version != MARKER_VERSION:
        raise _corrupted(body, key, f"invalid version {version}")
    if flaw:
        raise _corrupted(body, key, flaw)
    try:
        body.ParseFromString(data)
    except DecodeError:
        raise _corrupted(body, key, "its body cannot be read") from None
    return body


def _flaw(data: bytes, reserved: int, length: int, checksum: int) -> str:
    """Return what is wrong with a frame by the rules of version 1; "" if nothing is."""
    if reserved:
        return "its reserved bytes are set"
    if len(data) != length:
        return f"its body has {len(data)} bytes, expected {length}"
    return "its checksum does not match" if crc32c(data) != checksum else ""


def _corrupted(body: Message, key: str, why: str) -> HoldfastError:
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"a {_NAMES[type(body)]} is damaged: {why}", key=key)
