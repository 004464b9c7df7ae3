"""Digests of payload: of a part as a whole, and of each block of it, so that a range can be checked as well.

What takes longer than handing it to a thread is computed in one.
"""

import asyncio
import hashlib
from array import array
from collections.abc import Sequence

from crc32c import crc32c

# Also what is read of a blob at a time.
BLOCK_BYTES = 4 << 20
# Below this, computing a digest takes less time than handing it to a thread.
_INLINE_BYTES = 64 << 10


class Digests:
    """The running SHA-256 and CRC-32C of a part, and the CRC-32C of each of its blocks."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._blocks = array("I")
        self.crc32c = 0
        self.size_bytes = 0

    async def update(self, data: bytes) -> None:
        """Take in bytes."""
        if len(data) > _INLINE_BYTES:
            await asyncio.to_thread(self._update, data)
        else:
            self._update(data)

    @property
    def sha256(self) -> bytes:
        """SHA-256 so far."""
        return self._sha256.digest()

    @property
    def block_crc32c(self) -> Sequence[int]:
        """CRC-32C of each block so far, the last as far as it goes."""
        return self._blocks

    def _update(self, data: bytes) -> None:
        self._sha256.update(data)
        self.crc32c = crc32c(data, self.crc32c)
        view = memoryview(data)
        while view:
            filled = self.size_bytes % BLOCK_BYTES
            piece = view[: BLOCK_BYTES - filled]
            if not filled:
                self._blocks.append(0)
            self._blocks[-1] = crc32c(piece, self._blocks[-1])
            self.size_bytes += len(piece)
            view = view[len(piece) :]


async def crc32c_of(data: bytes) -> int:
    """CRC-32C of bytes."""
    return await asyncio.to_thread(crc32c, data) if len(data) > _INLINE_BYTES else crc32c(data)
