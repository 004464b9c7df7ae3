"""Append events to sessions: commit the event if its session is current, then apply its changes to shared states."""

from dataclasses import replace

from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event
from google.adk.sessions import Session

from holdfast._core.checkpoint import LoadedCheckpoint, Record
from holdfast._core.errors import RevisionConflictError, WriterFencedError
from holdfast.adapters.adk.chain import Parts, json_object, read_link
from holdfast.adapters.adk.checkpoints import MISSING, Checkpoints
from holdfast.adapters.adk.origin import Origin, conflict
from holdfast.adapters.adk.reader import SESSION_FORMAT, SESSION_FORMATS, SessionReader
from holdfast.adapters.adk.states import SharedStates
from holdfast.adapters.adk.values import Json, Values
from holdfast.adapters.adk.workflows import SessionWorkflows
from holdfast.adapters.contention import Contention
from holdfast.adapters.runs import Ownership

# Attached to the checkpoint of an event once the event's changes to shared states are applied.
APPLIED = "shared-states-applied"


class Appender:
    """An appender of events to sessions.

    Args:
        checkpoints: the checkpoints of the namespace.
        values: the codec of values.
        reader: the reader of sessions.
        states: the states that sessions share.
        ownership: "exclusive": a run acquires its session at its first append.

    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        values: Values,
        reader: SessionReader,
        states: SharedStates,
        ownership: Ownership,
    ) -> None:
        self._checkpoints = checkpoints
        self._values = values
        self._reader = reader
        self._states = states
        self._ownership = ownership

    async def append(self, workflows: SessionWorkflows, session: Session, event: Event, parts: Parts) -> None:
        """Store an event, and set the session's origin to the stored version.

        Args:
            workflows: the session's workflows.
            session: the session, without the event.
            event: the event.
            parts: the event's parts.

        Raises:
            SessionConflictError: the session was changed since it was read, or another run acquired it.
            SessionNotFoundError: the session does not exist.
            HoldfastError: a subclass for each other reason.

        """
        shared, own = workflows.split(json_object(parts["changes"]))
        contention = Contention()
        while True:
            newest = await self._checkpoints.find(workflows.own, SESSION_FORMATS)
            if newest is None:
                raise SessionNotFoundError(f"Session {session.id} not found.")
            if all(newest.parts.get(name) == data for name, data in parts.items()):
                # An earlier append, whose answer was lost, has stored the event.
                stored, head = newest.checkpoint_id, newest.head_revision or None
                break
            base = await self._base(workflows, session, newest)
            since = read_link(base, self._values).since
            state = None
            if since.is_whole_state_due(sum(map(len, parts.values()))):
                state = await self._reader.state(workflows, base) | own
            try:
                saved = await self._checkpoints.save(
                    workflows.own,
                    since.parts(parts, state, event.timestamp),
                    format=SESSION_FORMAT,
                    parent_id=base.checkpoint_id,
                    needs_parent=True,
                    expected_revision=newest.head_revision or None,
                    epoch=await self._epoch(workflows, session),
                )
            except WriterFencedError as error:
                raise conflict(session, "another run acquired it") from error
            except RevisionConflictError as lost:
                # Since `find`, another entry was committed.
                contention.lost(lost)
                continue
            except MISSING:
                # Since `find`, the session was deleted.
                continue
            stored, head = saved.checkpoint_id, saved.revision
            break
        await self.apply(workflows, shared, stored)
        origin = Origin.of(session)
        Origin(stored, stored, head, None if origin is None else origin.epoch).put(session)

    async def apply(self, workflows: SessionWorkflows, shared: dict[str, Json], checkpoint_id: str) -> None:
        """Apply the changes of a checkpoint to shared states, once, and record that they are applied.

        Args:
            workflows: the session's workflows.
            shared: the changes, by the states' workflows.
            checkpoint_id: the checkpoint of the session that contains the changes.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        if shared:
            await self._states.apply(shared, workflows.change_id(checkpoint_id))
            await self._checkpoints.attach(workflows.own, checkpoint_id, Record(APPLIED, b""))

    async def apply_late(self, workflows: SessionWorkflows, newest: LoadedCheckpoint) -> None:
        """Apply the changes of a session's newest checkpoint to shared states, unless they are recorded as applied.

        The changes of older checkpoints are applied: otherwise the append of the newest one would have been refused.

        Args:
            workflows: the session's workflows.
            newest: the newest checkpoint, with its records.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        if all(record.key != APPLIED for record in newest.records):
            shared, _ = workflows.split(read_link(newest, self._values).changes)
            late = {
                workflow: delta
                for workflow, delta in shared.items()
                if not await self._states.may_be_collected(workflow, newest.info.created)
            }
            await self.apply(workflows, late, newest.checkpoint_id)

    async def _base(self, workflows: SessionWorkflows, session: Session, newest: LoadedCheckpoint) -> LoadedCheckpoint:
        """Return the checkpoint that a session object was made from, if the object is current.

        Raises:
            SessionConflictError: the session was changed since it was read.

        """
        origin = Origin.of(session)
        if origin is None:
            if self._ownership == "exclusive":
                raise conflict(session, "it was not read by this service, which owns its sessions exclusively")
            if read_link(newest, self._values).since.updated > session.last_update_time:
                raise conflict(session)
            return newest
        if origin.newest != newest.checkpoint_id:
            raise conflict(session)
        if origin.last_good == origin.newest:
            return newest
        return await self._checkpoints.load(workflows.own, SESSION_FORMATS, origin.last_good)

    async def _epoch(self, workflows: SessionWorkflows, session: Session) -> int | None:
        """Return the run's epoch, which its first append acquires; None if ownership is shared.

        Raises:
            SessionConflictError: the session was changed or acquired since the run read it.

        """
        origin = Origin.of(session)
        if self._ownership == "shared" or origin is None:
            return None
        if origin.epoch is not None:
            return origin.epoch
        try:
            writer = await self._checkpoints.acquire(workflows.own, origin.head)
        except RevisionConflictError as error:
            raise conflict(session, "another run acquired it since it was read") from error
        replace(origin, head=writer.revision, epoch=writer.epoch).put(session)
        return writer.epoch
