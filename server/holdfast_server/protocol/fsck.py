"""Checking a whole store: every marker, its chain, every part, and what lies there that nothing names.

It reads beside writers. Of what it finds, a repair mends what can be mended without losing anything that could still be
read: markers that are damaged or gone are told as deleted, so that the workflow can be saved to and collected again.
A damaged head may have been a fence or a deletion: the repair fences every writer, and what was deleted may be back.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from holdfast_server.protocol import entries, load, slots
from holdfast_server.protocol import marker as marker_codec
from holdfast_server.protocol.bounded_read import read_whole
from holdfast_server.protocol.claim import put_claim
from holdfast_server.protocol.entries import Request
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import WorkflowKeys, blob_base
from holdfast_server.protocol.load import Depth
from holdfast_server.protocol.log import Entry, Log, digest_of
from holdfast_server.protocol.put_if_absent import put_if_absent
from holdfast_server.protocol.retention import Ledger, blob_number
from holdfast_server.protocol.sweep import ALL, known_workflow
from holdfast_server.protocol.workflows import newest_readable, prefixes
from holdfast_server.storage.v1.marker_pb2 import Marker, MarkerKind
from holdfast_server.stores.base import ObjectSummary

_APPEND_SECONDS = 60.0
# A log is dense: what lies farther beyond its end was never a part of it, and a repair that reached so far would
# leave a gap that every collection had to read.
_LONGEST_GAP = 1000
_FOREIGN = "is no object of Holdfast's"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        key: the object, or the workflow's prefix.
        what: what is wrong with it.

    """

    key: str
    what: str


@dataclass(slots=True)
class Checked:
    """What a check has seen so far. Orphans are no fault: the garbage collection takes them."""

    workflows: int = 0
    markers: int = 0
    checkpoints: int = 0
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
        depth: whether parts are looked for, or read and compared with their digests.
        repair: whether to mend what can be mended.
        after: the position behind which to begin, "" for the start.
        on_finding: told each finding.
        on_progress: told the position reached, and the sum so far.

    Raises:
        HoldfastError: COMMIT_UNKNOWN, LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    checked = Checked()

    def found(key: str, what: str) -> None:
        checked.findings += 1
        on_finding(Finding(key, what))

    async for prefix in prefixes(log.store, ALL, after=after, on_foreign=lambda key: found(key, _FOREIGN)):
        checked.workflows += 1
        keys = await _workflow(log, prefix)
        if keys is None:
            found(prefix, "no marker tells whose it is")
        else:
            await _Check(log, keys, checked, found).run(depth, repair=repair)
        on_progress(prefix, checked)
    return checked


async def _workflow(log: Log, prefix: str) -> WorkflowKeys | None:
    """Whose prefix it is, by any marker that can be read."""
    try:
        return await known_workflow(log, prefix)
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
    readable = await newest_readable(log, prefix)
    return None if readable is None else WorkflowKeys(readable.marker.namespace, readable.marker.workflow_id)


class _Check:
    def __init__(self, log: Log, keys: WorkflowKeys, checked: Checked, found: Callable[[str, str], None]) -> None:
        self._log = log
        self._keys = keys
        self._checked = checked
        self._found = found
        self._ledger = Ledger(0)
        self._damaged: list[int] = []

    async def run(self, depth: Depth, *, repair: bool) -> None:
        newest = await self._log.newest(self._keys)
        if newest is None:
            return await self._look_around()
        head = await self._readable_head(newest)
        if head is None:
            return self._found(self._keys.log, "none of its markers can be read")
        is_part_of_log = newest - head.revision <= _LONGEST_GAP
        if not is_part_of_log:
            self._found(self._keys.marker(newest), "it lies too far beyond the log to be a part of it: remove it")
        self._ledger = Ledger(head.marker.floor)
        await self._check_chain(head)
        for revision in await asyncio.to_thread(lambda: list(self._ledger.live(head))):
            await self._check_parts(head, revision, depth)
        await self._look_around()
        if repair and is_part_of_log and (self._damaged or head.revision < newest):
            await self._repair(head, newest)
        return None

    async def _readable_head(self, newest: int) -> Entry | None:
        revision: int | None = newest
        while revision is not None:
            try:
                head = await self._log.read_unbounded(self._keys, revision)
            except HoldfastError as error:
                if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                    raise
                self._found(self._keys.marker(revision), f"{error.message}; it was the head of the log")
            else:
                if head is not None:
                    return head
            revision = await slots.newest(self._log.store, self._keys, below=revision)
        return None

    async def _check_chain(self, head: Entry) -> None:
        is_gone = entries.gone(head)
        before: bytes | None = None
        async for revision, entry in self._log.scan(self._keys, head.marker.floor + 1, head.revision):
            self._checked.markers += 1
            if isinstance(entry, HoldfastError):
                self._ledger.enter(None)
                before = None
                if not is_gone(revision):
                    self._damaged.append(revision)
                    self._found(self._keys.marker(revision), entry.message)
                continue
            if before is not None and entry.marker.previous_digest != before:
                self._found(self._keys.marker(revision), "it does not follow from the marker before it")
            before = entry.digest
            self._ledger.enter(entry)

    async def _check_parts(self, head: Entry, revision: int, depth: Depth) -> None:
        self._checked.checkpoints += 1
        entry = await self._log.read(self._keys, revision, head)
        if entry is None:
            return
        try:
            await load.check(self._log, self._keys, entry, depth)
        except HoldfastError as error:
            if error.reason is Reason.CHECKPOINT_CORRUPTED:
                self._found(self._keys.marker(revision), f"{error.message} (checkpoint {entry.marker.checkpoint_id!r})")
            elif error.reason is not Reason.CHECKPOINT_DELETED:
                raise

    async def _look_around(self) -> None:
        """Count the blobs that nothing names, and name what lies in the workflow's place and is not Holdfast's."""
        named = self._ledger.blobs_named(None)
        async for each in self._objects():
            relative = each.key.removeprefix(self._keys.prefix)
            if blob_base(relative) is not None:
                is_orphan = blob_number(relative) not in named
                self._checked.orphans += is_orphan
                self._checked.orphan_bytes += each.size_bytes if is_orphan else 0
            elif self._keys.revision(each.key) is None and not self._keys.is_claim(each.key):
                self._found(each.key, _FOREIGN)

    async def _objects(self) -> AsyncIterator[ObjectSummary]:
        position = ""
        while page := await self._log.store.list(self._keys.prefix, start_after=position):
            for each in page:
                yield each
            position = page[-1].key

    async def _repair(self, head: Entry, newest: int) -> None:
        request = Request(self._keys, f"fsck-{uuid.uuid4().hex}")
        deadline = asyncio.get_running_loop().time() + _APPEND_SECONDS

        def mended(head: Entry, lost: set[int]) -> Marker:
            kind = MarkerKind.MARKER_KIND_FENCE if newest > head.revision else MarkerKind.MARKER_KIND_DELETED
            marker = entries.successor(head, request, kind, b"")
            ranges = entries.with_deleted(marker.deleted, *lost)
            del marker.deleted[:]
            marker.deleted.extend(ranges)
            if head.marker.last_data_revision in lost:
                marker.last_data_revision = next((each for each in self._ledger.live(head) if each not in lost), 0)
                marker.previous_data_revision = marker.last_data_revision
            return marker

        if newest == head.revision:

            async def build(now: Entry | None) -> Marker:
                assert now is not None
                return entries.remember(mended(now, set(self._damaged)), now)

            await self._log.append(self._keys, build, deadline=deadline)
        else:
            marker = mended(head, {*self._damaged, *range(head.revision + 1, newest + 1)})
            lost = newest - head.revision
            marker.revision = newest + 1
            # What the lost slots may have said: a fence each, uploads collected, a new generation of claims.
            marker.epoch += lost
            marker.low_water_mark = newest + 1
            marker.claim_generation = marker.revision
            marker.previous_digest = await self._digest(newest)
            for revision in self._ledger.live(head):
                if revision in self._ledger.chosen_ids:
                    await put_claim(
                        self._log,
                        request,
                        self._ledger.chosen_ids[revision],
                        generation=marker.claim_generation,
                        base_revision=revision - 1,
                        deadline=deadline,
                    )
            frame = marker_codec.encode(entries.remember(marker, head))
            key = self._keys.marker(marker.revision)
            await put_if_absent(self._log.store, key, frame, is_mine=lambda data: data == frame, deadline=deadline)
        self._log.forget(self._keys)
        self._checked.repaired += 1

    async def _digest(self, damaged: int) -> bytes:
        """Of a marker that is damaged; empty where it is larger than any marker."""
        try:
            return digest_of(await read_whole(self._log.store, self._keys.marker(damaged)))
        except HoldfastError:
            return b""
