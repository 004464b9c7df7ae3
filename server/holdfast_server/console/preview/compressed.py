"""Undo a compression of a whole part, within a limit."""

import zlib
from dataclasses import dataclass

from holdfast_server import zstd

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b\x08"
# For gzip's own header.
_GZIP = 16 + zlib.MAX_WBITS
# A frame may require a window of this size at most, in powers of two: 8 MiB.
_WINDOW_LOG = 23


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The content of compressed data.

    Attributes:
        name: the compression.
        content: the first bytes of the content.
        is_whole: whether these are all bytes; False at the limit, and if the compressed data ends early.
        has_more: whether other bytes follow the compressed data, such as a second stream.

    """

    name: str
    content: bytes
    is_whole: bool
    has_more: bool


def decompressed(data: bytes, limit: int) -> Unpacked | None:
    """Return the content of compressed data; None if the data is not compressed.

    Args:
        data: the beginning of the part, or all of it.
        limit: the most bytes to return.

    """
    if data.startswith(_GZIP_MAGIC):
        gzip = zlib.decompressobj(_GZIP)
        try:
            content = gzip.decompress(data, limit)
        except zlib.error:
            return None
        return Unpacked("gzip", content, gzip.eof, bool(gzip.unused_data))
    if data.startswith(_ZSTD_MAGIC):
        options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
        frame = zstd.ZstdDecompressor(options=options)
        try:
            content = frame.decompress(data, limit)
        except zstd.ZstdError:
            return None
        return Unpacked("zstd", content, frame.eof, bool(frame.unused_data))
    return None
