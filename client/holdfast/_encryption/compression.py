"""Compression of frames before they are encrypted: zstd if this Python has it or the extra installed it, else none."""

from importlib import import_module
from typing import Any

from holdfast._encryption.layout import PLAIN_BYTES


def _module() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


_ZSTD = _module()
AVAILABLE = _ZSTD is not None
_LEVEL = 3
# Frames have at most 1 MiB, so no honest one needs a wider window.
_WINDOW_LOG = 21
# Less than this rarely becomes smaller.
_SMALL_BYTES = 128


def compressed(data: bytes) -> bytes | None:
    """Return a frame's data compressed; None if it does not become smaller."""
    if len(data) < _SMALL_BYTES:
        return None
    smaller: bytes = _ZSTD.compress(data, level=_LEVEL)
    return smaller if len(smaller) < len(data) else None


def decompressed(data: bytes) -> bytes:
    """Return the data of a compressed frame. Memory is bounded, whatever the frame claims.

    Raises:
        ValueError: it is not one zstd frame, or has more data than a frame may have.
        ImportError: neither this Python nor an installed package has zstd.

    """
    if _ZSTD is None:
        raise ImportError(
            "this checkpoint was compressed with zstd, which Python has from 3.14: pip install backports.zstd"
        )
    decompressor = _ZSTD.ZstdDecompressor(options={_ZSTD.DecompressionParameter.window_log_max: _WINDOW_LOG})
    try:
        plain: bytes = decompressor.decompress(data, max_length=PLAIN_BYTES + 1)
    except _ZSTD.ZstdError as error:
        raise ValueError(f"a frame cannot be decompressed: {error}") from None
    if len(plain) > PLAIN_BYTES or not decompressor.eof or decompressor.unused_data:
        raise ValueError("a frame is not one zstd frame of at most 1 MiB")
    return plain
