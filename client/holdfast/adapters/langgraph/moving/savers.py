"""Any saver of LangGraph as one side of a move of threads, through its public methods."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id
from langgraph.checkpoint.serde.base import maybe_add_typed_methods
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from holdfast.adapters.langgraph.contents import config_of
from holdfast.adapters.langgraph.moving import versions
from holdfast.adapters.langgraph.moving.checked import require_checkpoint, require_text
from holdfast.adapters.langgraph.moving.exact import exact
from holdfast.adapters.langgraph.moving.stored import Index, Stored, StoredWrite, writes_of
from holdfast.adapters.langgraph.moving.tables import Tables, tables_of
from holdfast.adapters.langgraph.names import Place
from holdfast.adapters.lost import require_usable
from holdfast.adapters.threaded import in_thread_to_end
from holdfast.moving import ItemError, SourceError

_PAGE = 50
_READS = 5


class SaverSide:
    """The threads of a saver.

    Args:
        saver: the saver. It is not changed, and its serializer is used only for values that cannot be kept as they are.

    """

    def __init__(self, saver: Any) -> None:
        self._saver = copy(saver)
        self._saver.serde = maybe_add_typed_methods(exact(saver.serde))
        self._tables: Tables | None = tables_of(self._saver)
        self._is_asynchronous: bool | None = None
        self._not_text: set[str] = set()

    async def threads(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the threads whose ids begin with a prefix, each once."""
        if self._tables is not None:
            with _listing():
                async for thread_id in self._tables.threads():
                    name = thread_id if isinstance(thread_id, str) else f"{type(thread_id).__name__} {thread_id!r:.200}"
                    if name is not thread_id:
                        self._not_text.add(name)
                    if name.startswith(prefix):
                        yield name
            return
        found: set[str] = set()
        async for listed in self._listed(None):
            thread_id = str(listed.config["configurable"]["thread_id"])
            if thread_id.startswith(prefix) and thread_id not in found:
                found.add(thread_id)
                yield thread_id

    async def index(self, thread_id: str) -> Index:
        """Return the ids of a thread's checkpoints, with those of their parents.

        Raises:
            ItemError: an id is not text.

        """
        if thread_id in self._not_text:
            raise ItemError("UNREADABLE", f"the id of the thread must be text, not {thread_id}")
        require_text("thread", thread_id)
        found: dict[Place, dict[str, str]] = {}
        if self._tables is not None:
            with _listing():
                rows = await self._tables.checkpoints(thread_id)
        else:
            rows = [_row(each) async for each in self._listed({"configurable": {"thread_id": thread_id}})]
        for checkpoint_ns, checkpoint_id, parent_id in rows:
            require_text("namespace", checkpoint_ns)
            require_text("checkpoint", checkpoint_id)
            require_text("parent", parent_id or "")
            found.setdefault(Place(thread_id, checkpoint_ns), {})[checkpoint_id] = parent_id or ""
        return found

    async def load(self, place: Place, checkpoint_id: str) -> Stored | None:
        """Return a checkpoint; None if it does not exist.

        Raises:
            ItemError: the saver cannot read it, or its writes grow faster than they are read.

        """
        for _ in range(_READS):
            found = await self._read(place, checkpoint_id)
            if found is None:
                return None
            require_checkpoint(checkpoint_id, found)
            known: Sequence[tuple[str, int, str]] = []
            if self._tables is not None:
                with _listing():
                    known = await self._tables.writes(place, checkpoint_id)
            try:
                writes = writes_of(found.pending_writes or (), known)
            except LookupError:
                # The writes have grown between the two reads.
                continue
            parent_id = (get_checkpoint_id(found.parent_config) if found.parent_config else "") or ""
            return Stored(place, checkpoint_id, parent_id, found.checkpoint, found.metadata, writes)
        raise ItemError("SOURCE_CHANGED", f"checkpoint {checkpoint_id} gets writes while it is read: run it again")

    def kept(self, stored: Stored) -> Stored:
        """Return a checkpoint with versions of the saver's type."""
        return replace(stored, checkpoint=versions.converted(stored.checkpoint, self._saver))

    def read_back(self, theirs: Stored, ours: Stored) -> Stored:
        """Return a checkpoint without snapshots of delta channels that the source has at an ancestor.

        Some savers keep a value once for each version of its channel, and return it with all checkpoints that have the
        version. A channel of the same version has the same value.
        """
        values, expected = theirs.checkpoint["channel_values"], ours.checkpoint["channel_values"]
        left = {
            channel: value
            for channel, value in values.items()
            if channel in expected or not isinstance(value, _DeltaSnapshot)
        }
        return replace(theirs, checkpoint={**theirs.checkpoint, "channel_values": left})

    async def begin(self, thread_id: str) -> "SaverWriting":
        """Begin to write to a thread. A saver cannot keep others from writing to it, too."""
        return SaverWriting(self, await self.index(thread_id))

    async def put(self, stored: Stored) -> None:
        """Save a checkpoint."""
        config = config_of(stored.place, stored.parent_id)
        if not stored.parent_id:
            del config["configurable"]["checkpoint_id"]
        values, current = stored.checkpoint["channel_values"], stored.checkpoint["channel_versions"]
        # A channel without a value here may have one of the same version in an ancestor, which must stay.
        new_versions = {channel: version for channel, version in current.items() if channel in values}
        arguments = config, stored.checkpoint, stored.metadata, new_versions
        await self._call(lambda: self._saver.aput(*arguments), lambda: self._saver.put(*arguments))

    async def put_writes(self, place: Place, checkpoint_id: str, writes: Sequence[StoredWrite]) -> None:
        """Save writes of one task."""
        given = [(write.channel, write.value) for write in _in_positions(writes)]
        arguments = config_of(place, checkpoint_id), given, writes[0].task_id, writes[0].task_path or ""
        await self._call(lambda: self._saver.aput_writes(*arguments), lambda: self._saver.put_writes(*arguments))

    async def _read(self, place: Place, checkpoint_id: str) -> CheckpointTuple | None:
        config = config_of(place, checkpoint_id)
        try:
            found: CheckpointTuple | None = await self._call(
                lambda: self._saver.aget_tuple(config), lambda: self._saver.get_tuple(config)
            )
        except NotImplementedError as error:
            message = f"checkpoint {checkpoint_id} cannot be read: {error}"
            raise ItemError("UNREADABLE", f"{message}; name the serializer that wrote it") from error
        except Exception as error:
            require_usable("the saver", error)
            raise ItemError(
                "UNREADABLE", f"checkpoint {checkpoint_id} cannot be read: {type(error).__name__}: {error}"
            ) from error
        return found

    async def _listed(self, config: Any) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints in pages, since some savers read a whole list into memory."""
        before: Any = None
        last: set[tuple[str, ...]] = set()
        size = _PAGE
        while True:
            page = await self._page(config, before, size)
            keys = {_key(each) for each in page}
            for each in page:
                if _key(each) not in last:
                    yield each
            if len(page) < size:
                return
            smallest = min(str(get_checkpoint_id(each.config)) for each in page)
            if keys <= last:
                # Only checkpoints with one id: threads that were copied keep the ids.
                size *= 2
                continue
            last = keys if size == _PAGE else last | keys
            # The page after this one begins with the same id, which checkpoints of other threads may have.
            before = {"configurable": {"checkpoint_id": f"{smallest}0"}}

    async def _page(self, config: Any, before: Any, limit: int) -> Sequence[CheckpointTuple]:
        async def listed() -> Sequence[CheckpointTuple]:
            return [each async for each in self._saver.alist(config, before=before, limit=limit)]

        with _listing():
            found: Sequence[CheckpointTuple] = await self._call(
                listed, lambda: list(self._saver.list(config, before=before, limit=limit))
            )
        return found

    async def _call(self, asynchronous: Callable[[], Awaitable[Any]], synchronous: Callable[[], Any]) -> Any:
        """Call a method of the saver: the asynchronous one if it has that, otherwise the other one in a thread."""
        if self._is_asynchronous is not False:
            try:
                result = await asynchronous()
                self._is_asynchronous = True
                return result
            except NotImplementedError:
                if self._is_asynchronous:
                    raise
        result = await in_thread_to_end(synchronous)
        self._is_asynchronous = False
        return result


class SaverWriting:
    """The writing to one thread of a saver.

    Args:
        side: the saver.
        index: the checkpoints that it has.

    """

    def __init__(self, side: SaverSide, index: Index) -> None:
        self.index = index
        self._side = side

    def check(self, stored: Stored) -> None:
        """Check nothing: only a saver knows what it keeps."""

    async def add(self, stored: Stored) -> None:
        """Save a checkpoint and then its writes.

        Raises:
            ItemError: the saver refuses it.

        """
        try:
            await self._side.put(stored)
        except Exception as error:
            raise _refused(stored.checkpoint_id, error) from error
        await self.add_writes(stored.place, stored.checkpoint_id, stored.writes)

    async def add_writes(self, place: Place, checkpoint_id: str, writes: Sequence[StoredWrite]) -> None:
        """Save writes of a checkpoint.

        Raises:
            ItemError: the saver refuses them.

        """
        tasks: dict[str, list[StoredWrite]] = {}
        for write in writes:
            tasks.setdefault(write.task_id, []).append(write)
        for of_task in tasks.values():
            try:
                await self._side.put_writes(place, checkpoint_id, of_task)
            except Exception as error:
                raise _refused(checkpoint_id, error) from error


@contextmanager
def _listing() -> Iterator[None]:
    """Report an error of a list as that of the saver."""
    try:
        yield
    except Exception as error:
        raise SourceError(f"the saver cannot list its checkpoints: {type(error).__name__}: {error}") from error


def _in_positions(writes: Sequence[StoredWrite]) -> Sequence[StoredWrite]:
    """Return the writes of a task so that each has its position in the list, as far as that is possible.

    A saver takes the position of a write from the list. Writes to special channels have none, and fill the gaps.
    """
    special = [write for write in writes if write.index < 0]
    ordered: list[StoredWrite] = []
    for write in sorted((write for write in writes if write.index >= 0), key=lambda write: write.index):
        while len(ordered) < write.index and special:
            ordered.append(special.pop())
        ordered.append(write)
    return [*ordered, *special]


def _refused(checkpoint_id: str, error: Exception) -> ItemError:
    require_usable("the target", error)
    return ItemError("UNREADABLE", f"the target refuses checkpoint {checkpoint_id}: {type(error).__name__}: {error}")


def _key(listed: CheckpointTuple) -> tuple[str, ...]:
    configurable: Mapping[str, Any] = listed.config["configurable"]
    return tuple(str(configurable.get(name, "")) for name in ("thread_id", "checkpoint_ns", "checkpoint_id"))


def _row(listed: CheckpointTuple) -> tuple[str, str, str | None]:
    parent_id = get_checkpoint_id(listed.parent_config) if listed.parent_config else ""
    _, checkpoint_ns, checkpoint_id = _key(listed)
    return checkpoint_ns, checkpoint_id, parent_id
