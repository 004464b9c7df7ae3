"""App and user state, which sessions share. Each is a workflow of its own whose checkpoints contain changes."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.adk.sessions import Session, State

from holdfast._core.checkpoint import AcceptedFormat, Format, LoadedCheckpoint
from holdfast._core.errors import CheckpointDeletedError, CheckpointIdReusedError, RevisionConflictError
from holdfast.adapters.adk.chain import (
    MAX_LINKS,
    Link,
    Since,
    StateBuilder,
    dumped,
    links,
    no_whole_state_error,
    read_link,
    readable,
)
from holdfast.adapters.adk.checkpoints import Checkpoints
from holdfast.adapters.adk.values import Json, Values
from holdfast.adapters.adk.workflows import shared_workflows
from holdfast.adapters.contention import Contention

FORMAT = Format("adk-changes", 1)

# "adk-state" is the format of the earlier layout, which stored the whole state in each checkpoint.
FORMATS = [AcceptedFormat(FORMAT.name, 1, FORMAT.version), AcceptedFormat("adk-state", 1, 1)]

_FIRST = 1


class SharedStates:
    """The states of apps and users.

    Args:
        checkpoints: the checkpoints of the namespace.
        values: the codec of values.

    """

    def __init__(self, checkpoints: Checkpoints, values: Values) -> None:
        self._checkpoints = checkpoints
        self._values = values

    async def merge(self, session: Session, known: dict[str, dict[str, Any]] | None = None) -> Session:
        """Add the states that a session shares to its own state.

        Args:
            session: the session.
            known: the states that were loaded before, by their workflows; the others are added to it.

        Returns:
            The session.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        known = {} if known is None else known
        for prefix, workflow in shared_workflows(session.app_name, session.user_id).items():
            if workflow not in known:
                known[workflow] = await self.of(workflow)
            session.state |= {prefix + key: value for key, value in known[workflow].items()}
        return session

    async def of_user(self, app_name: str, user_id: str) -> dict[str, Any]:
        """Return a user's state, by keys without their prefix.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        return await self.of(shared_workflows(app_name, user_id)[State.USER_PREFIX])

    async def apply(self, deltas: Mapping[str, Json], change_id: str) -> None:
        """Apply changes to states, once. Changes that other sessions make concurrently are not lost.

        Args:
            deltas: the changes, by the states' workflows.
            change_id: the id of the checkpoints that store the changes.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        for workflow, delta in deltas.items():
            contention = Contention()
            while not await self._applied(workflow, delta, change_id, contention):
                pass

    async def may_be_collected(self, workflow: str, made: datetime) -> bool:
        """Return whether a change may have been applied, and its checkpoint collected since then.

        Collections remove a state's oldest checkpoints. So if a checkpoint is older than the change, or is the first of
        all, nothing that was made after it was collected.

        Args:
            workflow: the state's workflow.
            made: when the change was made.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        oldest = _FIRST
        async for info in self._checkpoints.newest_first(workflow):
            if info.created < made:
                return False
            oldest = info.revision
        return oldest != _FIRST

    async def _applied(self, workflow: str, delta: Json, change_id: str, contention: Contention) -> bool:
        """Attempt to apply a change. Return False if another change was committed concurrently."""
        newest = await self._checkpoints.find(workflow, FORMATS)
        parts, now = {"changes": dumped(delta)}, time.time()
        options: dict[str, Any] = {"expected_revision": 0}
        if newest is None:
            data = Since(now).parts({}, delta, now)
        else:
            options["expected_revision"] = newest.head_revision or None
            options["parent_id"] = newest.checkpoint_id
            link = read_link(newest, self._values)
            if self._checkpoints.fallback or link.since.is_whole_state_due(len(parts["changes"])):
                # With `fallback`, links before this one may be missing. A whole state does not need them.
                data = link.since.parts({}, await self._whole(workflow, newest, link) | delta, now)
            else:
                data = link.since.parts(parts, None, now)
                options["needs_parent"] = True
        try:
            await self._checkpoints.save(workflow, data, format=FORMAT, checkpoint_id=change_id, **options)
        except RevisionConflictError as conflict:
            contention.lost(conflict)
            return False
        except (CheckpointIdReusedError, CheckpointDeletedError):
            # An earlier attempt applied it.
            return True
        return True

    async def _whole(self, workflow: str, newest: LoadedCheckpoint, link: Link) -> Json:
        """Return the JSON forms of a state's values.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        builder = StateBuilder()
        page_size = min(link.since.links, MAX_LINKS)
        chain = self._checkpoints.chain(workflow, FORMATS, newest, page_size)
        async for ancestor, is_after_hole in links(chain, self._values):
            if is_after_hole:
                builder = StateBuilder()
            builder.add(ancestor, ancestor.changes)
            if builder.state is not None:
                return builder.state
        raise no_whole_state_error(newest.checkpoint_id)

    async def of(self, workflow: str) -> dict[str, Any]:
        """Return a state, by keys without their prefix; empty if it does not exist.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        newest = await self._checkpoints.find(workflow, FORMATS)
        if newest is None:
            return {}
        whole = await self._whole(workflow, newest, read_link(newest, self._values))
        with readable(newest.checkpoint_id):
            return self._values.load(whole)
