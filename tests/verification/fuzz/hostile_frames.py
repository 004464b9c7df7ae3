"""Frames of zstd that no server writes, and a decoder that notes when one is treated too well."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from holdfast_server.protocol.payload import frames
from holdfast_server.zstd import ZstdDecompressor, ZstdDict, ZstdError, compress

from tests.verification.fuzz.reader import Reader

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
# Decodes to 4 MiB of zeros.
_BOMB = compress(bytes(4 << 20))
_SINGLE_SEGMENT = 1 << 5


def hostile(reader: Reader, frame: bytes, content: bytes, others: Sequence[bytes]) -> bytes:
    """Return bytes in place of what is stored of a part.

    Args:
        reader: makes the choices.
        frame: what is stored of the part.
        content: its content.
        others: the contents of other versions and parts.

    """
    kind = reader.below(10)
    if kind == 0:
        return reader.raw()
    if kind == 1:
        return _BOMB
    if kind == 2:
        return wide(reader.below(32), content)
    if kind == 3:
        # Encoded with the dictionary of another version.
        base = ZstdDict(reader.choice(others), is_raw=True).as_prefix
        return compress(reader.choice((content, reader.choice(others))), zstd_dict=base)
    if kind == 4:
        return frame[: reader.byte()]
    if kind == 5:
        return frame + reader.choice((b"\0", frame, _SKIPPABLE))
    if kind == 6:
        return _SKIPPABLE + frame
    if kind == 7:
        return compress(reader.choice(others))
    if kind == 8:
        return reader.choice((content, *others))
    at = reader.byte() % len(frame)
    return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]


def wide(exponent: int, content: bytes) -> bytes:
    """Return a frame with the content as it is, which demands a window of 1 KiB times a power of two."""
    block = (len(content) << 3 | 1).to_bytes(3, "little") + content
    return _MAGIC + bytes([0, exponent << 3]) + block


@contextmanager
def strict() -> Iterator[None]:
    """Raise an AssertionError in the block if a decoder builds or demands more than the marker states."""
    decode, limits = frames._decode, [(0, 0)]

    def noted(frame: bytes, size_bytes: int, base: bytes | None) -> bytes:
        limits[0] = size_bytes, _most_window(size_bytes, base)
        data = decode(frame, size_bytes, base)
        assert unpacked(frame, size_bytes, base) == data
        return data

    class Decompressor:
        def __init__(self, **options):
            self._real = ZstdDecompressor(**options)

        def decompress(self, data, max_length=-1):
            built = self._real.decompress(data, max_length)
            most, window = limits[0]
            assert len(built) <= most + 1, f"{len(built)} bytes were built in place of {most}"
            assert _window(data) <= window, "a window that the part does not need"
            return built

        def __getattr__(self, name):
            return getattr(self._real, name)

    with ExitStack() as stack:
        stack.enter_context(patch.object(frames, "_decode", noted))
        stack.enter_context(patch.object(frames, "ZstdDecompressor", Decompressor))
        yield


def unpacked(frame: bytes, size_bytes: int, base: bytes | None) -> bytes | None:
    """Return the content of one whole frame, by the library alone; None if there is no such content."""
    if not frame.startswith(_MAGIC) or _window(frame) > _most_window(size_bytes, base):
        return None
    decompressor = ZstdDecompressor(None if not base else ZstdDict(base, is_raw=True).as_prefix)
    try:
        data = decompressor.decompress(frame, size_bytes + 1)
    except ZstdError:
        return None
    return data if decompressor.eof and len(data) == size_bytes and not decompressor.unused_data else None


def _most_window(size_bytes: int, base: bytes | None) -> int:
    return max(1024, 1 << (size_bytes + len(base or b"") - 1).bit_length())


def _window(frame: bytes) -> int:
    """Return how many bytes of window a frame demands; 0 if as many as its content."""
    if not frame.startswith(_MAGIC) or len(frame) < 6 or frame[4] & _SINGLE_SEGMENT:
        return 0
    base = 1 << (10 + (frame[5] >> 3))
    return base + base // 8 * (frame[5] & 7)
