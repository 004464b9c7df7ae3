"""The check of a whole store: every marker, the chain of markers, every part, orphans and foreign objects.

It runs concurrently with writers. A repair loses nothing that can still be read: damaged and missing markers are
recorded as deleted, so that the workflow can be saved to and collected again. A damaged head may have been a fence or a
deletion: the repair fences every writer, and checkpoints that were deleted by it may exist again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from dataclasses import dataclass

from holdfast_server.protocol.checkpoints import load, records
from holdfast_server.protocol.checkpoints.heads import OvertakenError
from holdfast_server.protocol.checkpoints.load import Depth
from holdfast_server.protocol.checkpoints.retention import Ledger, blob_number
from holdfast_server.protocol.checkpoints.workflows import owner_of
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format import id_index
from holdfast_server.protocol.format.keys import WorkflowKeys, batch_stamp, blob_base, index_range
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log import claims, fresh_ids
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import newest_below, scan
from holdfast_server.protocol.maintenance.above_head import find_above_head
from holdfast_server.protocol.maintenance.counts import Counts
from holdfast_server.protocol.maintenance.each_workflow import each_workflow
from holdfast_server.protocol.maintenance.inventory import Inventory, inventories
from holdfast_server.protocol.maintenance.repair import fence_off, mark_lost_deleted
from holdfast_server.protocol.maintenance.window import in_order
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.reads import rebuilding_bytes
from holdfast_server.stores.base import ObjectNotFoundError

_PARTS_AT_ONCE = 16
# For the bases of one workflow; several workflows are checked at a time.
_BASES_BYTES = 32 << 20
# Of checkpoints with more bytes only a few are read at a time, in all workflows together.
_LARGE_BYTES = 256 << 10
_LARGE_AT_ONCE = 4
# A log is dense: a marker that is farther beyond its end was never a part of it. A repair up to there would leave a gap
# that every collection had to read.
_LONGEST_GAP = 1000
# Dependents of a damaged base that a finding names one by one.
_LISTED_DEPENDENTS = 10
_FOREIGN = "not an object of Holdfast"


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem in a store.

    Attributes:
        key: the key of the object, or the prefix of the workflow.
        what: the problem.

    """

    key: str
    what: str


@dataclass(slots=True)
class Checked(Counts):
    """The counts of a check so far. Orphans are not findings: a collection removes them."""

    markers: int = 0
    checkpoints: int = 0
    records: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    findings: int = 0
    repaired: int = 0


async def fsck(
    log: Log,
    *,
    depth: Depth = Depth.CHECKSUM,
    repair: bool = False,
    after: str = "",
    on_finding: Callable[[Finding], None] = lambda finding: None,
    on_progress: Callable[[str, Checked], None] = lambda position, checked: None,
) -> Checked:
    """Check every workflow of a store.

    Args:
        log: the log.
        depth: whether to check only that parts exist, or also to read them and compare their digests.
        repair: whether to repair logs that have lost markers.
        after: the position after which to begin; "" for the start.
        on_finding: called with each finding at once, also with those after the position that was reached.
        on_progress: called with the position that was reached, and the sum so far.

    Raises:
        HoldfastError: COMMIT_UNKNOWN of several workflows in a row.
        StoreError: the store cannot be used.

    """
    total = Checked()

    def found(key: str, what: str) -> None:
        total.findings += 1
        on_finding(Finding(key, what))

    large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def checked_of(inventory: Inventory) -> Checked:
        check = _Check(log, inventory, depth, large, found)
        await check.run(repair=repair)
        return check.checked

    workflows = inventories(
        log.store,
        after=after,
        on_foreign=lambda key: found(key, _FOREIGN),
        on_damaged=lambda key, error: found(
            key, f"objects after it cannot be listed, up to {error.resume_at or 'the end'}: {error}"
        ),
    )
    async with aclosing(each_workflow(workflows, checked_of)) as done:
        async for position, checked in done:
            if isinstance(checked, Checked):
                total.add(checked)
            else:
                found(position, f"the check did not finish: {checked}")
                total.workflows += 1
            on_progress(position, total)
    return total


class _Check:
    def __init__(
        self,
        log: Log,
        inventory: Inventory,
        depth: Depth,
        large: asyncio.Semaphore,
        found: Callable[[str, str], None],
    ) -> None:
        self.checked = Checked()
        self._log = log
        self._inventory = inventory
        self._depth = depth
        self._large = large
        self._found = found
        self._ledger = Ledger(0)
        self._damaged: list[Range] = []
        # By part and the revision of the base: what is damaged, and the checkpoints that rest on it.
        self._damaged_bases: dict[tuple[str, int], tuple[str, list[int]]] = {}

    async def run(self, *, repair: bool) -> None:
        self.checked.workflows = 1
        keys = await owner_of(self._log, self._inventory.prefix)
        if keys is None:
            self._found(self._inventory.prefix, "no marker can be read that has its name")
            return
        self._parts = load.Check(self._log, keys, Bases(_BASES_BYTES))
        try:
            await self._check(keys, repair=repair)
        except HoldfastError as error:
            if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED):
                raise
            # An entry of a newer server must be checked and repaired by a newer server.
            self._found(error.metadata.get("key", keys.prefix), error.message)
        await self._name_foreign(keys)
        await self._check_above_head(keys)

    async def _check(self, keys: WorkflowKeys, *, repair: bool) -> None:
        newest = await self._inventory.newest(keys)
        head = None if newest is None else await self._readable_head(keys, newest)
        if head is None and newest is not None:
            self._found(keys.log, "none of its markers can be read")
            return
        if head is None or newest is None:
            await self._count_orphans(keys)
            return
        is_part_of_log = newest - head.revision <= _LONGEST_GAP
        if not is_part_of_log:
            self._found(keys.marker(newest), "it is too far beyond the log to be a part of it: remove it")
        self._ledger = Ledger(head.marker.floor)
        await self._check_log(keys, head)
        await self._count_orphans(keys)
        if self._depth is not Depth.PRESENCE:
            await self._check_small(keys)
        await self._check_index(keys, head, repair=repair)
        if repair and is_part_of_log:
            await self._repair(keys, head, newest)

    async def _readable_head(self, keys: WorkflowKeys, newest: int) -> Entry | None:
        """Return the newest entry that can be read; None if there is none. Report the damaged ones above it."""
        async for revision, each in self._inventory.markers(keys):
            try:
                head = await self._log.read_unbounded(keys, revision)
            except HoldfastError as error:
                if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                    raise
                self._found(each.key, f"{error.message}; it was the head of the log")
                continue
            if head is not None:
                return head
            if revision == newest:
                # It was collected after the listing, so that a newer one exists.
                return await self._log.head(keys)
        return None

    async def _check_log(self, keys: WorkflowKeys, head: Entry) -> None:
        async def check_parts(entry: Entry) -> None:
            await self._check_parts(keys, entry)

        entries = self._entries_with_blobs(keys, head)
        async with aclosing(in_order(entries, check_parts, at_once=_PARTS_AT_ONCE, ahead=_PARTS_AT_ONCE)) as checked:
            async for _ in checked:
                pass
        for (_, revision), (problem, dependents) in self._damaged_bases.items():
            listed = ", ".join(map(str, dependents[:_LISTED_DEPENDENTS]))
            more = len(dependents) - _LISTED_DEPENDENTS
            self._found(
                keys.marker(revision),
                f"{problem}; {len(dependents)} checkpoints rest on it, of revisions {listed}"
                + (f" and {more} more" if more > 0 else ""),
            )

    async def _entries_with_blobs(self, keys: WorkflowKeys, head: Entry) -> AsyncIterator[Entry]:
        """Check the chain and the checkpoints that lie in their markers, and yield the others."""
        before: bytes | None = None
        async for (first, revision), entry in self._entries(keys, head):
            self.checked.markers += not isinstance(entry, MarkerGoneError)
            if isinstance(entry, HoldfastError):
                self._ledger.pass_over(revision)
                before = None
                if not head.gone.all_of((first, revision)):
                    self._lost((first, revision))
                    self._found(keys.marker(revision), entry.message)
                continue
            if before is not None and entry.marker.previous_digest != before:
                self._found(keys.marker(revision), "it does not follow from the marker before it")
            before = entry.digest
            self._ledger.enter(entry)
            if entry.marker.purged_digest and not head.gone(revision):
                self._lost((revision, revision))
                self._found(keys.marker(revision), "its content was purged, but the log does not record it as deleted")
            elif entry.is_checkpoint and not head.gone(revision):
                self.checked.checkpoints += 1
                if any(part.blob or part.bases for part in entry.marker.parts):
                    yield entry
                else:
                    await self._check_parts(keys, entry)

    def _lost(self, revisions: Range) -> None:
        """Note revisions that a repair is to record as deleted."""
        first, last = revisions
        follows = bool(self._damaged) and self._damaged[-1][1] == first - 1
        self._damaged.append((self._damaged.pop()[0] if follows else first, last))

    async def _entries(self, keys: WorkflowKeys, head: Entry) -> AsyncIterator[tuple[Range, Entry | HoldfastError]]:
        async for each in scan(self._log, keys, head.marker.floor + 1, head.revision - 1):
            yield each
        yield (head.revision, head.revision), head

    async def _check_parts(self, keys: WorkflowKeys, entry: Entry) -> None:
        parts = entry.marker.parts
        is_large = sum(part.size_bytes for part in parts) + rebuilding_bytes(parts) > _LARGE_BYTES
        try:
            async with self._large if is_large else nullcontext():
                await self._parts.require(entry, self._depth)
        except HoldfastError as error:
            if isinstance(error, OvertakenError):
                await self._check_again(keys, entry)
            elif "base_revision" in error.metadata:
                base = (error.metadata["part"], int(error.metadata["base_revision"]))
                self._damaged_bases.setdefault(base, (error.message, []))[1].append(entry.revision)
            elif error.reason is Reason.CHECKPOINT_CORRUPTED:
                checkpoint, principal = entry.marker.checkpoint_id, entry.marker.principal
                writer = f", saved by {principal!r}" if principal else ""
                self._found(keys.marker(entry.revision), f"{error.message} (checkpoint {checkpoint!r}{writer})")
            elif error.reason is not Reason.CHECKPOINT_DELETED:
                raise

    async def _check_again(self, keys: WorkflowKeys, entry: Entry) -> None:
        """Check a checkpoint that a purge has stored in another way since it was read."""
        current = await self._log.read_unbounded(keys, entry.revision)
        if current is not None and list(current.marker.parts) != list(entry.marker.parts):
            await self._check_parts(keys, current)

    async def _count_orphans(self, keys: WorkflowKeys) -> None:
        """Count the blobs that no marker names."""
        is_named = self._ledger.naming(None)
        async for each in self._inventory.below(keys.blobs):
            relative = each.key.removeprefix(keys.prefix)
            if blob_base(relative) is not None and not is_named(blob_number(relative)):
                self.checked.orphans += 1
                self.checked.orphan_bytes += each.size_bytes

    async def _check_small(self, keys: WorkflowKeys) -> None:
        """Check the records and the claims. An id whose claim is damaged is searched for in the whole log."""

        async def check(key: str) -> None:
            try:
                if keys.is_claim(key):
                    await claims.check_claim(self._log, key)
                else:
                    self.checked.records += await records.check(self._log.store, keys, key)
            except HoldfastError as error:
                if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                    raise
                self._found(key, error.message)

        async def small() -> AsyncIterator[str]:
            async for each in self._inventory.below(keys.claims):
                if keys.is_claim(each.key):
                    yield each.key
            async for each in self._inventory.below(keys.records):
                if batch_stamp(each.key.removeprefix(keys.prefix)) is not None:
                    yield each.key

        async with aclosing(in_order(small(), check, at_once=_PARTS_AT_ONCE, ahead=_PARTS_AT_ONCE)) as checked:
            async for _ in checked:
                pass

    async def _check_index(self, keys: WorkflowKeys, head: Entry, *, repair: bool) -> None:
        """Check the objects of the index of ids that the head needs. Loads read the log in place of damaged ones."""
        marker = head.marker
        if not fresh_ids.has_any(head):
            return
        for revisions in id_index.cover(marker.indexed_from, marker.indexed_to, marker.floor):
            key = keys.index(*revisions)
            try:
                await fresh_ids.read_object(self._log, keys, revisions)
                continue
            except ObjectNotFoundError:
                self._found(key, "the object of the index of ids is missing")
                if await newest_below(self._log, keys, revisions[1] + 1) < revisions[0]:
                    # A damaged head may claim that billions of revisions exist.
                    return
            except HoldfastError as error:
                if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                    raise
                self._found(key, error.message)
            if repair:
                await self._log.store.replace(key, await fresh_ids.rebuilt(self._log, keys, head, revisions))
                self.checked.repaired += 1

    async def _name_foreign(self, keys: WorkflowKeys) -> None:
        """Report the foreign objects below the workflow's prefix."""
        async for each in self._inventory.below(keys.prefix):
            relative = each.key.removeprefix(keys.prefix)
            if blob_base(relative) is not None or batch_stamp(relative) is not None:
                continue
            if index_range(relative) is not None:
                continue
            if keys.revision(each.key) is None and not keys.is_claim(each.key):
                self._found(each.key, _FOREIGN)

    async def _check_above_head(self, keys: WorkflowKeys) -> None:
        above = await find_above_head(self._log, self._inventory, keys)
        if above is not None:
            self._found(
                above.key,
                f"it names revision {above.revision}, but the newest marker is of revision {above.newest} "
                f"({above.objects} such objects): newer markers were removed, or the store was set back to an older "
                "state",
            )

    async def _repair(self, keys: WorkflowKeys, head: Entry, newest: int) -> None:
        if head.revision < newest:
            self.checked.repaired += await fence_off(
                self._log, keys, self._ledger, self._damaged, head=head, newest=newest
            )
        elif self._damaged:
            await mark_lost_deleted(self._log, keys, self._ledger, self._damaged)
            self.checked.repaired += 1
