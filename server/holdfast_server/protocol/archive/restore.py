"""Puts the workflows of an archive into a store that has them not, or not all of them.

Nothing that the store has is changed: an object is created if it is absent, and otherwise compared. So a restore that
was cut off is run again, and continues. The order is that of a save: first what a marker needs, then the marker, the
oldest first. Until the last marker is there the workflow is as it was earlier, but without the bytes of what was
deleted later.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from holdfast_server.protocol.archive.members import Block, End, Header, Workflow
from holdfast_server.protocol.archive.reader import ArchivedMarker, ArchivedObject, Item
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.keys import WorkflowKeys, index_range
from holdfast_server.protocol.log.entry import Entry, decode_entry
from holdfast_server.protocol.log.log import Log, now
from holdfast_server.protocol.log.put_if_absent import put_if_absent
from holdfast_server.stores.base import ObjectNotFoundError

# Smaller objects are put if absent, with one request.
_SMALL_BYTES = 256 << 10
_COMPARED_BYTES = 1 << 20
# How long the store may leave open whether it has created an object.
_PUT_SECONDS = 60.0


@dataclass(slots=True)
class Restored:
    """What a restore did.

    Attributes:
        workflows: how many workflows the archive contains.
        unchanged: those that the store had already, as far as the archive goes or further.
        refused: those that are in the store with another history.
        objects: how many objects were created.
        bytes: their size in bytes.
        findings: how much damage was found in the store that the archive was made from.

    """

    workflows: int = 0
    unchanged: int = 0
    refused: int = 0
    objects: int = 0
    bytes: int = 0
    findings: int = 0


class _OtherHistoryError(Exception):
    """The store has a workflow of the same name that is not the one of the archive. The message says where."""


async def restore(
    log: Log,
    header: Header,
    items: AsyncIterator[Item],
    done: Restored,
    *,
    on_refused: Callable[[str, str], None],
    on_progress: Callable[[str], None] = lambda prefix: None,
) -> None:
    """Put the workflows of an archive into a store.

    Args:
        log: the log of the store.
        header: the first member of the archive.
        items: what follows in the archive, see `ArchiveReader.items`.
        done: gets the figures.
        on_refused: called with the prefix of each workflow that the store has with another history, and where they
            differ. What the store has stays as it is.
        on_progress: called with the prefix of each workflow that is done.

    Raises:
        ArchiveError: the archive is damaged or was cut off. What was restored so far is whole.
        HoldfastError: COMMIT_UNKNOWN; LAYOUT_UNSUPPORTED: the archive has markers of a newer version than the store.
        StoreError: the store cannot be used.

    """
    _require_version(log, header)
    target: _Target | None = None
    refused = False
    async for item in items:
        if isinstance(item, End):
            done.findings = item.findings
            continue
        if isinstance(item, Workflow):
            done.workflows += 1
            target, refused = _Target(log, item, done), False
        assert target is not None
        try:
            if not refused:
                await target.take(item)
        except _OtherHistoryError as error:
            refused = True
            done.refused += 1
            on_refused(target.workflow.prefix, str(error))
        if isinstance(item, Block) and item.ends:
            done.unchanged += not (refused or target.has_changed)
            on_progress(target.workflow.prefix)


def _require_version(log: Log, header: Header) -> None:
    if header.marker_version > log.marker_version:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"the archive has markers of version {header.marker_version}, the store has version {log.marker_version}: "
            "run `holdfast-server upgrade` on the store first",
            marker_version=header.marker_version,
        )


class _Target:
    """A workflow that is restored.

    Attributes:
        workflow: the workflow.
        has_changed: whether anything was created.

    """

    def __init__(self, log: Log, workflow: Workflow, done: Restored) -> None:
        self.workflow = workflow
        self.has_changed = False
        self._log = log
        self._store = log.retried_store
        self._keys = WorkflowKeys(workflow.namespace, workflow.workflow_id)
        self._done = done
        self._head: Entry | None = None
        self._before: Entry | None = None
        self._is_there = False

    async def take(self, item: Item) -> None:
        """Restore one item.

        Raises:
            _OtherHistoryError: the store has another workflow of this name.

        """
        if isinstance(item, Workflow):
            await self._compare()
        elif isinstance(item, ArchivedObject) and not self._is_there:
            await self._put_object(item)
        elif isinstance(item, ArchivedMarker) and not self._is_there:
            await self._put_marker(item)

    async def _compare(self) -> None:
        """Compare the log with the one that is in the store."""
        try:
            self._head = await self._log.head(self._keys)
            if self._head is None:
                return
            workflow = self.workflow
            if self._head.revision >= workflow.head_revision:
                there = await self._entry(workflow.head_revision)
                if there is not None and there.digest.hex() != workflow.head_digest:
                    raise _OtherHistoryError(_differs(workflow.head_revision))
                # What is below the floor was there.
                self._is_there = there is not None or self._head.marker.floor >= workflow.head_revision
                if self._is_there:
                    return
            first = await self._entry(workflow.first_revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            raise _OtherHistoryError(f"its log in the store is damaged: {error.message}") from None
        if first is not None and first.digest.hex() != workflow.first_digest:
            raise _OtherHistoryError(_differs(workflow.first_revision))
        if first is None and self._head.marker.floor < workflow.first_revision:
            raise _OtherHistoryError(f"its log in the store ends at revision {self._head.revision}, before the archive")

    async def _entry(self, revision: int) -> Entry | None:
        return await self._log.read_unbounded(self._keys, revision)

    async def _put_marker(self, item: ArchivedMarker) -> None:
        entry = await decode_entry(item.key, item.frame)
        floor = 0 if self._head is None else self._head.marker.floor
        if item.revision <= floor:
            # It was collected since an earlier restore.
            return
        before = self._before or (self._head if self._head and self._head.revision == item.revision - 1 else None)
        follows = before is None or before.revision != item.revision - 1
        if not follows and before is not None and entry.marker.previous_digest != before.digest:
            raise _OtherHistoryError(
                f"revision {item.revision} does not follow revision {before.revision} of the store"
            )
        found = await self._create(item.key, item.frame)
        if found is not None:
            there = await decode_entry(item.key, found)
            # What was purged or stored again since keeps the digest that it had.
            if there.digest != entry.digest:
                raise _OtherHistoryError(_differs(item.revision))
            entry = there
        self._before = entry

    async def _put_object(self, item: ArchivedObject) -> None:
        if item.size_bytes <= _SMALL_BYTES:
            data = await item.whole()
            found = await self._create(item.key, data)
            # An object of the index of ids is of use only, and never wrong.
            is_index = index_range(item.key.removeprefix(self._keys.prefix)) is not None
            if found is not None and found != data and not is_index:
                raise _OtherHistoryError(f"{item.key} has other bytes in the store")
        elif await self._has(item.key):
            async with aclosing(self._stored(item.key)) as stored:
                await _require_equal(item, stored)
        else:
            async with self._store.put(item.key) as written:
                async for piece in item.pieces():
                    await written.write(piece)
                await written.finish()
            self._count(item.size_bytes)

    async def _create(self, key: str, data: bytes) -> bytes | None:
        """Create an object. Return the one that is there instead; None if there was none."""
        try:
            found = await read_whole(self._store, key) if self._head is not None else None
        except ObjectNotFoundError:
            found = None
        if found is None:
            deadline = now() + _PUT_SECONDS
            found = await put_if_absent(self._store, key, data, is_mine=lambda there: there == data, deadline=deadline)
        if found is None:
            self._count(len(data))
        return found

    async def _has(self, key: str) -> bool:
        listed = await self._store.list(key, limit=1)
        return bool(listed) and listed[0].key == key

    async def _stored(self, key: str) -> AsyncGenerator[bytes]:
        position = 0
        while data := (await self._store.get(key, offset=position, length=_COMPARED_BYTES)).data:
            yield data
            position += len(data)

    def _count(self, size_bytes: int) -> None:
        self.has_changed = True
        self._done.objects += 1
        self._done.bytes += size_bytes


def _differs(revision: int) -> str:
    return f"its revision {revision} is another one in the store"


async def _require_equal(item: ArchivedObject, stored: AsyncGenerator[bytes]) -> None:
    """Compare an object of the archive with the one in the store.

    Raises:
        _OtherHistoryError: they differ.

    """
    ahead = b""
    async for piece in item.pieces():
        while len(ahead) < len(piece) and (more := await anext(stored, b"")):
            ahead += more
        if ahead[: len(piece)] != piece:
            raise _OtherHistoryError(f"{item.key} has other bytes in the store")
        ahead = ahead[len(piece) :]
    if ahead or await anext(stored, b""):
        raise _OtherHistoryError(f"{item.key} has more bytes in the store")
