"""Entries: a checkpoint holds what changed, and every so often the whole state as well, so that a load stays short.

A state is written whole once the entries since the last whole one take as many bytes as that took, or are many. So
neither the bytes stored nor the bytes read for a state are more than about twice what they must be.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast._core.errors import HoldfastError, InvalidRequestError, of_reason
from holdfast.adapters.adk.values import FAILURES, Json, Values, bounded

MOST_ENTRIES = 500


Parts = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Since:
    """The entries since the last whole state.

    Attributes:
        updated: when the newest of them was made, in seconds since the epoch.
        entries: how many they are.
        size_bytes: what they take.
        state_bytes: what the whole state takes.

    """

    updated: float
    entries: int = 0
    size_bytes: int = 0
    state_bytes: int = 0

    def is_due(self, added_bytes: int) -> bool:
        """Tell whether the next entry is to hold the whole state."""
        return self.size_bytes + added_bytes >= self.state_bytes or self.entries + 1 >= MOST_ENTRIES

    def parts(self, parts: Parts, state: Json | None, updated: float) -> Parts:
        """Return the parts of the next entry.

        Args:
            parts: its own parts.
            state: the whole state with this entry, if it is to hold it.
            updated: when it was made.

        """
        added = sum(map(len, parts.values()))
        if state is None:
            since = replace(self, updated=updated, entries=self.entries + 1, size_bytes=self.size_bytes + added)
            return {**parts, "since": since.dumped()}
        whole = dumped(state)
        return {**parts, "state": whole, "since": Since(updated, state_bytes=len(whole)).dumped()}

    def dumped(self) -> bytes:
        """Return the JSON of it."""
        return dumped(
            {
                "updated": self.updated,
                "entries": self.entries,
                "size_bytes": self.size_bytes,
                "state_bytes": self.state_bytes,
            }
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A checkpoint of a session or of a shared state, read.

    Attributes:
        checkpoint_id: its id.
        parent_id: the id of the entry before.
        since: the entries since the last whole state, this one included.
        changes: the JSON forms of the values that it changed.
        state: those of the whole state with it, if it holds it.
        event: the JSON of its event, if it holds one.
        is_earlier: whether it has the earlier layout, which held the session whole with each event.

    """

    checkpoint_id: str
    parent_id: str
    since: Since
    changes: Json
    state: Json | None
    event: bytes | None = None
    is_earlier: bool = False


def read_entry(loaded: LoadedCheckpoint, values: Values) -> Entry:
    """Return the entry of a checkpoint.

    Raises:
        CheckpointCorruptedError: it was not written by this adapter.

    """
    parts = loaded.parts
    with readable(loaded.checkpoint_id):
        if "since" not in parts:
            return _earlier(loaded, values)
        return Entry(
            loaded.checkpoint_id,
            loaded.info.parent_id,
            Since(**json.loads(parts["since"])),
            json_object(parts.get("changes", b"{}")),
            json_object(parts["state"]) if "state" in parts else None,
            parts.get("event"),
        )


def _earlier(loaded: LoadedCheckpoint, values: Values) -> Entry:
    """Return the entry of a checkpoint of the earlier layout: plain JSON, the state whole in each."""
    is_session = "session" in loaded.parts
    whole = loaded.parts.get("session") or loaded.data
    found = json_object(whole)
    try:
        state = values.dump("state", found["state"] if is_session else found)
    except InvalidRequestError as error:
        raise ValueError(error.message) from None
    since = Since(found["last_update_time"] if is_session else 0.0, state_bytes=len(whole))
    return Entry(
        loaded.checkpoint_id, loaded.info.parent_id, since, {}, state, loaded.parts.get("event"), is_earlier=True
    )


class Folding:
    """A whole state, put together from entries that are given newest first."""

    def __init__(self) -> None:
        self._newer: list[Json] = []
        self.state: Json | None = None

    def add(self, entry: Entry, changes: Json) -> None:
        """Add an entry, the one before those that were added.

        Args:
            entry: the entry.
            changes: those of its changes that are part of this state.

        """
        if self.state is not None:
            return
        if entry.state is None:
            self._newer.append(changes)
            return
        self.state = dict(entry.state)
        for each in reversed(self._newer):
            self.state |= each


async def entries(chain: AsyncIterator[LoadedCheckpoint], values: Values) -> AsyncIterator[tuple[Entry, bool]]:
    """Iterate over the entries of a chain, and whether there is a hole between each and the one before."""
    child: Entry | None = None
    async for loaded in chain:
        entry = read_entry(loaded, values)
        yield entry, child is not None and child.parent_id != entry.checkpoint_id
        child = entry


def without_whole_state(checkpoint_id: str) -> HoldfastError:
    """Return the error of a chain that ends without a whole state."""
    return of_reason(
        "CHECKPOINT_CORRUPTED",
        f"no whole state lies before checkpoint {checkpoint_id!r}",
        metadata={"checkpoint_id": checkpoint_id},
    )


@contextmanager
def readable(checkpoint_id: str) -> Iterator[None]:
    """Raise a typed error where the content of a checkpoint cannot be read.

    Raises:
        CheckpointCorruptedError: it cannot.

    """
    try:
        yield
    except FAILURES as error:
        raise of_reason(
            "CHECKPOINT_CORRUPTED",
            f"the content of checkpoint {checkpoint_id!r} was not written by this adapter: "
            f"{bounded(str(error) or type(error).__name__)}",
            metadata={"checkpoint_id": checkpoint_id},
        ) from None


def dumped(form: Json) -> bytes:
    """Return JSON forms as bytes."""
    return json.dumps(form, separators=(",", ":")).encode()


def json_object(data: bytes) -> Json:
    """Return the JSON forms that bytes hold.

    Raises:
        TypeError, ValueError: they are not a JSON object.

    """
    found = json.loads(data)
    if not isinstance(found, Mapping):
        raise TypeError(f"expected a JSON object, not {type(found).__name__}")
    return dict(found)
