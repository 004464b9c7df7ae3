"""Read the events and the state of a session from the chain of its checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from google.adk.events import Event
from google.adk.sessions.base_session_service import GetSessionConfig

from holdfast._core.checkpoint import AcceptedFormat, Format, LoadedCheckpoint
from holdfast.adapters.adk.chain import Link, StateBuilder, links, no_whole_state_error, read_link, readable
from holdfast.adapters.adk.checkpoints import MAX_PAGE, Checkpoints
from holdfast.adapters.adk.events import Events
from holdfast.adapters.adk.values import Json, Values
from holdfast.adapters.adk.workflows import SessionWorkflows

SESSION_FORMAT = Format("adk-event", 1)

# "adk-session" is the format of the earlier layout, which stored the whole session in each checkpoint.
SESSION_FORMATS = [AcceptedFormat(SESSION_FORMAT.name, 1, SESSION_FORMAT.version), AcceptedFormat("adk-session", 1, 1)]

_PAGE_BY_TIME = 100


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of a session.

    Attributes:
        link: the newest link that has no missing ancestor among those that were read.
        events: the requested events, oldest first.
        state: the JSON forms of the values of the session's own state.

    """

    link: Link
    events: Sequence[Event]
    state: Json


class SessionReader:
    """A reader of sessions.

    Args:
        checkpoints: the checkpoints of the namespace.
        values: the codec of values.
        events: the codec of events.

    """

    def __init__(self, checkpoints: Checkpoints, values: Values, events: Events) -> None:
        self._checkpoints = checkpoints
        self._values = values
        self._events = events

    async def read(self, workflows: SessionWorkflows, newest: LoadedCheckpoint, config: GetSessionConfig) -> Found:
        """Return the requested events, and the state.

        Args:
            workflows: the session's workflows.
            newest: its newest checkpoint.
            config: which events to return.

        Raises:
            CheckpointCorruptedError: a checkpoint that is needed is damaged.
            HoldfastError: a subclass for each other reason.

        """
        limit = inf if config.num_recent_events is None else config.num_recent_events
        after = -inf if config.after_timestamp is None else config.after_timestamp
        first = last_good = read_link(newest, self._values)
        page_size = max(first.since.links, _page_size(limit, after))
        chain = self._checkpoints.chain(workflows.own, SESSION_FORMATS, newest, page_size)
        events: list[Event] = []
        builder, needs_events = StateBuilder(), limit > 0
        async for link, is_after_hole in links(chain, self._values):
            if is_after_hole:
                last_good, events = link, []
                builder, needs_events = StateBuilder(), limit > 0
            builder.add(link, workflows.split(link.changes)[1])
            if needs_events:
                event = None if link.event is None else self._events.load(link)
                needs_events = event is not None and event.timestamp >= after
                if event is not None and needs_events:
                    events.append(event)
                    needs_events = len(events) < limit
            if builder.state is not None and not needs_events:
                break
        if builder.state is None:
            raise no_whole_state_error(newest.checkpoint_id)
        return Found(last_good, events[::-1], builder.state)

    async def state(self, workflows: SessionWorkflows, newest: LoadedCheckpoint) -> Json:
        """Return the JSON forms of the values of a session's own state.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        return (await self.read(workflows, newest, GetSessionConfig(num_recent_events=0))).state

    def values(self, found: Found) -> dict[str, Any]:
        """Return the values of a session's own state.

        Raises:
            CheckpointCorruptedError: this adapter did not write them.

        """
        with readable(found.link.checkpoint_id):
            return self._values.load(found.state)


def _page_size(limit: float, after: float) -> int:
    """Return how many checkpoints to read in a call."""
    if limit < MAX_PAGE:
        return int(limit)
    return MAX_PAGE if after == -inf else _PAGE_BY_TIME
