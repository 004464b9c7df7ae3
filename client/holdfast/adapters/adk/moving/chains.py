"""The checkpoints of an imported session: one with what its state began with, and one for each event.

The initial state of a session is not stored by ADK. It is taken to be what the state has apart from the changes of
events. The newest checkpoint contains the whole state, so what is loaded does not depend on that.
"""

from collections.abc import AsyncIterator

from google.adk.sessions import Session, State

from holdfast._core.checkpoint import Record
from holdfast._core.errors import HoldfastError
from holdfast.adapters.adk.appender import APPLIED
from holdfast.adapters.adk.chain import Parts, Since, json_object
from holdfast.adapters.adk.checkpoints import Checkpoints
from holdfast.adapters.adk.events import Events
from holdfast.adapters.adk.reader import SESSION_FORMAT
from holdfast.adapters.adk.values import Json, Values
from holdfast.adapters.adk.workflows import SessionWorkflows
from holdfast.adapters.entries import Entry
from holdfast.adapters.logs import Log
from holdfast.moving import ItemError

# The other parts are how a chain of checkpoints is stored, not what the session consists of.
COMPARED = frozenset({"event", "changes"})
_SHARED = (State.APP_PREFIX, State.USER_PREFIX)


def own_state(session: Session) -> dict[str, object]:
    """Return the state of a session without those that it shares."""
    return {key: value for key, value in session.state.items() if not key.startswith(_SHARED)}


class Chain:
    """The checkpoints of a session.

    Args:
        workflows: the session's workflows.
        session: the session as ADK loads it.
        values: the codec of values.
        events: the codec of events.

    Raises:
        ItemError: a value cannot be stored.

    """

    def __init__(self, workflows: SessionWorkflows, session: Session, values: Values, events: Events) -> None:
        self._workflows = workflows
        self._session = session
        self._events = events
        try:
            self._state = values.dump("state", own_state(session))
            self._changed = {key for event in session.events for key in event.actions.state_delta or {}}
        except HoldfastError as error:
            raise ItemError("UNREADABLE", error.message) from error

    @property
    def length(self) -> int:
        """How many checkpoints there are."""
        return len(self._session.events) + 1

    async def entries(self, log: Log) -> AsyncIterator[Entry]:
        """Iterate over the checkpoints, each with the one before it as its parent.

        Args:
            log: the log that they are compared with or put into.

        Raises:
            ItemError: an event cannot be stored.

        """
        session, updated = self._session, self._session.last_update_time
        state: Json = {key: value for key, value in self._state.items() if key not in self._changed}
        began = session.events[0].timestamp if session.events else updated
        data = Since(began).parts({}, state if session.events else self._state, began)
        yield Entry("the session", data, SESSION_FORMAT, compared=COMPARED)
        for number, event in enumerate(session.events, 1):
            name = f"event {number} ({event.id!r:.60})"
            try:
                parts = self._events.dump(event)
            except HoldfastError as error:
                raise ItemError("UNREADABLE", f"{name}: {error.message}") from error
            shared, own = self._workflows.split(json_object(parts["changes"]))
            state |= own
            since = Since.loads(data["since"])
            if number == len(session.events):
                data = since.parts(parts, self._state, updated)
            else:
                is_due = since.is_whole_state_due(sum(map(len, parts.values())))
                data = since.parts(parts, state if is_due else None, event.timestamp)
            yield Entry(
                name,
                data,
                SESSION_FORMAT,
                # Records are attached to a checkpoint whose id is known.
                checkpoint_id=f"import-{number}" if shared else "",
                parent_id=log.ids[number - 1] if number <= len(log.ids) else "",
                options={"needs_parent": True},
                compared=COMPARED,
            )

    async def applied(self, log: Log, checkpoints: Checkpoints) -> AsyncIterator[Entry]:
        """Iterate over the checkpoints, and record before each new one that its changes to shared states are applied.

        The states that sessions share are imported as they are. So a load must not apply the changes once more.

        Raises:
            ItemError, HoldfastError: as for `entries`, or a subclass of HoldfastError for each reason.

        """
        position = 0
        async for entry in self.entries(log):
            if entry.checkpoint_id and position >= log.length:
                await checkpoints.attach(self._workflows.own, entry.checkpoint_id, Record(APPLIED, b""))
            position += 1
            yield entry

    def parts_of(self, session: Session) -> list[Parts]:
        """Return the parts of a session's events."""
        return [self._events.dump(event) for event in session.events]
