"""Holdfast as one side of a move of threads."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import groupby

from holdfast._async import blocking
from holdfast._core.checkpoint import Record
from holdfast._core.errors import RevisionConflictError, WorkflowNotFoundError
from holdfast.adapters.ids import CHECKPOINT_BYTES
from holdfast.adapters.langgraph import contents, writes
from holdfast.adapters.langgraph.lookups import MISSING, AsyncLookups
from holdfast.adapters.langgraph.moving.stored import Index, Stored, StoredWrite
from holdfast.adapters.langgraph.names import Place, decoded, encoded
from holdfast.adapters.langgraph.order import Order
from holdfast.adapters.langgraph.threads import AsyncThreads
from holdfast.moving import ItemError

_PAGE = 1000


class HoldfastSide:
    """The threads of a namespace of Holdfast.

    Args:
        lookups: the namespace, with a serializer that reads all of its values.

    """

    def __init__(self, lookups: AsyncLookups) -> None:
        self.lookups = lookups

    async def threads(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the threads whose ids begin with a prefix, each once."""
        async for thread_id in self.lookups.thread_ids():
            if thread_id.startswith(prefix):
                yield thread_id

    async def index(self, thread_id: str) -> Index:
        """Return the ids of a thread's checkpoints, with those of their parents."""
        found = {place: await self.ids(place) for place in await self.lookups.places(thread_id)}
        return {place: ids for place, ids in found.items() if ids}

    async def ids(self, place: Place) -> Mapping[str, str] | None:
        """Return the ids of a namespace's checkpoints, with those of their parents; None if it has never been used."""
        client, namespace = self.lookups.client, self.lookups.namespace
        try:
            return {
                decoded(info.checkpoint_id): decoded(info.parent_id) if info.parent_id else ""
                async for info in client.list(namespace, place.workflow_id, strict=True, page_size=_PAGE)
            }
        except WorkflowNotFoundError:
            return None

    async def load(self, place: Place, checkpoint_id: str) -> Stored | None:
        """Return a checkpoint; None if it does not exist.

        Raises:
            CheckpointCorruptedError: it is damaged.
            FormatIncompatibleError: it cannot be read.

        """
        try:
            loaded = await self.lookups.load(place, checkpoint_id)
        except MISSING:
            return None
        serde, data = self.lookups.serde, contents.stored(loaded)
        found = await blocking.in_thread_if_large(data, contents.unpack_writes, serde, loaded)
        return Stored(
            place,
            checkpoint_id,
            decoded(loaded.info.parent_id) if loaded.info.parent_id else "",
            await blocking.in_thread_if_large(data, contents.unpack_checkpoint, serde, loaded),
            contents.unpack_metadata(serde, loaded),
            [
                StoredWrite(
                    each.task_id,
                    each.task_path,
                    each.index,
                    each.channel,
                    value,
                    each.index < 0 and writes.is_as_imported(each, loaded.records),
                )
                for each, value in found
            ],
        )

    def kept(self, stored: Stored) -> Stored:
        """Return a checkpoint as it is."""
        return stored

    def read_back(self, theirs: Stored, ours: Stored) -> Stored:
        """Return a checkpoint of Holdfast as it is."""
        return theirs

    async def begin(self, thread_id: str) -> "HoldfastWriting":
        """Begin to write to a thread. A save of anybody else from here on ends the writing."""
        places = {place: await self.lookups.order(place.workflow_id) for place in await self.lookups.places(thread_id)}
        # The orders were read first: a checkpoint that is saved after them either is in the index or conflicts.
        found = {place: await self.ids(place) for place in places}
        return HoldfastWriting(self.lookups, places, found)


class HoldfastWriting:
    """The writing to one thread.

    Args:
        lookups: the namespace.
        orders: the order of the checkpoints in each namespace of the thread that exists.
        found: their ids; None for a namespace that has never been used.

    """

    def __init__(
        self, lookups: AsyncLookups, orders: Mapping[Place, Order], found: Mapping[Place, Mapping[str, str] | None]
    ) -> None:
        self.index: Index = {place: ids for place, ids in found.items() if ids}
        self._lookups = lookups
        self._threads = AsyncThreads(lookups)
        self._orders = dict(orders)
        self._used = {place for place, ids in found.items() if ids is not None}

    def check(self, stored: Stored) -> None:
        """Check that the serializer keeps all values of a checkpoint.

        Raises:
            ItemError: it does not.

        """
        self._packed(stored)
        self._records(stored.writes)

    async def add(self, stored: Stored) -> None:
        """Save a checkpoint after attaching its writes, so that no reader sees it without them.

        Raises:
            ItemError: the serializer does not keep a value, or another writer has saved to the thread.

        """
        place = stored.place
        workflow_id = place.workflow_id
        if place not in self._orders:
            # A namespace that the thread did not have yet.
            self._orders[place] = Order()
        packed = await blocking.in_thread_if_large((stored.checkpoint, stored.metadata), self._packed, stored)
        await self.add_writes(place, stored.checkpoint_id, stored.writes)
        try:
            # The promise of a new id holds only in a log that begins here.
            self._orders[place] = await self._threads.add(
                workflow_id, packed, self._orders[place], fresh_id=place not in self._used
            )
        except RevisionConflictError:
            message = f"another writer has saved to workflow {workflow_id!r:.200} of the target since the import began"
            raise ItemError("OTHER_CONTENT", f"{message}; nothing was overwritten") from None

    async def add_writes(self, place: Place, checkpoint_id: str, added: Sequence[StoredWrite]) -> None:
        """Attach writes to a checkpoint.

        Raises:
            ItemError: the serializer does not keep a value.

        """
        if not added:
            return
        calls = await blocking.in_thread_if_large([each.value for each in added], self._records, added)
        for records in calls:
            await self._lookups.client.attach(
                self._lookups.namespace, place.workflow_id, encoded(checkpoint_id), records
            )

    def _packed(self, stored: Stored) -> contents.Contents:
        for checkpoint_id in (stored.checkpoint_id, stored.parent_id):
            if (size := len(encoded(checkpoint_id).encode())) > CHECKPOINT_BYTES:
                limit = f"Holdfast's limit is {CHECKPOINT_BYTES}"
                raise ItemError("UNREADABLE", f"checkpoint {checkpoint_id:.60}: the id has {size} bytes, {limit}")
        try:
            return contents.pack_as_it_is(
                self._lookups.serde, stored.place, stored.parent_id, stored.checkpoint, stored.metadata
            )
        except (TypeError, ValueError) as error:
            raise ItemError("UNREADABLE", f"checkpoint {stored.checkpoint_id}: {error}") from error

    def _records(self, added: Sequence[StoredWrite]) -> Sequence[Sequence[Record]]:
        """Return the records of writes, those of each call together."""
        serde, has_secret_names = self._lookups.serde, self._lookups.client.encryption is not None
        try:
            packed = [
                writes.Write(
                    each.task_id, path, each.index, each.channel, *contents.pack_value(serde, each.channel, each.value)
                )
                for each, path in zip(added, _paths(added), strict=True)
            ]
        except (TypeError, ValueError) as error:
            raise ItemError("UNREADABLE", str(error)) from error
        calls: list[Sequence[Record]] = []
        for _, group in groupby(sorted(packed, key=lambda write: write.task_id), key=lambda write: write.task_id):
            of_task = writes.pack(list(group), has_secret_names=has_secret_names)
            calls += [of_task.chunks, [*of_task.final, *writes.marked_as_imported(of_task.final)]]
        return [records for records in calls if records]


def _paths(added: Sequence[StoredWrite]) -> Iterator[str]:
    """Yield the paths of tasks. Tasks whose paths are unknown get such that keep the order of the writes."""
    keys = [(write.task_id, write.index) for write in added]
    numbers: dict[str, int] = {}
    for write in added:
        number = numbers.setdefault(write.task_id, len(numbers))
        if write.task_path is not None:
            yield write.task_path
        else:
            # LangGraph's own paths begin with "~", so they come after these.
            yield "" if keys == sorted(keys) else f"{number:06d}"
