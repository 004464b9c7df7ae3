"""Move one thread: check what the target has, write what it lacks, and load both again to compare."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from holdfast.adapters.langgraph.moving.stored import Index, Stored, StoredWrite, compared
from holdfast.adapters.langgraph.names import Place
from holdfast.moving import Item, ItemError


class Source(Protocol):
    """A side that threads are read from."""

    def threads(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the threads whose ids begin with a prefix, each once."""

    async def index(self, thread_id: str) -> Index:
        """Return the ids of a thread's checkpoints."""

    async def load(self, place: Place, checkpoint_id: str) -> Stored | None:
        """Return a checkpoint; None if it does not exist any more.

        Raises:
            ItemError: it cannot be read.

        """


class Target(Source, Protocol):
    """A side that threads are written to."""

    def kept(self, stored: Stored) -> Stored:
        """Return a checkpoint in the form in which the target keeps it."""

    def read_back(self, theirs: Stored, ours: Stored) -> Stored:
        """Return a checkpoint of the target without what it adds to each checkpoint that it returns."""

    async def begin(self, thread_id: str) -> "Writing":
        """Begin to write to a thread: from here on, nobody else may."""


class Writing(Protocol):
    """The writing to one thread of a target."""

    @property
    def index(self) -> Index:
        """The checkpoints that the target had at the beginning."""

    def check(self, stored: Stored) -> None:
        """Check that a checkpoint can be written.

        Raises:
            ItemError: it cannot.

        """

    async def add(self, stored: Stored) -> None:
        """Write a checkpoint and its writes.

        Raises:
            ItemError: it cannot be written, or another writer was faster.

        """

    async def add_writes(self, place: Place, checkpoint_id: str, writes: Sequence[StoredWrite]) -> None:
        """Write further pending writes of a checkpoint."""


async def move(item: Item, source: Source, target: Target, *, is_dry_run: bool) -> None:
    """Move a thread.

    Raises:
        ItemError: it cannot be moved.
        HoldfastError: a call failed.

    """
    thread_id = item.name
    index = await source.index(thread_id)
    if not any(index.values()):
        raise ItemError("NOT_FOUND", "the source has no such thread")
    writing = await target.begin(thread_id)
    _require_known(index, writing.index)
    # The namespace "" comes last: a thread whose subgraphs are incomplete has no checkpoint to resume from.
    places = sorted(index, key=lambda place: (not place.checkpoint_ns, place))
    grown: list[tuple[Place, str, Sequence[StoredWrite]]] = []
    for place in places:
        present = writing.index.get(place, {})
        for checkpoint_id in index[place]:
            if checkpoint_id in present:
                missing = await _check(item, source, target, place, checkpoint_id)
                grown += [(place, checkpoint_id, missing)] if missing else []
    for place, checkpoint_id, missing in grown:
        if not is_dry_run:
            await writing.add_writes(place, checkpoint_id, missing)
            await _verify(item, source, target, place, checkpoint_id)
    for place in places:
        added = [each for each in parents_first(index[place]) if each not in writing.index.get(place, {})]
        for checkpoint_id in added:
            stored = _existing(await source.load(place, checkpoint_id), place, checkpoint_id)
            item.add(read=1)
            if is_dry_run:
                writing.check(target.kept(stored))
            else:
                await writing.add(target.kept(stored))
            item.add(written=1)
        if not is_dry_run:
            for checkpoint_id in added:
                await _verify(item, source, target, place, checkpoint_id)


def parents_first(index: Mapping[str, str]) -> Sequence[str]:
    """Return ids from the smallest to the largest, but none before its parent."""
    ordered: dict[str, None] = {}
    for checkpoint_id in sorted(index):
        chain: dict[str, None] = {}
        current = checkpoint_id
        while current in index and current not in ordered and current not in chain:
            chain[current] = None
            current = index[current]
        ordered |= dict.fromkeys(reversed(chain))
    return list(ordered)


def _require_known(source: Index, target: Index) -> None:
    """Check that the target has no checkpoint that the source lacks.

    Raises:
        ItemError: it has.

    """
    for place, present in target.items():
        for checkpoint_id in present:
            if checkpoint_id not in source.get(place, {}):
                raise ItemError(
                    "OTHER_CONTENT",
                    f"the target has {_named(place, checkpoint_id)}, which the source lacks; nothing was overwritten",
                )


async def _check(item: Item, source: Source, target: Target, place: Place, checkpoint_id: str) -> Sequence[StoredWrite]:
    """Compare a checkpoint that the target has with that of the source. Return the writes that it lacks.

    Raises:
        ItemError: it has other content.

    """
    ours = _existing(await source.load(place, checkpoint_id), place, checkpoint_id)
    item.add(read=1)
    theirs = await target.load(place, checkpoint_id)
    if theirs is None:
        raise ItemError("OTHER_CONTENT", f"{_named(place, checkpoint_id)} was deleted from the target just now")
    ours = target.kept(ours)
    found = compared(ours, target.read_back(theirs, ours))
    if found.difference:
        raise ItemError(
            "OTHER_CONTENT",
            f"the target has {_named(place, checkpoint_id)} with {found.difference}; nothing was overwritten",
        )
    item.add(present=1, verified=0 if found.missing else 1)
    return found.missing


async def _verify(item: Item, source: Source, target: Target, place: Place, checkpoint_id: str) -> None:
    """Load a checkpoint that was written from both sides, and compare them.

    Raises:
        ItemError: they differ.

    """
    ours = _existing(await source.load(place, checkpoint_id), place, checkpoint_id)
    theirs = await target.load(place, checkpoint_id)
    if theirs is None:
        raise ItemError("DIFFERENT", f"the target has lost {_named(place, checkpoint_id)}")
    ours = target.kept(ours)
    found = compared(ours, target.read_back(theirs, ours))
    if found.difference:
        raise ItemError("DIFFERENT", f"{_named(place, checkpoint_id)} has {found.difference} in the target")
    if found.missing:
        raise ItemError(
            "SOURCE_CHANGED", f"{_named(place, checkpoint_id)} has got writes since it was read: run the command again"
        )
    item.add(verified=1)


def _existing(stored: Stored | None, place: Place, checkpoint_id: str) -> Stored:
    if stored is None:
        message = f"{_named(place, checkpoint_id)} was deleted from the source since the thread was listed"
        raise ItemError("SOURCE_CHANGED", f"{message}: run the command again")
    return stored


def _named(place: Place, checkpoint_id: str) -> str:
    within = f" of namespace {place.checkpoint_ns!r}" if place.checkpoint_ns else ""
    return f"checkpoint {checkpoint_id}{within}"
