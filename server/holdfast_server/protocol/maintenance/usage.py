"""What a workflow takes in the store. Quotas, copies and GetUsage all measure it here.

`stored_bytes` sums up a listing. `measure` also reads the entries of the log that are not deleted, since nothing else
says which of them are checkpoints and how large these are. It goes through the objects in key order and keeps no more
than sums, so that a measurement can stop after any object and be continued there by another process.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from holdfast_server.protocol.checkpoints.workflows import newest_readable
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.keys import AFTER_ALL, WorkflowKeys, revision_of, workflow_of
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.inventory import Inventory
from holdfast_server.stores.base import ObjectSummary, StoreDamagedError

# Markers that are read at once. A marker contains the parts that are inline, so their bytes are limited as well.
_BATCH_MARKERS = 64
_BATCH_BYTES = 1 << 20


@dataclass(slots=True)
class Usage:
    """What a workflow takes in the store, as far as it is measured.

    Attributes:
        head_revision: the newest revision that has a marker; 0 if there is none.
        objects: all objects, live and dead.
        stored_bytes: their bytes.
        blob_bytes: of these, those of blobs.
        index_bytes: of these, those of claims and of indexes of ids.
        record_bytes: of these, those of batches of records.
        live_marker_bytes: of these, those of the markers of entries that are not deleted.
        checkpoints: live checkpoints.
        size_bytes: their payloads, as callers see them.
        live_blob_bytes: the blobs that are parts of live checkpoints, according to the markers.
        damaged_markers: revisions that may be checkpoints and whose markers are missing or cannot be read.

    """

    head_revision: int = 0
    objects: int = 0
    stored_bytes: int = 0
    blob_bytes: int = 0
    index_bytes: int = 0
    record_bytes: int = 0
    live_marker_bytes: int = 0
    checkpoints: int = 0
    size_bytes: int = 0
    live_blob_bytes: int = 0
    damaged_markers: int = 0

    @property
    def live_bytes(self) -> int:
        """The bytes of live entries and of the parts of live checkpoints. A part that is missing takes none."""
        return self.live_marker_bytes + min(self.live_blob_bytes, self.blob_bytes)

    @property
    def deleted_bytes(self) -> int:
        """The bytes of deleted checkpoints, bases that only remain as bytes, old entries and orphans."""
        return self.stored_bytes - self.live_bytes - self.index_bytes - self.record_bytes


class Limits:
    """How far one measurement may go.

    Args:
        objects: the objects that it may list. It may exceed this by one listing.
        markers: the markers that it may read. It may exceed this by one batch.
        end_seconds: when it stops, by the monotonic clock. It measures a batch at least.

    """

    def __init__(self, objects: int, markers: int, end_seconds: float) -> None:
        self.objects = objects
        self.markers = markers
        self._end_seconds = end_seconds

    @property
    def is_reached(self) -> bool:
        """Whether the measurement has to stop."""
        return self.objects <= 0 or self.markers <= 0 or self.is_late

    @property
    def is_late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end_seconds


def _pass_over() -> None:
    """Ignore a listing that met damage."""


async def stored_bytes(inventory: Inventory) -> int:
    """Return the bytes of all objects of a workflow, live and dead, without those that damage hides.

    Raises:
        StoreError: the store cannot be used.

    """
    total = 0
    async with aclosing(_objects(inventory, "", _pass_over)) as objects:
        async for each in objects:
            total += each.size_bytes
    return total


async def measure(
    log: Log,
    inventory: Inventory,
    *,
    usage: Usage | None = None,
    start_after: str = "",
    limits: Limits | None = None,
    reads_markers: bool = True,
    on_damaged: Callable[[], None] = _pass_over,
) -> "Measured":
    """Measure a workflow, or continue a measurement. Damage lowers the figures.

    Args:
        log: the log.
        inventory: the objects of the workflow.
        usage: what was measured before; None if nothing was.
        start_after: the key of the last object that was measured before.
        limits: how far to go; None for the end.
        reads_markers: whether to count checkpoints. If not, their figures and those of live entries stay 0.
        on_damaged: called for each listing that met damage; the objects there are not measured.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED, only of an object that is not a marker of the workflow.
        StoreError: the store cannot be used.

    """
    head = await newest_readable(log, inventory.prefix) if reads_markers or not workflow_of(inventory.prefix) else None
    keys = workflow_of(inventory.prefix) or (None if head is None else head.keys)
    found = Usage() if usage is None else usage
    entries = _Entries(log, keys, head, found, limits=limits, start_after=start_after) if reads_markers else None
    log_prefix = f"{inventory.prefix}log/"
    position = start_after
    async with aclosing(_objects(inventory, start_after, on_damaged)) as objects:
        async for each in objects:
            relative = each.key.removeprefix(inventory.prefix)
            revision = revision_of(each.key.removeprefix(log_prefix)) if each.key.startswith(log_prefix) else None
            _add(found, relative, each.size_bytes)
            position = each.key
            if revision is not None:
                found.head_revision = max(found.head_revision, revision)
                if entries is not None:
                    await entries.add(revision, each.size_bytes)
            if limits is not None:
                limits.objects -= 1
                if limits.is_reached:
                    if entries is not None:
                        await entries.flush()
                    return Measured(keys, found, position)
    if entries is not None:
        await entries.finish()
    return Measured(keys, found, "")


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a measurement.

    Attributes:
        keys: the workflow; None if its name is not known.
        usage: what it takes.
        position: the key of the last object that was measured; "" if all were.

    """

    keys: WorkflowKeys | None
    usage: Usage
    position: str


def _add(usage: Usage, relative: str, size_bytes: int) -> None:
    usage.objects += 1
    usage.stored_bytes += size_bytes
    if relative.startswith("blob/"):
        usage.blob_bytes += size_bytes
    elif relative.startswith(("id/", "idx/")):
        usage.index_bytes += size_bytes
    elif relative.startswith("rec/"):
        usage.record_bytes += size_bytes


async def _objects(
    inventory: Inventory, start_after: str, on_damaged: Callable[[], None]
) -> AsyncGenerator[ObjectSummary]:
    """Yield the objects after a key. Objects that the store cannot list are left out."""
    while True:
        try:
            async with aclosing(inventory.below(inventory.prefix, start_after=start_after)) as found:
                async for each in found:
                    start_after = each.key
                    yield each
        except StoreDamagedError as error:
            on_damaged()
            for each in error.listed:
                yield each
            resume_at = error.resume_at or ""
            if not resume_at.startswith(inventory.prefix) or resume_at <= start_after:
                return
            # The object at that key is left out too: its size is not known.
            start_after = resume_at
        else:
            return


class _Entries:
    """The entries of a log that are not deleted, read in batches as the listing finds them, newest first.

    Args:
        log: the log.
        keys: the workflow; None if its name is not known, since no marker can be read.
        head: the newest entry that can be read; None if there is none.
        usage: what takes the figures.
        limits: what counts the reads.
        start_after: the key of the last object that was measured before.

    """

    def __init__(
        self,
        log: Log,
        keys: WorkflowKeys | None,
        head: Entry | None,
        usage: Usage,
        *,
        limits: Limits | None,
        start_after: str,
    ) -> None:
        self._log = log
        self._keys = keys
        self._head = head
        self._usage = usage
        self._limits = limits
        # Whether the head was read after the listing.
        self._is_head_new = False
        self._batch: list[int] = []
        self._batch_bytes = 0
        # The revision before which the next one is expected; None if nothing is known.
        self._last = None if keys is None else keys.revision(start_after)
        # A measurement that continues after the log has judged its end before.
        self._is_past = keys is not None and start_after > f"{keys.log}{AFTER_ALL}"

    async def add(self, revision: int, size_bytes: int) -> None:
        """Add a marker of the listing."""
        if self._last is not None:
            await self._note_gap(revision + 1, self._last - 1)
        self._last = revision
        if self._head is not None and self._head.gone(revision):
            return
        self._usage.live_marker_bytes += size_bytes
        if self._batch and self._batch_bytes + size_bytes > _BATCH_BYTES:
            await self.flush()
        self._batch.append(revision)
        self._batch_bytes += size_bytes
        if len(self._batch) == _BATCH_MARKERS:
            await self.flush()

    async def flush(self) -> None:
        """Read the markers that were added."""
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if self._limits is not None:
            self._limits.markers -= len(batch)
        for entry in await asyncio.gather(*map(self._read, batch)):
            if entry is None:
                self._usage.damaged_markers += 1
            elif isinstance(entry, Entry) and entry.is_checkpoint:
                self._usage.checkpoints += 1
                for part in entry.marker.parts:
                    self._usage.size_bytes += part.size_bytes
                    self._usage.live_blob_bytes += (part.stored_bytes or part.size_bytes) if part.blob else 0

    async def finish(self) -> None:
        """Read the last markers, and count those that are missing at the old end of the log."""
        await self.flush()
        if not self._is_past and self._last is not None:
            await self._note_gap(1, self._last - 1)

    async def _note_gap(self, first: int, last: int) -> None:
        """Count the revisions of a range without markers that are not deleted."""
        if self._keys is None or self._head is None or not first <= last <= self._head.revision:
            return
        left = self._head.gone.count_left(first, last)
        if left and not self._is_head_new:
            # A collection may have removed them since the head was read, if the grace is short.
            self._head = await newest_readable(self._log, self._keys.prefix) or self._head
            self._is_head_new = True
            left = self._head.gone.count_left(first, last)
        self._usage.damaged_markers += left

    async def _read(self, revision: int) -> Entry | MarkerGoneError | None:
        """Return an entry, the error if it was collected since the listing, or None if it cannot be read."""
        if self._keys is None or self._head is None:
            # Otherwise it would be the head.
            return None
        if revision == self._head.revision:
            return self._head
        try:
            found = await self._log.retried_reader.read_or_damage(self._keys, revision)
        except HoldfastError as error:
            if error.reason is not Reason.LAYOUT_UNSUPPORTED:
                raise
            return None
        return found if isinstance(found, Entry | MarkerGoneError) else None
