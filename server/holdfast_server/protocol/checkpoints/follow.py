"""A log as it grows: each entry once, in order, with damage and collected entries said in place.

Revisions are dense, so that one read of the next revision shows whether there is a new entry. A missing marker below a
newer one was collected or lost; a head distinguishes these.
"""

from contextlib import aclosing

from holdfast_server.protocol.checkpoints.heads import NamedHead
from holdfast_server.protocol.checkpoints.log_pages import Item, affected_by
from holdfast_server.protocol.errors import HoldfastError, MarkerGoneError, Reason
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.log import revisions
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.walks import read_many, scan

_MOST_AT_ONCE = 16


class RolledBackError(Exception):
    """The log does not contain an entry any more that it had: somebody has changed the store.

    Attributes:
        head: an entry of the log as it is now, at or below the revision that was reached.

    """

    def __init__(self, head: NamedHead) -> None:
        super().__init__(f"the log was rolled back: revision {head.revision} is another entry, or the newest one")
        self.head = head


class Follower:
    """Reads a log from a revision on.

    Args:
        log: the log.
        keys: the workflow.
        revision: the revision after which it begins; 0 for the first entry.
        digest: the digest of that entry; b"" if it is not known.
        entry: that entry, if it was read before.

    Attributes:
        revision: the last revision of what it has returned.
        digest: the digest of that entry; b"" if it is not known.

    """

    def __init__(
        self, log: Log, keys: WorkflowKeys, revision: int, digest: bytes = b"", *, entry: Entry | None = None
    ) -> None:
        self.revision = revision
        self.digest = digest
        self._log = log
        self._keys = keys
        self._last = entry
        self._at_once = 1

    async def read(self, newest: int = 0) -> list[Item]:
        """Return the next items, oldest first; none if there is no newer entry.

        Args:
            newest: a revision that exists; 0 if none is known.

        Raises:
            RolledBackError: the entry at `revision` is not the one that has `digest`.
            HoldfastError: LAYOUT_UNSUPPORTED; CHECKPOINT_CORRUPTED: the store cannot list the log.
            StoreError: the store cannot be used.

        """
        first = self.revision + 1
        if first > MAX_REVISION:
            return []
        count = min(max(self._at_once, newest - self.revision), _MOST_AT_ONCE, MAX_REVISION - self.revision)
        found = await read_many(self._log, self._keys, range(first, first + count))
        items: list[Item] = []
        for each in found:
            if isinstance(each, MarkerGoneError):
                break
            items.append(await self._item(each))
        # After a page that was full, more entries may follow.
        self._at_once = min(2 * count, _MOST_AT_ONCE) if len(items) == count else 1
        if items:
            return items
        present = [first + index for index, each in enumerate(found) if not isinstance(each, MarkerGoneError)]
        return await self._pass_gap(max([newest, *present])) if newest >= first or present else []

    async def look_again(self) -> list[Item]:
        """Return the same as `read`, but find the newest entry by a listing, and notice a log that became shorter."""
        newest = await revisions.newest(self._log.retried_store, self._keys) or 0
        if newest < self.revision:
            # Every head stays until a newer one is written.
            self._log.forget(self._keys)
            raise RolledBackError(NamedHead.of(await self._head()))
        return await self.read(newest) if newest > self.revision else []

    def skip_to(self, head: NamedHead) -> None:
        """Go on after an entry that was returned by another follower."""
        if head.revision != self.revision:
            self.revision, self.digest, self._last = head.revision, head.digest, None

    def _take(self, item: Item, digest: bytes) -> None:
        self.revision, self.digest, self._last = item.revisions[1], digest, item.entry

    async def _item(self, found: Entry | HoldfastError) -> Item:
        revision = self.revision + 1
        if not isinstance(found, Entry):
            item = Item((revision, revision), damage=found)
            self._take(item, b"")
            return item
        await self._require_same_log(found)
        known: dict[int, Entry | HoldfastError] = {} if self._last is None else {self.revision: self._last}
        item = Item((revision, revision), found, affected=await affected_by(self._log, self._keys, found, known))
        self._take(item, found.digest)
        return item

    async def _require_same_log(self, following: Entry) -> None:
        """Check that an entry follows the one at `revision`.

        A digest that does not match proves nothing alone: a repair after damage leaves one.
        """
        before = following.marker.previous_digest
        if not self.digest or not before or before == self.digest:
            return
        found = await self._log.retried_reader.read_or_damage(self._keys, self.revision)
        if isinstance(found, Entry) and found.digest != self.digest:
            raise RolledBackError(NamedHead(self.revision, found.digest))

    async def _pass_gap(self, newest: int) -> list[Item]:
        """Return what takes the place of a missing marker below a newer one."""
        first = self.revision + 1
        head = await self._head()
        if head is not None and head.marker.floor >= first:
            item = Item((first, head.marker.floor))
            self._take(item, b"")
            return [item]
        async with aclosing(scan(self._log, self._keys, first, newest)) as found:
            async for (_, last), each in found:
                if isinstance(each, MarkerGoneError):
                    item = Item((first, last), damage=each)
                    self._take(item, b"")
                    return [item]
                return [await self._item(each)]
        return []

    async def _head(self) -> Entry | None:
        try:
            return await self._log.head(self._keys)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            return None
