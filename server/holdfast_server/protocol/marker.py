"""The bytes of a commit marker: a small frame around a protobuf body.

Frame: magic "HFMK", marker version (u16), reserved (u16), body length (u32), CRC-32C of the body
(u32), body; integers big-endian. A reader refuses a newer version than it knows, before it looks further.
"""

import struct
from typing import TypeVar

from crc32c import crc32c
from google.protobuf.message import DecodeError, Message

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.storage.v1.marker_pb2 import Marker, PrepareMarker

MARKER_VERSION = 1

_Body = TypeVar("_Body", bound=Message)

_MAGIC = b"HFMK"
_FRAME = struct.Struct(">4sHHII")


def encode(body: Message) -> bytes:
    """Frame a marker."""
    data = body.SerializeToString(deterministic=True)
    return _FRAME.pack(_MAGIC, MARKER_VERSION, 0, len(data), crc32c(data)) + data


def decode(frame: bytes, key: str) -> Marker:
    """Read a commit marker.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    return _decode(frame, key, Marker())


def decode_claim(frame: bytes, key: str) -> PrepareMarker:
    """Read a prepare marker.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    return _decode(frame, key, PrepareMarker())


def _decode(frame: bytes, key: str, body: _Body) -> _Body:
    if len(frame) < _FRAME.size or frame[:4] != _MAGIC:
        raise _corrupted(key, "its frame is cut off or is none")
    _, version, _, length, checksum = _FRAME.unpack_from(frame)
    if version > MARKER_VERSION:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"a commit marker has version {version}, this server reads up to {MARKER_VERSION}",
            marker_version=version,
            supported_marker_version=MARKER_VERSION,
            key=key,
        )
    if version < 1:
        raise _corrupted(key, "its version is none")
    data = frame[_FRAME.size :]
    if len(data) != length:
        raise _corrupted(key, f"it holds {len(data)} bytes instead of {length}")
    if crc32c(data) != checksum:
        raise _corrupted(key, "its checksum does not match")
    try:
        body.ParseFromString(data)
    except DecodeError:
        raise _corrupted(key, "its body cannot be read") from None
    return body


def _corrupted(key: str, why: str) -> HoldfastError:
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"a commit marker is damaged: {why}", key=key)
