"""App and user state: what sessions share, each in a workflow of its own whose checkpoints hold changes."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.adk.sessions import Session, State

from holdfast._core.checkpoint import AcceptedFormat, Format, LoadedCheckpoint
from holdfast._core.errors import CheckpointDeletedError, CheckpointIdReusedError, RevisionConflictError
from holdfast.adapters.adk.checkpoints import Checkpoints
from holdfast.adapters.adk.entries import (
    MOST_ENTRIES,
    Entry,
    Folding,
    Since,
    dumped,
    entries,
    read_entry,
    readable,
    without_whole_state,
)
from holdfast.adapters.adk.places import shared_workflows
from holdfast.adapters.adk.values import Json, Values

FORMAT = Format("adk-changes", 1)

# The other one is that of the earlier layout, in which each checkpoint held the state whole.
_FORMATS = [AcceptedFormat(FORMAT.name, 1, FORMAT.version), AcceptedFormat("adk-state", 1, 1)]


_FIRST = 1


class SharedStates:
    """The states of apps and users.

    Args:
        checkpoints: the place of them.
        values: the codec of their values.

    """

    def __init__(self, checkpoints: Checkpoints, values: Values) -> None:
        self._checkpoints = checkpoints
        self._values = values

    async def merge(self, session: Session, known: dict[str, dict[str, Any]] | None = None) -> Session:
        """Return a session with the states that it shares, of which `known` keeps those that were loaded."""
        known = {} if known is None else known
        for prefix, workflow in shared_workflows(session.app_name, session.user_id).items():
            if workflow not in known:
                known[workflow] = await self._load(workflow)
            session.state |= {prefix + key: value for key, value in known[workflow].items()}
        return session

    async def of_user(self, app_name: str, user_id: str) -> dict[str, Any]:
        """Return a user's state, by keys without their prefix."""
        return await self._load(shared_workflows(app_name, user_id)[State.USER_PREFIX])

    async def apply(self, deltas: Mapping[str, Json], change_id: str) -> None:
        """Apply changes to states, which other sessions change too, without losing any. A change is applied once.

        Args:
            deltas: the changes, by the states' workflows.
            change_id: the id of this change.

        """
        for workflow, delta in deltas.items():
            while not await self._applied(workflow, delta, change_id):
                pass

    async def may_be_collected(self, workflow: str, made: datetime) -> bool:
        """Tell whether a change may have been applied, and its checkpoint collected since.

        Collections take a state's checkpoints from the oldest on. So one that is older than the change, or the first of
        all, shows that nothing made later was collected.

        Args:
            workflow: the state's workflow.
            made: when the change was made.

        """
        oldest = _FIRST
        async for each in self._checkpoints.newest_first(workflow):
            if each.created < made:
                return False
            oldest = each.revision
        return oldest != _FIRST

    async def _applied(self, workflow: str, delta: Json, change_id: str) -> bool:
        """Try to apply a change. Returns False if another one came in between."""
        newest = await self._checkpoints.find(workflow, _FORMATS)
        parts, now = {"changes": dumped(delta)}, time.time()
        options: dict[str, Any] = {"expected_revision": 0}
        if newest is None:
            data = Since(now).parts({}, delta, now)
        else:
            options["expected_revision"] = newest.head_revision or None
            options["parent_id"] = newest.checkpoint_id
            entry = read_entry(newest, self._values)
            if self._checkpoints.fallback or entry.since.is_due(len(parts["changes"])):
                # With `fallback` the entries before may have a hole: a whole state does not need them.
                data = entry.since.parts({}, await self._whole(workflow, newest, entry) | delta, now)
            else:
                data = entry.since.parts(parts, None, now)
                options["needs_parent"] = True
        try:
            await self._checkpoints.save(workflow, data, format=FORMAT, checkpoint_id=change_id, **options)
        except RevisionConflictError:
            return False
        except (CheckpointIdReusedError, CheckpointDeletedError):
            # An earlier try applied it.
            return True
        return True

    async def _whole(self, workflow: str, newest: LoadedCheckpoint, entry: Entry) -> Json:
        """Return the JSON forms of a state's values."""
        folding = Folding()
        page_size = min(entry.since.entries, MOST_ENTRIES)
        chain = self._checkpoints.chain(workflow, _FORMATS, newest, page_size)
        async for each, is_behind_hole in entries(chain, self._values):
            if is_behind_hole:
                folding = Folding()
            folding.add(each, each.changes)
            if folding.state is not None:
                return folding.state
        raise without_whole_state(newest.checkpoint_id)

    async def _load(self, workflow: str) -> dict[str, Any]:
        newest = await self._checkpoints.find(workflow, _FORMATS)
        if newest is None:
            return {}
        whole = await self._whole(workflow, newest, read_entry(newest, self._values))
        with readable(newest.checkpoint_id):
            return self._values.load(whole)
