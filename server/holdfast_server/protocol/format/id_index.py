"""The objects of the index of checkpoint ids: which revisions each one covers, and how it holds their ids.

The index of a log covers the revisions from a start on, in blocks. Its object number N is written once the N-th block
is full, and covers the last blocks, as many as the lowest set bit of N says: 1, 2, 1, 4, 1, 2, 1, 8, … It contains the
objects before it in that range, which are superseded. A complete index of N blocks thus has as many objects as N has
set bits, and no object ever changes.
"""

from collections.abc import Iterator
from hashlib import sha256

from holdfast_server.protocol.format.revision_set import Range

# Revisions.
BLOCK = 64
# Blocks of the largest objects, so that none has more than 256 KiB.
MOST_BLOCKS = 1024
# If so many revisions are not indexed, ids are claimed until the index has caught up.
MOST_UNINDEXED = 4 * BLOCK
DIGEST_BYTES = 4

NO_CHECKPOINT = bytes(DIGEST_BYTES)
# The marker was not readable when the index was written: it may have any id.
UNKNOWN = b"\xff" * DIGEST_BYTES


def digest_of(checkpoint_id: str) -> bytes:
    """Return the digest of a checkpoint's id."""
    digest = sha256(checkpoint_id.encode()).digest()[:DIGEST_BYTES]
    return UNKNOWN if digest == NO_CHECKPOINT else digest


def covered(start: int, number: int) -> Range:
    """Return the revisions that an object covers.

    Args:
        start: the revision after which the index begins.
        number: the number of the object, from 1 on.

    """
    return start + BLOCK * (number - _blocks(number)) + 1, start + BLOCK * number


def cover(start: int, end: int, floor: int = 0) -> Iterator[Range]:
    """Yield the ranges of the objects that make up the index up to its end, newest first.

    Args:
        start: the revision after which the index begins.
        end: the last revision of the index.
        floor: the revision at or below which nothing is needed.

    """
    number = (end - start) // BLOCK
    while number > 0 and start + BLOCK * number > floor:
        yield covered(start, number)
        number -= _blocks(number)


def is_end(start: int, end: int) -> bool:
    """Return whether an index that begins after a revision can end at another one."""
    return end >= start and (end - start) % BLOCK == 0


def is_superseded(revisions: Range, start: int, end: int) -> bool:
    """Return whether an object is contained in a later one of the index from `start` to `end`."""
    number, rest = divmod(revisions[1] - start, BLOCK)
    if rest or number < 1 or covered(start, number) != revisions or _blocks(number) == MOST_BLOCKS:
        return False
    return start + BLOCK * (number + _blocks(number)) <= end


def places(digests: bytes, digest: bytes) -> Iterator[int]:
    """Yield the places at which a checkpoint with a digest may be, counted from 0, newest first."""
    wanted = tuple(_places(digests, digest))
    unknown = _places(digests, UNKNOWN) if digest != UNKNOWN else ()
    yield from sorted((*wanted, *unknown), reverse=True)


def _places(digests: bytes, digest: bytes) -> Iterator[int]:
    end = len(digests)
    while (position := digests.rfind(digest, 0, end)) >= 0:
        if position % DIGEST_BYTES == 0:
            yield position // DIGEST_BYTES
        end = position + DIGEST_BYTES - 1


def _blocks(number: int) -> int:
    return min(number & -number, MOST_BLOCKS)
