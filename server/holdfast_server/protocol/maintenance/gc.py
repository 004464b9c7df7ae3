"""Garbage collection of one workflow, concurrent with its writers and with other collections.

Only objects that were dead a whole grace ago, by the store's own timestamps, are removed. First a marker is appended
that retires checkpoints and raises the floor and the low-water mark; every later save obeys them. Then the collection
removes:

- markers at or below the floor that the head had a grace ago;
- blobs below the low-water mark that no checkpoint named a grace ago, neither as its own nor as a base's;
- claims of earlier generations;
- objects of the index of ids that covered only markers below that floor, or that a later object contained by then;
- records of checkpoints that were dead a grace ago or were never saved.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.protocol.checkpoints import purge
from holdfast_server.protocol.checkpoints.retention import (
    Ledger,
    Retention,
    RetentionDecision,
    blob_number,
    records_number,
)
from holdfast_server.protocol.format.id_index import is_superseded
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.keys import WorkflowKeys, batch_owner, batch_stamp, blob_base, index_range
from holdfast_server.protocol.log import next_marker
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.claims import take_over
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import scan
from holdfast_server.protocol.maintenance.counts import Counts
from holdfast_server.protocol.maintenance.inventory import Inventory, take
from holdfast_server.stores.base import ObjectSummary

_Result = TypeVar("_Result")

_APPEND_SECONDS = 60.0
# More for each claim that is copied.
_CLAIM_SECONDS = 0.05
_DELETES_AT_ONCE = 64
_THREAD_VALUES = 2000
# Fewer dead claims than this are not worth a new generation.
_DEAD_CLAIMS = 100


@dataclass(slots=True)
class Collected(Counts):
    """The counts of what a collection did, or on a dry run would do.

    Of the workflows that were not collected, `damaged` ones have lost a marker, and `failed` ones have another reason.
    `files` were left by uploads that were cut off.
    """

    damaged: int = 0
    failed: int = 0
    retired: int = 0
    purged: int = 0
    markers: int = 0
    blobs: int = 0
    claims: int = 0
    indexes: int = 0
    records: int = 0
    bytes: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """The content of the next marker."""

    decision: RetentionDecision
    floor: int
    low_water_mark: int
    claim_generation: int

    def is_worth_a_marker(self, head: Entry | None) -> bool:
        before = Marker() if head is None else head.marker
        return bool(
            self.decision.retired
            # To raise the floor by one would remove one marker and add one.
            or self.floor >= before.floor + 2
            or self.low_water_mark > before.low_water_mark
            or self.claim_generation > before.claim_generation
        )


async def collect(
    log: Log,
    keys: WorkflowKeys,
    retention: Retention,
    now: float,
    *,
    inventory: Inventory | None = None,
    dry_run: bool = False,
) -> Collected:
    """Collect the dead objects of a workflow.

    Args:
        log: the log.
        keys: the workflow.
        retention: the rules for its checkpoints.
        now: the time by the store's own clock, in seconds since the epoch; it may be late.
        inventory: its objects, which may be listed some time ago; None to list them now.
        dry_run: whether to count only, and change nothing.

    Raises:
        HoldfastError: COMMIT_UNKNOWN; CHECKPOINT_CORRUPTED: a marker is damaged, so that nothing was removed.
        StoreError: the store cannot be used.

    """
    inventory = inventory or await take(log.store, keys.prefix)
    return await _Collection(log, inventory, keys, retention, now).run(dry_run=dry_run)


class _Collection:
    def __init__(self, log: Log, inventory: Inventory, keys: WorkflowKeys, retention: Retention, now: float) -> None:
        self._log = log
        self._inventory = inventory
        self._keys = keys
        self._retention = retention
        self._now = now
        self._cutoff = now - log.grace_seconds
        self._settled: Entry | None = None
        self._has_records = False
        self._ledger = Ledger(0)
        self._is_named: Callable[[int], bool] = self._ledger.naming(None)

    async def run(self, *, dry_run: bool) -> Collected:
        head = await self._find_head()
        self._settled = await self._find_settled(head)
        self._has_records = await self._find_records()
        floor = 0 if self._settled is None else self._settled.marker.floor
        self._ledger = Ledger(floor, has_records=self._has_records)
        plan = await self._plan(head)
        low_water_mark, claim_generation = plan.low_water_mark, plan.claim_generation
        if plan.is_worth_a_marker(head) and not dry_run:
            appended = (await self._append(plan)).marker
            low_water_mark, claim_generation = appended.low_water_mark, appended.claim_generation
        done = Collected(workflows=1, retired=plan.decision.retired_checkpoints)
        if not dry_run:
            done.purged = await self._finish_purges(head)
        batch: list[str] = []
        async for what, each in self._doomed(low_water_mark, claim_generation):
            setattr(done, what, getattr(done, what) + 1)
            done.bytes += each.size_bytes
            if not dry_run:
                batch.append(each.key)
            if len(batch) == _DELETES_AT_ONCE:
                await self._delete(batch)
                batch.clear()
        if batch:
            await self._delete(batch)
        return done

    async def _finish_purges(self, head: Entry | None) -> int:
        """Remove the content that broken purges have left."""
        purged = 0
        for revision in self._ledger.unfinished_purges():
            entry = head if head is not None and revision == head.revision else None
            entry = entry or await self._log.read_unbounded(self._keys, revision)
            purged += 0 if entry is None else await purge.finish(self._log, self._keys, entry)
        return purged

    async def _delete(self, keys: Sequence[str]) -> None:
        await asyncio.gather(*(self._log.store.delete(key) for key in keys))

    async def _find_head(self) -> Entry | None:
        newest = await self._inventory.newest(self._keys)
        if newest is None:
            return None
        # None: it was collected after the listing, so that a newer one exists.
        return await self._log.read_unbounded(self._keys, newest) or await self._log.head(self._keys)

    async def _find_settled(self, head: Entry | None) -> Entry | None:
        """Return the head of a grace ago, or the newest readable entry before it; None if there was none."""
        async for revision, each in self._inventory.markers(self._keys):
            if each.modified_seconds > self._cutoff:
                continue
            if head is not None and revision == head.revision:
                return head
            async for _, entry in scan(self._log, self._keys, revision, revision):
                if isinstance(entry, Entry):
                    return entry
        return None

    async def _append(self, expected: _Plan) -> Entry:
        deadline = asyncio.get_running_loop().time() + _APPEND_SECONDS + _CLAIM_SECONDS * len(expected.decision.claimed)
        request = Request(self._keys, f"gc-{unique()}")

        async def build(head: Entry | None) -> Marker:
            plan = await self._plan(head)
            decision = plan.decision
            marker = next_marker.successor(head, request, MarkerKind.MARKER_KIND_GC, b"")
            marker.low_water_mark = plan.low_water_mark
            marker.floor = plan.floor
            gone = next_marker.with_deleted(marker.deleted, decision.retired)
            del marker.deleted[:]
            marker.deleted.extend(each for each in gone if each.last > plan.floor)
            marker.last_data_revision = marker.previous_data_revision = decision.newest_kept
            if plan.claim_generation == marker.revision:
                marker.claim_generation = marker.revision
                await take_over(
                    self._log, request, decision.claimed, generation=marker.claim_generation, deadline=deadline
                )
            return marker

        return await self._log.append(self._keys, build, deadline=deadline)

    async def _plan(self, head: Entry | None) -> _Plan:
        low_water_mark = 0
        if head is not None:
            await self._ledger.read_up_to(self._log, self._keys, head)
            low_water_mark = head.marker.low_water_mark
        highest = 1 if head is None else head.revision + 1
        self._is_named = await _computed(len(self._ledger), self._ledger.naming, self._settled)
        async for _, base in self._orphans(low_water_mark):
            low_water_mark = min(base + 1, highest)
        if head is None:
            return _Plan(RetentionDecision(), 0, low_water_mark, 0)
        decision = await _computed(len(self._ledger), self._ledger.decide, head, self._retention, self._now)
        # Entries of the last grace stay: slow writers may still contend for their revisions, and retries search them.
        settled_revision = self._settled.revision if self._settled is not None else 0
        # Bases stay above it as well: their markers hold bytes, and a purge finds them by their ids.
        highest_floor = decision.oldest_needed - 1 if decision.oldest_needed else head.revision
        floor = max(head.marker.floor, min(settled_revision, highest_floor))
        begins_generation = await self._has_dead_claims(head, len(decision.claimed))
        claim_generation = head.revision + 1 if begins_generation else head.marker.claim_generation
        return _Plan(decision, floor, low_water_mark, claim_generation)

    async def _has_dead_claims(self, head: Entry, live: int) -> bool:
        claims = 0
        async for each in self._inventory.below(self._keys.claims_of(head.marker.claim_generation)):
            claims += self._keys.is_claim(each.key) and each.modified_seconds <= self._cutoff
            if claims - live >= max(_DEAD_CLAIMS, live):
                return True
        return False

    async def _doomed(self, low_water_mark: int, claim_generation: int) -> AsyncIterator[tuple[str, ObjectSummary]]:
        """Yield the objects that may be removed now, each with the name of its count."""
        if self._settled is not None and self._settled.marker.floor:
            async for _, each in self._inventory.markers(self._keys, below=self._settled.marker.floor + 1):
                yield "markers", each
        async for each, base in self._orphans(0):
            if base >= low_water_mark:
                break
            yield "blobs", each
        if claim_generation:
            async for each in self._inventory.below(self._keys.claims):
                if each.key >= self._keys.claims_of(claim_generation):
                    break
                if self._keys.is_claim(each.key):
                    yield "claims", each
        async for each in self._dead_indexes():
            yield "indexes", each
        if self._has_records:
            async for each in self._inventory.below(self._keys.records):
                if self._is_forgotten(each):
                    yield "records", each

    async def _dead_indexes(self) -> AsyncIterator[ObjectSummary]:
        """Yield the objects of the index of ids that were of no use a grace ago."""
        if self._settled is None:
            return
        settled = self._settled.marker
        async for each in self._inventory.below(self._keys.indexes):
            revisions = index_range(each.key.removeprefix(self._keys.prefix))
            if revisions is not None and (
                revisions[1] <= settled.floor or is_superseded(revisions, settled.indexed_from, settled.indexed_to)
            ):
                yield each

    async def _find_records(self) -> bool:
        async with aclosing(self._inventory.below(self._keys.records)) as found:
            return await anext(found, None) is not None

    def _is_forgotten(self, each: ObjectSummary) -> bool:
        """Return whether an object is a batch of records, older than the grace, of a checkpoint that does not exist."""
        relative = each.key.removeprefix(self._keys.prefix)
        if batch_stamp(relative) is None or each.modified_seconds > self._cutoff:
            return False
        return not self._is_named(records_number(batch_owner(relative)))

    async def _orphans(self, first_base: int) -> AsyncIterator[tuple[ObjectSummary, int]]:
        """Yield the blobs older than the grace that nothing names, with their base revisions, from one on.

        A blob is younger than the entry that its upload began from. If it seems to be older than the grace and that
        entry is not, the blob's time is damaged.
        """
        newest_base = 0 if self._settled is None else self._settled.revision
        async for each in self._inventory.below(self._keys.blobs, start_after=self._keys.blobs_from(first_base)):
            relative = each.key.removeprefix(self._keys.prefix)
            base = blob_base(relative)
            is_old = each.modified_seconds <= self._cutoff
            if base is not None and base <= newest_base and is_old and not self._is_named(blob_number(relative)):
                yield each, base


async def _computed(size: int, function: Callable[..., _Result], *arguments: object) -> _Result:
    """Return the result of a function of `size` values, computed in a thread if it would hold up other calls."""
    if size > _THREAD_VALUES:
        return await asyncio.to_thread(function, *arguments)
    return function(*arguments)
