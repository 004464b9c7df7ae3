"""Garbage collection of one workflow, beside its writers and other collections.

Nothing is removed that was not dead a whole grace ago, by the store's own timestamps. First a marker is appended that
retires checkpoints, raises the floor and the low-water mark; every save that commits behind it obeys them. Only then
objects go: markers at or below the floor that the head had a grace ago, blobs below the low-water mark that no
checkpoint names which existed then, and claims of earlier generations.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields

from holdfast_server.protocol import entries, slots
from holdfast_server.protocol.claim import put_claim
from holdfast_server.protocol.entries import Request
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.keys import WorkflowKeys, blob_base
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.retention import Ledger, Retention, blob_number
from holdfast_server.storage.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.stores.base import ObjectSummary

_APPEND_SECONDS = 60.0
_DELETES_AT_ONCE = 16
# Fewer dead claims than this are not worth a new generation.
_DEAD_CLAIMS = 100


@dataclass(slots=True)
class Collected:
    """What a collection did, or on a dry run would do."""

    workflows: int = 0
    damaged: int = 0
    retired: int = 0
    markers: int = 0
    blobs: int = 0
    claims: int = 0
    bytes: int = 0

    def add(self, other: "Collected") -> None:
        """Count in another one."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the next marker would say."""

    retired: list[int]
    kept: list[int]
    floor: int
    low_water_mark: int
    begins_generation: bool

    def is_worth_a_marker(self, head: Entry | None) -> bool:
        floor, low_water_mark = (0, 0) if head is None else (head.marker.floor, head.marker.low_water_mark)
        # Raising the floor by one would trade one marker for another.
        return bool(
            self.retired or self.floor >= floor + 2 or self.low_water_mark > low_water_mark or self.begins_generation
        )


async def collect(
    log: Log, keys: WorkflowKeys, retention: Retention, now: float, *, dry_run: bool = False
) -> Collected:
    """Collect what is dead in a workflow.

    Args:
        log: the log.
        keys: the workflow.
        retention: which checkpoints may go.
        now: the time by the store's own clock, in seconds since the epoch; it may lag behind.
        dry_run: only tell what would be done.

    Raises:
        HoldfastError: COMMIT_UNKNOWN; CHECKPOINT_CORRUPTED: a marker is damaged, so nothing was removed.
        StoreError: the store cannot be used.

    """
    collection = _Collection(log, keys, retention, now)
    return await collection.run(dry_run=dry_run)


class _Collection:
    def __init__(self, log: Log, keys: WorkflowKeys, retention: Retention, now: float) -> None:
        self._log = log
        self._keys = keys
        self._retention = retention
        self._now = now
        self._cutoff = now - log.grace_seconds
        self._settled: Entry | None = None
        self._ledger = Ledger(0)
        self._request = Request(keys, f"gc-{uuid.uuid4().hex}")

    async def run(self, *, dry_run: bool) -> Collected:
        self._settled = await self._log.settled(self._keys, self._cutoff)
        if self._settled is not None:
            self._ledger = Ledger(self._settled.marker.floor)
        head = await self._log.head(self._keys)
        plan = await self._plan(head)
        if plan.is_worth_a_marker(head) and not dry_run:
            head = await self._append()
        done = Collected(workflows=1, retired=len(plan.retired))
        doomed = self._doomed(head, plan.low_water_mark if head is None else head.marker.low_water_mark)
        batch: list[str] = []
        async for what, each in doomed:
            setattr(done, what, getattr(done, what) + 1)
            done.bytes += each.size_bytes
            batch.append(each.key)
            if len(batch) == _DELETES_AT_ONCE:
                await self._delete([] if dry_run else batch)
                batch.clear()
        await self._delete([] if dry_run else batch)
        return done

    async def _delete(self, keys: Sequence[str]) -> None:
        await asyncio.gather(*(self._log.store.delete(key) for key in keys))

    async def _append(self) -> Entry:
        async def build(head: Entry | None) -> Marker:
            plan = await self._plan(head)
            marker = entries.successor(head, self._request, MarkerKind.MARKER_KIND_GC, b"")
            marker.low_water_mark = plan.low_water_mark
            marker.floor = plan.floor
            gone = entries.with_deleted(marker.deleted, *plan.retired)
            del marker.deleted[:]
            marker.deleted.extend(each for each in gone if each.last > plan.floor)
            marker.last_data_revision = plan.kept[0] if plan.kept else 0
            marker.previous_data_revision = marker.last_data_revision
            if plan.begins_generation:
                marker.claim_generation = marker.revision
                await self._take_over_claims(plan, marker.claim_generation)
            return entries.remember(marker, head)

        deadline = asyncio.get_running_loop().time() + _APPEND_SECONDS
        return await self._log.append(self._keys, build, deadline=deadline)

    async def _plan(self, head: Entry | None) -> _Plan:
        low_water_mark = 0
        if head is not None:
            await self._read_up_to(head)
            low_water_mark = head.marker.low_water_mark
        highest = 1 if head is None else head.revision + 1
        named = await asyncio.to_thread(self._ledger.blobs_named, self._settled)
        async for _, base in self._orphans(named, low_water_mark):
            low_water_mark = min(base + 1, highest)
        if head is None:
            return _Plan([], [], 0, low_water_mark, begins_generation=False)
        retired, kept = await asyncio.to_thread(self._decide, head)
        # Slots of less than a grace ago stay: stale writers may aim at them, and retries look for what they did.
        settled_revision = self._settled.revision if self._settled is not None else 0
        floor = max(head.marker.floor, min(settled_revision, kept[-1] - 1 if kept else head.revision))
        begins_generation = await self._has_dead_claims(head, kept)
        return _Plan(retired, kept, floor, low_water_mark, begins_generation=begins_generation)

    def _decide(self, head: Entry) -> tuple[list[int], list[int]]:
        retired = self._ledger.retired(head, self._retention, self._now)
        going = set(retired)
        return retired, [revision for revision in self._ledger.live(head) if revision not in going]

    async def _read_up_to(self, head: Entry) -> None:
        is_gone = entries.gone(head)
        async for revision, entry in self._log.scan(self._keys, self._ledger.last + 1, head.revision):
            if isinstance(entry, HoldfastError) and not is_gone(revision) and not await self._was_collected(revision):
                raise entry
            self._ledger.enter(None if isinstance(entry, HoldfastError) else entry)

    async def _was_collected(self, revision: int) -> bool:
        """Whether another collection has overtaken this one, which must have stood still for a grace."""
        head = await self._log.head(self._keys)
        return head is not None and revision <= head.marker.floor

    async def _has_dead_claims(self, head: Entry, kept: Sequence[int]) -> bool:
        living = sum(1 for revision in kept if revision in self._ledger.chosen_ids)
        claims = 0
        async for each in self._listed(self._keys.claims_of(head.marker.claim_generation)):
            claims += self._keys.is_claim(each.key) and each.modified_seconds <= self._cutoff
            if claims - living >= max(_DEAD_CLAIMS, living):
                return True
        return False

    async def _take_over_claims(self, plan: _Plan, generation: int) -> None:
        for revision in plan.kept:
            if revision in self._ledger.chosen_ids:
                await put_claim(
                    self._log,
                    self._request,
                    self._ledger.chosen_ids[revision],
                    generation=generation,
                    base_revision=revision - 1,
                    deadline=asyncio.get_running_loop().time() + _APPEND_SECONDS,
                )

    async def _doomed(self, head: Entry | None, low_water_mark: int) -> AsyncIterator[tuple[str, ObjectSummary]]:
        """What may be removed now, and as what it counts."""
        if self._settled is not None and self._settled.marker.floor:
            behind = self._keys.marker(self._settled.marker.floor + 1)
            async for each, _ in slots.listed(self._log.store, self._keys.log, behind):
                yield "markers", each
        named = await asyncio.to_thread(self._ledger.blobs_named, self._settled)
        async for each, base in self._orphans(named, 0):
            if base >= low_water_mark:
                break
            yield "blobs", each
        if head is not None:
            async for each in self._listed(self._keys.claims):
                if each.key >= self._keys.claims_of(head.marker.claim_generation):
                    break
                if self._keys.is_claim(each.key):
                    yield "claims", each

    async def _orphans(self, named: set[int], first_base: int) -> AsyncIterator[tuple[ObjectSummary, int]]:
        """Blobs older than the grace that nothing names, with their base revisions, from one on."""
        async for each in self._listed(self._keys.blobs, self._keys.blobs_from(first_base)):
            relative = each.key.removeprefix(self._keys.prefix)
            base = blob_base(relative)
            if base is not None and each.modified_seconds <= self._cutoff and blob_number(relative) not in named:
                yield each, base

    async def _listed(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectSummary]:
        while page := await self._log.store.list(prefix, start_after=start_after):
            for each in page:
                yield each
            start_after = page[-1].key
