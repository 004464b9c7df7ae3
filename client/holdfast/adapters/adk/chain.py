"""Chains of checkpoints: each link contains what changed, and sometimes the whole state, so that loads stay short.

The whole state is added when the links since the last whole state take as many bytes as that state took, or reach
`MAX_LINKS`. So both the bytes stored and the bytes read for a state are at most about twice the necessary ones.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast._core.errors import HoldfastError, InvalidRequestError, of_reason
from holdfast.adapters.adk.values import FAILURES, Json, Values, bounded

MAX_LINKS = 500


Parts = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Since:
    """The links since the last whole state.

    Attributes:
        updated: when the newest of them was made, in seconds since the epoch.
        links: how many there are.
        size_bytes: their size.
        state_bytes: the size of the whole state.

    """

    updated: float
    links: int = 0
    size_bytes: int = 0
    state_bytes: int = 0

    def is_whole_state_due(self, added_bytes: int) -> bool:
        """Return whether the next link, of `added_bytes`, must contain the whole state."""
        return self.size_bytes + added_bytes >= self.state_bytes or self.links + 1 >= MAX_LINKS

    def parts(self, parts: Parts, state: Json | None, updated: float) -> Parts:
        """Return the parts of the next link.

        Args:
            parts: the parts that hold its event and its changes.
            state: the whole state after this link; None to leave it out.
            updated: when the link was made, in seconds since the epoch.

        """
        added = sum(map(len, parts.values()))
        if state is None:
            since = replace(self, updated=updated, links=self.links + 1, size_bytes=self.size_bytes + added)
            return {**parts, "since": since.dumps()}
        whole = dumped(state)
        return {**parts, "state": whole, "since": Since(updated, state_bytes=len(whole)).dumps()}

    def dumps(self) -> bytes:
        """Return the JSON that `loads` reads. Stores contain `links` under the name "entries"."""
        return dumped(
            {
                "updated": self.updated,
                "entries": self.links,
                "size_bytes": self.size_bytes,
                "state_bytes": self.state_bytes,
            }
        )

    @classmethod
    def loads(cls, data: bytes) -> "Since":
        """Return the object whose JSON this is.

        Raises:
            TypeError, ValueError: it is not the JSON of such an object.

        """
        form = json_object(data)
        return cls(links=form.pop("entries", 0), **form)


@dataclass(frozen=True, slots=True)
class Link:
    """The content of one checkpoint of a session or of a shared state.

    Attributes:
        checkpoint_id: the checkpoint's id.
        parent_id: the id of the checkpoint before it.
        since: the links since the last whole state, this one included.
        changes: the JSON forms of the values that it changed.
        state: the JSON forms of the whole state after it; None if it does not contain the whole state.
        event: the JSON of its event; None if it has no event.
        is_earlier: whether it has the earlier layout, which stored the whole session with each event.

    """

    checkpoint_id: str
    parent_id: str
    since: Since
    changes: Json
    state: Json | None
    event: bytes | None = None
    is_earlier: bool = False


def read_link(loaded: LoadedCheckpoint, values: Values) -> Link:
    """Return the content of a checkpoint.

    Raises:
        CheckpointCorruptedError: this adapter did not write it.

    """
    parts = loaded.parts
    with readable(loaded.checkpoint_id):
        if "since" not in parts:
            return _earlier(loaded, values)
        return Link(
            loaded.checkpoint_id,
            loaded.info.parent_id,
            Since.loads(parts["since"]),
            json_object(parts.get("changes", b"{}")),
            json_object(parts["state"]) if "state" in parts else None,
            parts.get("event"),
        )


def _earlier(loaded: LoadedCheckpoint, values: Values) -> Link:
    """Return the content of a checkpoint of the earlier layout, which is plain JSON with the whole state."""
    is_session = "session" in loaded.parts
    whole = loaded.parts.get("session") or loaded.data
    found = json_object(whole)
    try:
        state = values.dump("state", found["state"] if is_session else found)
    except InvalidRequestError as error:
        raise ValueError(error.message) from None
    since = Since(found["last_update_time"] if is_session else 0.0, state_bytes=len(whole))
    return Link(
        loaded.checkpoint_id, loaded.info.parent_id, since, {}, state, loaded.parts.get("event"), is_earlier=True
    )


class StateBuilder:
    """A whole state that is built from links, which are added newest first.

    Attributes:
        state: the JSON forms of the state; None until a link with a whole state was added.

    """

    def __init__(self) -> None:
        self._newer: list[Json] = []
        self.state: Json | None = None

    def add(self, link: Link, changes: Json) -> None:
        """Add the link before those that were added.

        Args:
            link: the link.
            changes: those of its changes that belong to this state.

        """
        if self.state is not None:
            return
        if link.state is None:
            self._newer.append(changes)
            return
        self.state = dict(link.state)
        for newer in reversed(self._newer):
            self.state |= newer


async def links(chain: AsyncIterator[LoadedCheckpoint], values: Values) -> AsyncIterator[tuple[Link, bool]]:
    """Iterate over the links of a chain, newest first, each with whether its child is missing.

    Args:
        chain: the checkpoints, newest first.
        values: the codec of their values.

    Raises:
        CheckpointCorruptedError: this adapter did not write one of them.

    """
    child: Link | None = None
    async for loaded in chain:
        link = read_link(loaded, values)
        yield link, child is not None and child.parent_id != link.checkpoint_id
        child = link


def no_whole_state_error(checkpoint_id: str) -> HoldfastError:
    """Return the error for a chain that ends without a whole state."""
    return of_reason(
        "CHECKPOINT_CORRUPTED",
        f"no ancestor of checkpoint {checkpoint_id!r} contains the whole state",
        metadata={"checkpoint_id": checkpoint_id},
    )


@contextmanager
def readable(checkpoint_id: str) -> Iterator[None]:
    """Replace what the block raises because the content of a checkpoint cannot be read.

    Raises:
        CheckpointCorruptedError: the block has raised such an error.

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
    """Return the JSON forms that bytes contain.

    Raises:
        TypeError, ValueError: they are not a JSON object.

    """
    found = json.loads(data)
    if not isinstance(found, Mapping):
        raise TypeError(f"expected a JSON object, not {type(found).__name__}")
    return dict(found)
