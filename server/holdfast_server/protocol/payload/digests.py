"""Digests and checksums of parts: of a part as a whole, and of each block, so that a range can be checked too.

They are computed in a thread if that takes longer than starting the thread's work.
"""

import asyncio
import hashlib
from array import array
from collections.abc import Sequence

from crc32c import crc32c

# A blob is also read in steps of this size.
BLOCK_BYTES = 4 << 20
# Below this size, computing a digest takes less time than handing it to a thread.
_INLINE_BYTES = 64 << 10


class Digests:
    """The running SHA-256 and CRC-32C of a part, and the CRC-32C of each of its blocks."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._blocks = array("I")
        self.crc32c = 0
        self.size_bytes = 0

    async def update(self, data: bytes) -> None:
        """Append bytes to the part."""
        if len(data) > _INLINE_BYTES:
            await asyncio.to_thread(self._update, data)
        else:
            self._update(data)

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of the bytes so far."""
        return self._sha256.digest()

    @property
    def block_crc32c(self) -> Sequence[int]:
        """The CRC-32C of each block so far; the last block may be incomplete."""
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
    """Return the CRC-32C of bytes."""
    return await asyncio.to_thread(crc32c, data) if len(data) > _INLINE_BYTES else crc32c(data)
