"""The bytes of a commit marker: a small frame around a protobuf body.

Frame: magic "HFMK", marker version (u16), reserved (u16, zero), body length (u32), CRC-32C of the body
(u32), body; integers big-endian. A reader refuses a newer version than it knows, before it looks further.

The checksum of version 1 covers the body alone. Every later version that keeps magic and version in their place must
count the first eight bytes in, so that none of its markers is whole by the rules of version 1. So what says that it is
newer, and is whole by those rules, is a marker of version 1 whose version has rotted: damage, not a newer server's.
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
# What a caller has said of a checkpoint. Its id and its request's stay: the log tells by them what was deleted.
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
    """Frame a marker.

    Raises:
        HoldfastError: LOG_FULL: it would be too large to be read again.

    """
    data = body.SerializeToString(deterministic=True)
    if _FRAME.size + len(data) > MAX_MARKER_BYTES:
        raise HoldfastError(
            Reason.LOG_FULL,
            f"the commit marker would have {len(data)} bytes: too many checkpoints are deleted between living ones",
            marker_bytes=len(data),
        )
    return _FRAME.pack(_MAGIC, MARKER_VERSION, 0, len(data), crc32c(data)) + data


def without_content(marker: Marker, digest: bytes) -> Marker:
    """What the log needs of a marker whose content is purged.

    Args:
        marker: the marker.
        digest: of its frame.

    """
    bare = Marker()
    bare.CopyFrom(marker)
    for field in _CONTENT:
        bare.ClearField(field)
    bare.purged_digest = digest
    return bare


def is_of(found: bytes, frame: bytes) -> bool:
    """Whether bytes are a frame, or what a purge has left of it."""
    if found == frame:
        return True
    try:
        return decode(found, "").purged_digest == sha256(frame).digest()
    except HoldfastError:
        return False


def decode(frame: bytes, key: str) -> Marker:
    """Read a commit marker. What it tells makes sense, as `invariants` has it.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    body = _decode(frame, key, Marker())
    unknown = invariants.unknown(body)
    if unknown:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED, f"a commit marker tells of {unknown}, which this server does not know", key=key
        )
    nonsense = invariants.nonsense(body)
    if nonsense:
        raise _corrupted(body, key, f"its field {nonsense} makes no sense")
    return body


def decode_claim(frame: bytes, key: str) -> Claim:
    """Read a claim.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    body = _decode(frame, key, Claim())
    if not 0 <= body.base_revision <= MAX_REVISION:
        raise _corrupted(body, key, "its field base_revision makes no sense")
    return body


def decode_batch(frame: bytes, key: str) -> RecordBatch:
    """Read a batch of records.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    return _decode(frame, key, RecordBatch())


def _decode(frame: bytes, key: str, body: _Body) -> _Body:
    if len(frame) < _FRAME.size or frame[:4] != _MAGIC:
        raise _corrupted(body, key, "its frame is cut off or is none")
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
        raise _corrupted(body, key, "its version is none")
    if flaw:
        raise _corrupted(body, key, flaw)
    try:
        body.ParseFromString(data)
    except DecodeError:
        raise _corrupted(body, key, "its body cannot be read") from None
    return body


def _flaw(data: bytes, reserved: int, length: int, checksum: int) -> str:
    """What is wrong with a frame by the rules of version 1; "" for nothing."""
    if reserved:
        return "its reserved bytes are set"
    if len(data) != length:
        return f"it holds {len(data)} bytes instead of {length}"
    return "its checksum does not match" if crc32c(data) != checksum else ""


def _corrupted(body: Message, key: str, why: str) -> HoldfastError:
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"a {_NAMES[type(body)]} is damaged: {why}", key=key)
