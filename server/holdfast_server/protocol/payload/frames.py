"""One encoded part: a zstd frame, whose dictionary may be the raw content of an earlier version of the part.

Decoding is bounded by the size that the marker states, whatever a frame contains. Large parts are encoded and decoded
in threads, a few at a time, so that memory stays bounded and the event loop is not held up.
"""

import asyncio

from holdfast_server.protocol.format.invariants import MAX_ENCODED_BYTES
from holdfast_server.zstd import (
    CompressionParameter,
    DecompressionParameter,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdDict,
    ZstdError,
)

# Level 1 misses most of what two versions have in common, higher levels take several times as long for little.
_LEVEL = 3
# Take two to three times as long, for some 6% fewer bytes.
_THOROUGH_LEVEL, _THOROUGH_LEVEL_ALONE = 6, 9
# Up to these sizes, of both versions together, the work takes less than half a millisecond, most of the time less than
# handing it to a thread. Most of what is encoded against an earlier version is copied.
_INLINE_BYTES, _INLINE_DELTA_BYTES = 64 << 10, 256 << 10
# Level 3 indexes only the last MiB of a dictionary. Long-distance matching finds matches in all of it.
_INDEXED_BYTES = 960 << 10
# zstd allocates about as much as the window, which covers both versions.
_SMALLEST_WINDOW_LOG, _LARGEST_WINDOW_LOG = 10, (2 * MAX_ENCODED_BYTES - 1).bit_length()


class FrameError(Exception):
    """A frame cannot be decoded to the size that was stated."""


async def encode(data: bytes, base: bytes | None = None, *, thoroughly: bool = False) -> bytes:
    """Return the frame of a part.

    Args:
        data: the part.
        base: the earlier version that serves as the dictionary; None for none.
        thoroughly: whether fewer bytes are worth several times the time.

    """
    level = _LEVEL
    if thoroughly:
        level = _THOROUGH_LEVEL_ALONE if base is None else _THOROUGH_LEVEL
    inline_bytes = _INLINE_BYTES if thoroughly or base is None else _INLINE_DELTA_BYTES
    if len(data) + len(base or b"") > inline_bytes:
        return await asyncio.to_thread(_encode, data, base, level)
    return _encode(data, base, level)


async def decode(frame: bytes, size_bytes: int, base: bytes | None = None) -> bytes:
    """Return the part in a frame.

    Args:
        frame: the frame.
        size_bytes: the size of the part; nothing larger is ever built.
        base: the dictionary that the part was encoded with; None for none.

    Raises:
        FrameError: the frame is damaged, or holds another number of bytes.

    """
    if size_bytes + len(base or b"") > _INLINE_DELTA_BYTES:
        return await asyncio.to_thread(_decode, frame, size_bytes, base)
    return _decode(frame, size_bytes, base)


def _encode(data: bytes, base: bytes | None, level: int) -> bytes:
    compressor = ZstdCompressor(
        options={
            CompressionParameter.compression_level: level,
            CompressionParameter.window_log: _window_log(len(data), base),
            CompressionParameter.enable_long_distance_matching: int(len(base or b"") > _INDEXED_BYTES),
        },
        # As a prefix, the raw content is used once and needs no tables of its own.
        zstd_dict=None if not base else ZstdDict(base, is_raw=True).as_prefix,
    )
    compressor.set_pledged_input_size(len(data))
    return compressor.compress(data, ZstdCompressor.FLUSH_FRAME)


def _decode(frame: bytes, size_bytes: int, base: bytes | None) -> bytes:
    decompressor = ZstdDecompressor(
        zstd_dict=None if not base else ZstdDict(base, is_raw=True).as_prefix,
        options={DecompressionParameter.window_log_max: _window_log(size_bytes, base)},
    )
    try:
        data = decompressor.decompress(frame, size_bytes + 1)
    except ZstdError as error:
        raise FrameError(f"cannot be decoded: {error}") from None
    if len(data) != size_bytes or not decompressor.eof or decompressor.unused_data:
        raise FrameError(f"decodes to another size than {size_bytes} bytes")
    return data


def _window_log(size_bytes: int, base: bytes | None) -> int:
    """Return the logarithm of a window that covers the part and its base."""
    needed = (size_bytes + len(base or b"") - 1).bit_length()
    return min(max(needed, _SMALLEST_WINDOW_LOG), _LARGEST_WINDOW_LOG)
