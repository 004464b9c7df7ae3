"""Import the states of apps and users: each becomes one checkpoint with the whole state."""

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from holdfast._core.errors import (
    CheckpointDeletedError,
    CheckpointIdReusedError,
    InvalidRequestError,
    PayloadTooLargeError,
    RevisionConflictError,
)
from holdfast.adapters.adk.chain import Since, dumped, read_link
from holdfast.adapters.adk.checkpoints import Checkpoints
from holdfast.adapters.adk.states import FORMAT, FORMATS, SharedStates
from holdfast.adapters.adk.values import Json, Values
from holdfast.adapters.logs import UNLOADABLE
from holdfast.moving import Item, ItemError

_PREFIX = "import-"


@dataclass(frozen=True, slots=True)
class SharedTarget:
    """The target of states.

    Attributes:
        checkpoints: the checkpoints of the namespace.
        values: the codec of values.
        states: the states of apps and users.

    """

    checkpoints: Checkpoints
    values: Values
    states: SharedStates

    async def move(self, workflow: str, state: dict[str, Any], item: Item, *, dry_run: bool) -> None:
        """Import a state, unless the target has it.

        A state that an earlier import has written, and that nobody has changed since, follows the source. A state that
        sessions have changed since it was imported stays as it is.

        Raises:
            ItemError: the target has another state, or the state cannot be kept.
            HoldfastError: a subclass for each other reason.

        """
        item.add(read=1)
        try:
            form = self.values.dump("state", state)
        except InvalidRequestError as error:
            raise ItemError("UNREADABLE", error.message) from error
        checkpoint_id = _PREFIX + sha256(dumped(form)).hexdigest()[:32]
        newest = await self._newest(workflow)
        has_moved_on = newest is not None and newest.checkpoint_id != checkpoint_id
        is_present = newest is not None and await self._has(workflow, checkpoint_id, state, newest.checkpoint_id)
        if not is_present and not dry_run:
            await self._save(workflow, form, checkpoint_id, newest)
            has_moved_on = False
        item.add(written=int(not is_present), present=int(is_present))
        if not dry_run and not has_moved_on and await self._loaded(workflow) != state:
            raise ItemError("DIFFERENT", "the state differs in the target")
        item.add(verified=int(not dry_run))

    async def _newest(self, workflow: str) -> Any:
        try:
            return await self.checkpoints.find(workflow, FORMATS)
        except UNLOADABLE as error:
            raise ItemError("OTHER_CONTENT", f"the target is damaged: {error}") from error

    async def _has(self, workflow: str, checkpoint_id: str, state: dict[str, Any], newest_id: str) -> bool:
        """Return whether the target has the state, or had it since an earlier import.

        Raises:
            ItemError: it has another state that no import has written.

        """
        try:
            await self.checkpoints.load(workflow, FORMATS, checkpoint_id)
            return True
        except UNLOADABLE:
            pass
        if newest_id.startswith(_PREFIX):
            return False
        if await self._loaded(workflow) != state:
            raise ItemError("OTHER_CONTENT", "the target has another state, which no import has written")
        return True

    async def _save(self, workflow: str, form: Json, checkpoint_id: str, newest: Any) -> None:
        options: dict[str, Any] = {"expected_revision": 0}
        since = Since(time.time())
        if newest is not None:
            options = {"expected_revision": newest.head_revision or None, "parent_id": newest.checkpoint_id}
            since = read_link(newest, self.values).since
        data = since.parts({}, form, time.time())
        try:
            await self.checkpoints.save(workflow, data, format=FORMAT, checkpoint_id=checkpoint_id, **options)
        except (CheckpointDeletedError, CheckpointIdReusedError, RevisionConflictError) as error:
            raise ItemError("OTHER_CONTENT", f"another program has changed the target: {error}") from error
        except (InvalidRequestError, PayloadTooLargeError) as error:
            raise ItemError("UNREADABLE", f"it cannot be kept: {error}") from error

    async def _loaded(self, workflow: str) -> dict[str, Any]:
        try:
            return await self.states.of(workflow)
        except UNLOADABLE as error:
            raise ItemError("DIFFERENT", f"the state cannot be loaded from the target: {error}") from error
