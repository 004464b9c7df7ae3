"""Appends: an event is committed if its session is as it is stored; then its changes to shared states are applied."""

from dataclasses import replace

from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event
from google.adk.sessions import Session

from holdfast._core.checkpoint import LoadedCheckpoint, Record
from holdfast._core.errors import RevisionConflictError, WriterFencedError
from holdfast.adapters.adk.checkpoints import MISSING, Checkpoints
from holdfast.adapters.adk.entries import Parts, json_object, read_entry
from holdfast.adapters.adk.marks import Mark, conflict
from holdfast.adapters.adk.places import Place
from holdfast.adapters.adk.reads import SESSION_FORMAT, SESSION_FORMATS, Reads
from holdfast.adapters.adk.states import SharedStates
from holdfast.adapters.adk.values import Json, Values
from holdfast.adapters.runs import Ownership

# Attached to an event once its changes to shared states are applied.
_APPLIED = "shared-states-applied"


class Appends:
    """Appends events to sessions.

    Args:
        checkpoints: the place of them.
        values: the codec of their values.
        reads: reads them.
        states: the states that they share.
        ownership: whether a run acquires its session.

    """

    def __init__(
        self, checkpoints: Checkpoints, values: Values, reads: Reads, states: SharedStates, ownership: Ownership
    ) -> None:
        self._checkpoints = checkpoints
        self._values = values
        self._reads = reads
        self._states = states
        self._ownership = ownership

    async def append(self, place: Place, session: Session, event: Event, parts: Parts) -> None:
        """Store an event, and mark the session as one that has it.

        Args:
            place: the session's place.
            session: the session, without the event.
            event: the event.
            parts: the parts of it.

        Raises:
            SessionConflictError: the session is not as it is stored, or another run acquired it.
            SessionNotFoundError: there is none.
            HoldfastError: a subclass for each other reason.

        """
        shared, own = place.split(json_object(parts["changes"]))
        while True:
            newest = await self._checkpoints.find(place.workflow, SESSION_FORMATS)
            if newest is None:
                raise SessionNotFoundError(f"Session {session.id} not found.")
            if all(newest.parts.get(name) == data for name, data in parts.items()):
                # An append whose answer was lost had stored it.
                stored, head = newest.checkpoint_id, newest.head_revision or None
                break
            good = await self._base(place, session, newest)
            since = read_entry(good, self._values).since
            state = None
            if since.is_due(sum(map(len, parts.values()))):
                state = await self._reads.state(place, good) | own
            try:
                saved = await self._checkpoints.save(
                    place.workflow,
                    since.parts(parts, state, event.timestamp),
                    format=SESSION_FORMAT,
                    parent_id=good.checkpoint_id,
                    needs_parent=True,
                    expected_revision=newest.head_revision or None,
                    epoch=await self._epoch(place, session),
                )
            except WriterFencedError as error:
                raise conflict(session, "another run acquired it") from error
            except (RevisionConflictError, *MISSING):
                # Another event, a deletion, or an entry that is no checkpoint.
                continue
            stored, head = saved.checkpoint_id, saved.revision
            break
        await self.apply(place, shared, stored)
        mark = Mark.of(session)
        Mark(stored, stored, head, None if mark is None else mark.epoch).put(session)

    async def apply(self, place: Place, shared: dict[str, Json], checkpoint_id: str) -> None:
        """Apply the changes of a checkpoint to shared states, once, and note that."""
        if shared:
            await self._states.apply(shared, place.change_id(checkpoint_id))
            await self._checkpoints.attach(place.workflow, checkpoint_id, Record(_APPLIED, b""))

    async def apply_late(self, place: Place, newest: LoadedCheckpoint) -> None:
        """Apply the changes of a session's newest checkpoint to shared states, unless it is noted that they are.

        Those before it were applied, or the append of the newest one would have been refused.
        """
        if all(each.key != _APPLIED for each in newest.records):
            shared, _ = place.split(read_entry(newest, self._values).changes)
            late = {
                workflow: delta
                for workflow, delta in shared.items()
                if not await self._states.may_be_collected(workflow, newest.info.created)
            }
            await self.apply(place, late, newest.checkpoint_id)

    async def _base(self, place: Place, session: Session, newest: LoadedCheckpoint) -> LoadedCheckpoint:
        """Return the checkpoint that a session was made from, if it is as it is stored.

        Raises:
            SessionConflictError: it is not.

        """
        mark = Mark.of(session)
        if mark is None:
            if self._ownership == "exclusive":
                raise conflict(session, "it was not read by this service, which owns its sessions exclusively")
            if read_entry(newest, self._values).since.updated > session.last_update_time:
                raise conflict(session)
            return newest
        if mark.seen != newest.checkpoint_id:
            raise conflict(session)
        if mark.good == mark.seen:
            return newest
        return await self._checkpoints.load(place.workflow, SESSION_FORMATS, mark.good)

    async def _epoch(self, place: Place, session: Session) -> int | None:
        """Return the epoch of a run, acquired if it appends for the first time; None if ownership is shared.

        Raises:
            SessionConflictError: the session was written to, or acquired, since the run read it.

        """
        mark = Mark.of(session)
        if self._ownership == "shared" or mark is None:
            return None
        if mark.epoch is not None:
            return mark.epoch
        try:
            writer = await self._checkpoints.acquire(place.workflow, mark.head)
        except RevisionConflictError as error:
            raise conflict(session, "another run acquired it since it was read") from error
        replace(mark, head=writer.revision, epoch=writer.epoch).put(session)
        return writer.epoch
