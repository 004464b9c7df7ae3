"""Digests and checksums of parts: of a part as a whole, and of each block, so that a range can be checked too.

Each byte is read once for its CRC-32C: the checksums of pieces that follow each other are combined into that of the
whole. Digests are computed in a thread if that takes longer than starting the thread's work.
"""

import asyncio
import hashlib
from array import array
from collections.abc import Sequence
from functools import lru_cache

from crc32c import crc32c

# A blob is also read in steps of this size.
BLOCK_BYTES = 4 << 20
# Below this size, computing a digest takes less time than handing it to a thread.
_INLINE_BYTES = 64 << 10
# CRC-32C's polynomial and the polynomial 1, with the bits reversed.
_POLYNOMIAL, _ONE = 0x82F63B78, 0x80000000


class Digests:
    """The running SHA-256 and CRC-32C of a part, and the CRC-32C of each of its blocks."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._blocks = array("I")
        # Of all blocks but the last one.
        self._earlier_crc32c = 0
        self.size_bytes = 0

    async def update(self, data: bytes | memoryview, checksum: int | None = None) -> None:
        """Append bytes to the part.

        Args:
            data: the bytes.
            checksum: their CRC-32C, if it was computed from these bytes before.

        """
        if len(data) > _INLINE_BYTES:
            await asyncio.to_thread(self._update, data, checksum)
        else:
            self._update(data, checksum)

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of the bytes so far."""
        return self._sha256.digest()

    @property
    def crc32c(self) -> int:
        """The CRC-32C of the bytes so far."""
        if not self._blocks:
            return 0
        return combined(self._earlier_crc32c, self._blocks[-1], self.size_bytes - self._earlier_bytes)

    @property
    def block_crc32c(self) -> Sequence[int]:
        """The CRC-32C of each block so far; the last block may be incomplete."""
        return self._blocks

    @property
    def _earlier_bytes(self) -> int:
        return max(0, len(self._blocks) - 1) * BLOCK_BYTES

    def _update(self, data: bytes | memoryview, checksum: int | None) -> None:
        self._sha256.update(data)
        view = memoryview(data)
        while view:
            filled = self.size_bytes % BLOCK_BYTES
            piece = view[: BLOCK_BYTES - filled]
            if not filled:
                self._earlier_crc32c = self.crc32c
                self._blocks.append(0)
            if checksum is not None and len(piece) == len(data):
                self._blocks[-1] = combined(self._blocks[-1], checksum, len(piece))
            else:
                self._blocks[-1] = crc32c(piece, self._blocks[-1])
            self.size_bytes += len(piece)
            view = view[len(piece) :]


async def crc32c_of(pieces: Sequence[bytes | memoryview]) -> list[int]:
    """Return the CRC-32C of each piece."""
    if sum(map(len, pieces)) > _INLINE_BYTES:
        return await asyncio.to_thread(lambda: [crc32c(piece) for piece in pieces])
    return [crc32c(piece) for piece in pieces]


def combined(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC-32C of two byte strings that follow each other.

    Args:
        first: the CRC-32C of the first one.
        second: the CRC-32C of the second one.
        second_bytes: the length of the second one in bytes.

    """
    return (_product(_power(second_bytes), first) if first else 0) ^ second


@lru_cache(maxsize=64)
def _power(size_bytes: int) -> int:
    """Return x to the number of bits of so many bytes: appending them multiplies the remainder before them by this."""
    result, square = _ONE, _ONE >> 8
    while size_bytes:
        if size_bytes & 1:
            result = _product(square, result)
        square = _product(square, square)
        size_bytes >>= 1
    return result


def _product(first: int, second: int) -> int:
    """Return the product of two polynomials modulo that of CRC-32C."""
    product, bit = 0, _ONE
    while bit:
        if first & bit:
            product ^= second
        bit >>= 1
        second = second >> 1 ^ (_POLYNOMIAL if second & 1 else 0)
    return product
