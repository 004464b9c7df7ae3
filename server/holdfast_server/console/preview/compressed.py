"""Undo a compression of a whole part, within a limit."""

import zlib

from holdfast_server import zstd

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b\x08"
# For gzip's own header.
_GZIP = 16 + zlib.MAX_WBITS
# A frame may require a window of this size at most, in powers of two: 8 MiB.
_WINDOW_LOG = 23


def decompressed(data: bytes, limit: int) -> tuple[str, bytes] | None:
    """Return the name of a compression and the first bytes of the content; None if the data is not compressed.

    Args:
        data: the beginning of the part, or all of it.
        limit: the most bytes to return.

    """
    if data.startswith(_GZIP_MAGIC):
        try:
            return "gzip", zlib.decompressobj(_GZIP).decompress(data, limit)
        except zlib.error:
            return None
    if data.startswith(_ZSTD_MAGIC):
        options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
        try:
            return "zstd", zstd.ZstdDecompressor(options=options).decompress(data, limit)
        except zstd.ZstdError:
            return None
    return None
