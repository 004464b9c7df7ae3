"""Writes workflows into an archive, while others use them.

Of each workflow: the markers above the floor, the blobs that live checkpoints need, claims, records and the index of
ids. The log is read from its oldest entry to the head of the moment. What is deleted meanwhile is missed by its marker;
then the export goes on up to a head that knows of the deletion, so that the archive contains a state that was there.

Damage is reported. What cannot be read is left out, so that a restored store reports it as well; a workflow whose head
cannot be read is left out whole, since an older head would undo commits in silence.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.archive.members import Workflow
from holdfast_server.protocol.archive.writer import ArchiveWriter
from holdfast_server.protocol.checkpoints.workflows import owner_of
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.keys import WorkflowKeys, batch_stamp, index_range, namespace_prefix
from holdfast_server.protocol.format.revision_set import Range
from holdfast_server.protocol.log import revisions
from holdfast_server.protocol.log.entry import Entry, decode_entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.inventory import inventories
from holdfast_server.protocol.payload.reads import is_encoded
from holdfast_server.stores.base import ObjectNotFoundError, StoreDamagedError, StoredObject
from holdfast_server.stores.listing import list_all

_READ_BYTES = 4 << 20
_MARKERS_AT_ONCE = 16

OnFinding = Callable[[str, str], None]


class _Read(NamedTuple):
    """A marker: its frame and what is in it."""

    frame: bytes
    entry: Entry


class _Needed(NamedTuple):
    """A blob that a checkpoint needs.

    Attributes:
        key: its key.
        sha256: the digest that it must have; b"" if only the rebuilt part has one.

    """

    key: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """What to export.

    Attributes:
        namespace: the namespace; "" for all.
        workflow_id: the workflow; "" for all of the namespace.

    """

    namespace: str = ""
    workflow_id: str = ""

    @property
    def prefix(self) -> str:
        """What the prefixes of the workflows begin with."""
        if self.workflow_id:
            return WorkflowKeys(self.namespace, self.workflow_id).prefix
        return namespace_prefix(self.namespace) if self.namespace else "ns/"


async def export(
    log: Log,
    scope: Scope,
    archive: ArchiveWriter,
    *,
    after: str = "",
    on_finding: OnFinding,
    on_progress: Callable[[str], None] = lambda prefix: None,
) -> None:
    """Write workflows into an archive, in the order of their keys.

    Args:
        log: the log.
        scope: what to export.
        archive: the archive. It has its first member already, and gets no end mark.
        after: the prefix of the workflow after which to continue; "" for the start.
        on_finding: called with the key of what cannot be read or is damaged, and why.
        on_progress: called with the prefix of each workflow that was written.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED: the store was used by a newer server.
        StoreError: the store cannot be used.
        OSError: the archive cannot be written.

    """

    def note(key: str, what: str) -> None:
        archive.note_finding()
        on_finding(key, what)

    def on_damaged(key: str, error: StoreDamagedError) -> None:
        note(key, f"cannot be listed: {error}")

    found = inventories(log.store, below=scope.prefix, after=after, on_damaged=on_damaged)
    async with aclosing(found) as workflows:
        async for each in workflows:
            keys = await owner_of(log, each.prefix)
            if keys is None:
                note(each.prefix, "is left out: no marker of its log can be read")
                continue
            await _Export(log, keys, archive, note).run()
            on_progress(each.prefix)


class _Export:
    """The export of one workflow."""

    def __init__(self, log: Log, keys: WorkflowKeys, archive: ArchiveWriter, on_finding: OnFinding) -> None:
        self._log = log
        self._store = log.retried_store
        self._keys = keys
        self._archive = archive
        self._on_finding = on_finding
        self._written: set[str] = set()
        # Ranges of revisions that a head must show to be gone, each with the key of what is missing.
        self._missed: dict[Range, str] = {}

    async def run(self) -> None:
        head = await self._head()
        if head is None:
            return
        first = await self._read(head.marker.floor + 1)
        digest = first.entry.digest.hex() if isinstance(first, _Read) else ""
        revision = first.entry.revision if isinstance(first, _Read) else head.marker.floor + 1
        names = self._keys.prefix, self._keys.namespace, self._keys.workflow_id
        await self._archive.begin_workflow(Workflow(*names, revision, digest, head.revision, head.digest.hex()))
        await self._write_small(head)
        done = await self._write_log(head, head.marker.floor)
        while self._missed:
            newer = await self._head()
            if newer is None or not self._explains(newer):
                break
            self._missed.clear()
            done = await self._write_log(newer, max(done, newer.marker.floor))
        for (oldest, newest), key in self._missed.items():
            self._on_finding(key, "is missing" + (f", like all down to revision {oldest}" if oldest < newest else ""))
        await self._archive.end_block(ends=True)

    async def _head(self) -> Entry | None:
        try:
            return await self._log.head(self._keys)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            self._on_finding(self._keys.prefix, f"is left out: its newest marker cannot be read: {error.message}")
            return None

    def _explains(self, head: Entry) -> bool:
        """Return whether a head shows that all that was missed is deleted."""
        return all(map(head.gone.all_of, self._missed))

    async def _write_log(self, head: Entry, after: int) -> int:
        """Write the entries above a revision up to a head, and the blobs that they need. Return the head's revision."""
        async for place, found in self._entries(after + 1, head.revision):
            revision = place[1]
            read = await self._with_blobs(head, revision, found)
            if isinstance(read, _Read):
                if read.entry.marker.purged_digest and not head.gone(revision):
                    self._missed[place] = self._keys.marker(revision)
                await self._archive.add_marker(self._keys.marker(revision), read.frame)
            elif isinstance(read, MarkerGoneError):
                self._missed[place] = self._keys.marker(revision)
            else:
                self._on_finding(self._keys.marker(revision), f"is left out: {read.message}")
        return head.revision

    async def _entries(self, first: int, last: int) -> AsyncIterator[tuple[Range, _Read | HoldfastError]]:
        """Yield the entries of a closed range of revisions, oldest first, or why one cannot be read.

        Missing markers in a row come as one range. After a whole batch of them, a listing finds the others: a marker
        may claim that billions of revisions exist.
        """
        begin = first
        async for revision, found in self._present(first, last):
            if begin < revision:
                yield (begin, revision - 1), MarkerGoneError(self._keys.marker(revision - 1), revision - 1, begin)
            yield (revision, revision), found
            begin = revision + 1
        if begin <= last:
            yield (begin, last), MarkerGoneError(self._keys.marker(last), last, begin)

    async def _present(self, first: int, last: int) -> AsyncIterator[tuple[int, _Read | HoldfastError]]:
        """Yield the entries of a closed range of revisions that have a marker, oldest first."""
        found: Sequence[_Read | HoldfastError] = ()
        while first <= last and not (found and all(isinstance(each, MarkerGoneError) for each in found)):
            batch: Sequence[int] = range(first, min(first + _MARKERS_AT_ONCE, last + 1))
            found = await self._read_all(batch)
            for revision, each in zip(batch, found, strict=True):
                if not isinstance(each, MarkerGoneError):
                    yield revision, each
            first = batch[-1] + 1
        listed = await self._list(first, last) if first <= last else ()
        for start in range(0, len(listed), _MARKERS_AT_ONCE):
            batch = listed[start : start + _MARKERS_AT_ONCE]
            for revision, each in zip(batch, await self._read_all(batch), strict=True):
                if not isinstance(each, MarkerGoneError):
                    yield revision, each

    async def _list(self, first: int, last: int) -> Sequence[int]:
        try:
            return await revisions.between(self._store, self._keys, first, last)
        except HoldfastError as error:
            self._on_finding(self._keys.log, error.message)
            return ()

    async def _read_all(self, batch: Sequence[int]) -> Sequence[_Read | HoldfastError]:
        return await asyncio.gather(*map(self._read, batch))

    async def _read(self, revision: int) -> _Read | HoldfastError:
        key = self._keys.marker(revision)
        try:
            frame = await read_whole(self._store, key)
            return _Read(frame, await decode_entry(key, frame))
        except ObjectNotFoundError:
            return MarkerGoneError(key, revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            return error

    async def _with_blobs(self, head: Entry, revision: int, found: _Read | HoldfastError) -> _Read | HoldfastError:
        """Write the blobs of an entry. Return the entry as it is when they are written."""
        while isinstance(found, _Read) and not head.gone(revision):
            missing = [each.key for each in self._needed(found.entry) if not await self._write_blob(each)]
            if not missing:
                break
            again = await self._read(revision)
            if isinstance(again, _Read) and again.frame == found.frame:
                # It is deleted, or damaged. A head that is read later shows which.
                self._missed[revision, revision] = missing[0]
                break
            # Its parts were stored in another way, since a base of theirs was purged.
            found = again
        return found

    def _needed(self, entry: Entry) -> Iterator[_Needed]:
        if entry.is_checkpoint:
            for part in entry.marker.parts:
                yield from _blobs_of(self._keys, part)

    async def _write_small(self, head: Entry) -> None:
        """Write claims, records and the index of ids, as far as the log still uses them."""
        claims = self._keys.claims_of(head.marker.claim_generation)
        async for each in list_all(self._store, self._keys.claims, start_after=claims):
            if self._keys.is_claim(each.key):
                await self._write_whole(each.key)
        async for each in list_all(self._store, self._keys.indexes):
            if index_range(each.key.removeprefix(self._keys.prefix)) is not None:
                await self._write_whole(each.key)
        async for each in list_all(self._store, self._keys.records):
            if batch_stamp(each.key.removeprefix(self._keys.prefix)) is not None:
                await self._write_whole(each.key)

    async def _write_whole(self, key: str) -> None:
        try:
            await self._archive.add(key, await read_whole(self._store, key))
        except ObjectNotFoundError:
            # It was collected since it was listed.
            return
        except HoldfastError as error:
            self._on_finding(key, f"is left out: {error.message}")

    async def _write_blob(self, blob: _Needed) -> bool:
        """Write a blob unless it is written. Return whether it is there."""
        if blob.key in self._written:
            return True
        try:
            first = await self._store.get(blob.key, length=_READ_BYTES)
        except ObjectNotFoundError:
            return False
        except StoreDamagedError as error:
            self._on_finding(blob.key, f"is left out: {error}")
            self._written.add(blob.key)
            return True
        async with (
            self._archive.object_of(blob.key, first.size_bytes) as written,
            aclosing(self._pieces(blob.key, first)) as pieces,
        ):
            async for piece in pieces:
                await written.write(piece)
        if blob.sha256 and written.digest != blob.sha256:
            self._on_finding(blob.key, "does not match its digest")
        self._written.add(blob.key)
        return True

    async def _pieces(self, key: str, first: StoredObject) -> AsyncGenerator[bytes]:
        """Yield the bytes of a blob. Those that cannot be read are zeros, so that a load reports it as damaged."""
        yield first.data
        position = len(first.data)
        while position < first.size_bytes:
            length = min(_READ_BYTES, first.size_bytes - position)
            try:
                data = (await self._store.get(key, offset=position, length=length)).data
            except (ObjectNotFoundError, StoreDamagedError) as error:
                self._on_finding(key, f"cannot be read from byte {position} on: {error}")
                data = bytes(length)
            data = data.ljust(length, b"\0")
            yield data
            position += length


def _blobs_of(keys: WorkflowKeys, part: StoredPart) -> Iterator[_Needed]:
    for base in part.bases:
        if base.blob:
            yield _Needed(keys.blob(base.blob), b"")
    if part.blob:
        yield _Needed(keys.blob(part.blob), b"" if is_encoded(part) else part.sha256)
