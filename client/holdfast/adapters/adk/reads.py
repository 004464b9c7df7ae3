"""Reads of a session: its events and its state, from the chain of its checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from google.adk.events import Event
from google.adk.sessions.base_session_service import GetSessionConfig

from holdfast._core.checkpoint import AcceptedFormat, Format, LoadedCheckpoint
from holdfast.adapters.adk.checkpoints import MOST_IN_A_PAGE, Checkpoints
from holdfast.adapters.adk.entries import Entry, Folding, entries, read_entry, readable, without_whole_state
from holdfast.adapters.adk.events import Events
from holdfast.adapters.adk.places import Place
from holdfast.adapters.adk.values import Json, Values

SESSION_FORMAT = Format("adk-event", 1)

# The other one is that of the earlier layout, in which each checkpoint held the session whole.
SESSION_FORMATS = [AcceptedFormat(SESSION_FORMAT.name, 1, SESSION_FORMAT.version), AcceptedFormat("adk-session", 1, 1)]

_PAGE_BY_TIME = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A session, read.

    Attributes:
        entry: the newest entry whose ancestors are whole as far as they were read.
        events: the events that were asked for, oldest first.
        state: the JSON forms of the values of the session's own state.

    """

    entry: Entry
    events: Sequence[Event]
    state: Json


class Reads:
    """Reads sessions.

    Args:
        checkpoints: the place of them.
        values: the codec of their values.
        events: the codec of their events.

    """

    def __init__(self, checkpoints: Checkpoints, values: Values, events: Events) -> None:
        self._checkpoints = checkpoints
        self._values = values
        self._events = events

    async def read(self, place: Place, newest: LoadedCheckpoint, config: GetSessionConfig) -> Found:
        """Return the events that are asked for, and the state.

        Args:
            place: the session's place.
            newest: its newest checkpoint.
            config: which events.

        Raises:
            CheckpointCorruptedError: a checkpoint that is needed is damaged.
            HoldfastError: a subclass for each other reason.

        """
        limit = inf if config.num_recent_events is None else config.num_recent_events
        after = -inf if config.after_timestamp is None else config.after_timestamp
        first = good = read_entry(newest, self._values)
        page_size = max(first.since.entries, _page_size(limit, after))
        chain = self._checkpoints.chain(place.workflow, SESSION_FORMATS, newest, page_size)
        events: list[Event] = []
        folding, wants_events = Folding(), limit > 0
        async for entry, is_behind_hole in entries(chain, self._values):
            if is_behind_hole:
                good, events = entry, []
                folding, wants_events = Folding(), limit > 0
            folding.add(entry, place.split(entry.changes)[1])
            if wants_events:
                event = None if entry.event is None else self._events.load(entry)
                wants_events = event is not None and event.timestamp >= after
                if event is not None and wants_events:
                    events.append(event)
                    wants_events = len(events) < limit
            if folding.state is not None and not wants_events:
                break
        if folding.state is None:
            raise without_whole_state(newest.checkpoint_id)
        return Found(good, events[::-1], folding.state)

    async def state(self, place: Place, newest: LoadedCheckpoint) -> Json:
        """Return the JSON forms of the values of a session's own state.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        return (await self.read(place, newest, GetSessionConfig(num_recent_events=0))).state

    def values(self, found: Found) -> dict[str, Any]:
        """Return the values of a session's own state.

        Raises:
            CheckpointCorruptedError: this adapter did not write them.

        """
        with readable(found.entry.checkpoint_id):
            return self._values.load(found.state)


def _page_size(limit: float, after: float) -> int:
    """Return how many checkpoints to read in a call."""
    if limit < MOST_IN_A_PAGE:
        return int(limit)
    return MOST_IN_A_PAGE if after == -inf else _PAGE_BY_TIME
