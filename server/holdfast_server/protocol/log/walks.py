"""Reads of many entries of a log, in either direction, with damage reported in place.

Their requests to the store are retried: one that a busy store refuses must not undo the work of the others.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log import revisions
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log

_BATCH_ENTRIES = 64


async def walk_back(
    log: Log, keys: WorkflowKeys, head: Entry, down_to: int, *, start: int = MAX_REVISION
) -> AsyncIterator[tuple[Range, Entry | HoldfastError]]:
    """Yield the entries from the head or an older one down to a revision, that one excluded; damage as its error.

    Missing markers in a row come as one range, since a marker may claim that billions of revisions exist.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.

    """
    end, revision = max(down_to, head.marker.floor), min(start, head.revision)
    while revision > end:
        found = head if revision == head.revision else await log.retried_reader.read_or_damage(keys, revision)
        first = revision
        if isinstance(found, MarkerGoneError):
            first = max(end, await newest_below(log, keys, revision)) + 1
            found = MarkerGoneError(keys.marker(revision), revision, first)
        yield (first, revision), found
        revision = first - 1


async def newest_below(log: Log, keys: WorkflowKeys, revision: int) -> int:
    """Return the newest revision below another one that has a marker, found by a listing; 0 if there is none."""
    return await revisions.newest(log.retried_store, keys, revision) or 0


async def scan(
    log: Log, keys: WorkflowKeys, first: int, last: int
) -> AsyncGenerator[tuple[Range, Entry | HoldfastError]]:
    """Yield the entries of a closed range of revisions, oldest first; a damaged or missing entry as its error.

    Entries are read several at a time. Missing markers in a row come as one range. After a whole batch of missing
    markers, the remaining ones are found by a listing.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.

    """
    begin = first
    while first <= last:
        batch: Sequence[int] = range(first, min(first + _BATCH_ENTRIES, last + 1))
        found = await read_many(log, keys, batch)
        if batch[-1] < last and all(isinstance(entry, MarkerGoneError) for entry in found):
            break
        for revision, entry in zip(batch, found, strict=True):
            if isinstance(entry, MarkerGoneError):
                continue
            if begin < revision:
                yield _missing(keys, begin, revision - 1)
            yield (revision, revision), entry
            begin = revision + 1
        first = batch[-1] + 1
    listed = await revisions.between(log.retried_store, keys, first, last) if first <= last else ()
    for start in range(0, len(listed), _BATCH_ENTRIES):
        batch = listed[start : start + _BATCH_ENTRIES]
        for revision, entry in zip(batch, await read_many(log, keys, batch), strict=True):
            if begin < revision:
                yield _missing(keys, begin, revision - 1)
            yield (revision, revision), entry
            begin = revision + 1
    if begin <= last:
        yield _missing(keys, begin, last)


async def read_many(log: Log, keys: WorkflowKeys, batch: Sequence[int]) -> Sequence[Entry | HoldfastError]:
    """Return the entries of some revisions, read at once; a damaged or missing entry as its error.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.

    """
    return await asyncio.gather(*(log.retried_reader.read_or_damage(keys, revision) for revision in batch))


def _missing(keys: WorkflowKeys, first: int, last: int) -> tuple[Range, MarkerGoneError]:
    return (first, last), MarkerGoneError(keys.marker(last), last, first)
