"""Frames: what surrounds the body of a commit marker, a claim or a batch of records.

A frame is the magic "HFMK", its version (u16), flags (u16), the length of the stored body (u32), a CRC-32C and the
body; integers big-endian.

- Version 1 has no flags, and its checksum covers only the body.
- Version 2 may have the flag _COMPRESSED: the body is a zstd frame made with the `dictionary`. Its checksum covers the
  fields before it, the object's key and the stored body, so that an object under another key is damaged, and need not
  repeat what its key says.

Version 3 is a frame of either version with a MAC before it (`macs`). A store that has keys removes the MAC before the
frame gets here; one that has none cannot check it, and is refused.

A reader refuses a version or a flag that it does not know before it reads further. A later version must keep magic and
version in their place and include both in its checksum, so that its frames are never valid by the rules of an earlier
version. A frame with a newer version that is valid by those rules is therefore damaged, not one of a newer server.
"""

import struct
import threading
from typing import NamedTuple

from crc32c import crc32c

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.dictionary import DICTIONARY
from holdfast_server.zstd import (
    CompressionParameter,
    DecompressionParameter,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdDict,
    ZstdError,
    get_frame_info,
)

# The newest version that this server reads and writes.
VERSION = 2
# The version of objects with a MAC.
KEYED_VERSION = 3
MAGIC = b"HFMK"
HEADER_BYTES = 16

_FRAME = struct.Struct(">4sHHII")
_CHECKED = struct.Struct(">4sHHI")
_COMPRESSED = 1
_DICTIONARY = ZstdDict(DICTIONARY, is_raw=True)
# A smaller body gains nothing.
_LEAST_COMPRESSED_BYTES = 64
# How large a compressed body may become, so that its reader knows how much memory that takes at most.
_MOST_GROWTH = 16
_ALWAYS_GROWN_BYTES = 16 << 10
# 64 MiB, more than any frame that is read.
_WINDOW_LOG = 26


class _Header(NamedTuple):
    magic: bytes
    version: int
    flags: int
    length: int
    checksum: int


class _Compressor(threading.local):
    """A compressor for each thread: to make one takes longer than to compress a marker."""

    def __init__(self, level: int) -> None:
        options: dict[int, int] = {CompressionParameter.compression_level: level, CompressionParameter.dict_id_flag: 0}
        self._compressor = ZstdCompressor(options=options, zstd_dict=_DICTIONARY.as_digested_dict)

    def __call__(self, data: bytes) -> bytes:
        return self._compressor.compress(data, mode=ZstdCompressor.FLUSH_FRAME)


# Levels 2 to 4 find less in records of a kilobyte.
_compress = _Compressor(1)
# For what has little but names and digests. It takes half the time.
_compress_fast = _Compressor(-1)


def pack(body: bytes, key: str, version: int, *, compresses: bool = True, is_fast: bool = False) -> bytes:
    """Return the frame of a body.

    Args:
        body: the body.
        key: the key of the object.
        version: the version of the frame.
        compresses: whether a frame of version 2 compresses the body, if that makes it smaller.
        is_fast: whether that takes less time, for a body with little text.

    """
    if version == 1:
        return _FRAME.pack(MAGIC, 1, 0, len(body), crc32c(body)) + body
    stored, flags = body, 0
    if compresses and len(body) >= _LEAST_COMPRESSED_BYTES:
        compressed = (_compress_fast if is_fast else _compress)(body)
        if len(compressed) < len(body) <= most_bytes(len(compressed)):
            stored, flags = compressed, _COMPRESSED
    return _FRAME.pack(MAGIC, version, flags, len(stored), _checksum(version, flags, stored, key)) + stored


def most_bytes(stored_bytes: int) -> int:
    """Return how large a body may be that is stored in so many bytes."""
    return max(_ALWAYS_GROWN_BYTES, _MOST_GROWTH * stored_bytes)


def unpack(frame: bytes, key: str, name: str) -> tuple[bytes, int]:
    """Return the body in a frame, and the frame's version.

    Args:
        frame: the frame.
        key: the key of the object.
        name: what the object is, for errors.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED or LAYOUT_UNSUPPORTED.

    """
    if len(frame) < HEADER_BYTES or frame[:4] != MAGIC:
        raise corrupted(name, key, "it does not begin with a whole frame header")
    header = _Header(*_FRAME.unpack_from(frame))
    version, stored = header.version, frame[HEADER_BYTES:]
    if version > VERSION and all(_flaw(header._replace(version=known), stored, key) for known in (1, 2)):
        needs = "has a MAC: this server needs mac_keys_file" if version == KEYED_VERSION else ""
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"a {name} {needs or f'has version {version}, this server reads up to {VERSION}'}",
            marker_version=version,
            supported_marker_version=VERSION,
            key=key,
        )
    if not 1 <= version <= VERSION:
        raise corrupted(name, key, f"invalid version {version}")
    flaw = _flaw(header, stored, key)
    if flaw:
        raise corrupted(name, key, flaw)
    if version == 1:
        return stored, version
    if header.flags & ~_COMPRESSED:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED, f"a {name} has flags {header.flags:#x}, which this server does not know", key=key
        )
    return (_decompressed(stored, key, name) if header.flags else stored), version


def corrupted(name: str, key: str, why: str) -> HoldfastError:
    """Return the error for a damaged object."""
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"a {name} is damaged: {why}", key=key)


def _flaw(header: _Header, stored: bytes, key: str) -> str:
    """Return what is wrong with a frame by the rules of its version; "" if nothing is."""
    if header.version == 1 and header.flags:
        return "its reserved bytes are set"
    if len(stored) != header.length:
        return f"its body has {len(stored)} bytes, expected {header.length}"
    is_right = header.checksum == _checksum(header.version, header.flags, stored, key)
    return "" if is_right else "its checksum does not match"


def _checksum(version: int, flags: int, stored: bytes, key: str) -> int:
    if version == 1:
        return crc32c(stored)
    before = _CHECKED.pack(MAGIC, version, flags, len(stored)) + key.encode(errors="surrogatepass")
    return crc32c(stored, crc32c(before))


def _decompressed(stored: bytes, key: str, name: str) -> bytes:
    most = most_bytes(len(stored))
    try:
        size = get_frame_info(stored).decompressed_size
        if size is None or size > most:
            raise corrupted(name, key, f"its compressed body claims {size} bytes, expected at most {most}")
        decompressor = ZstdDecompressor(
            _DICTIONARY.as_digested_dict, options={DecompressionParameter.window_log_max: _WINDOW_LOG}
        )
        body = decompressor.decompress(stored, max_length=size + 1)
    except ZstdError:
        raise corrupted(name, key, "its compressed body cannot be read") from None
    if len(body) != size or not decompressor.eof or decompressor.unused_data:
        raise corrupted(name, key, f"its compressed body has another size than {size} bytes")
    return body
