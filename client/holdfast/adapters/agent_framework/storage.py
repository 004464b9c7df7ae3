"""The checkpoint storage, which implements Agent Framework's interface.

A storage is a workflow of Holdfast. Give each run a storage of its own: for the engine, the latest checkpoint is the
latest of a workflow's name, whichever run saved it. The engine's own stores use pickle. Here a checkpoint is JSON, and
only classes that are allowed are written or restored.
"""

from collections.abc import Iterable

from agent_framework import WorkflowCheckpoint
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast._core.errors import CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError
from holdfast.adapters.agent_framework import unsaved
from holdfast.adapters.agent_framework.contents import Contents, id_in, id_of
from holdfast.adapters.agent_framework.exclusive import ExclusiveRun
from holdfast.adapters.agent_framework.reader import Reader
from holdfast.adapters.agent_framework.saver import Saver
from holdfast.adapters.from_target import AsyncFromTarget
from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id
from holdfast.adapters.runs import Ownership, checked_ownership

_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)


class HoldfastCheckpointStorage(AsyncFromTarget):
    """A `CheckpointStorage` for Agent Framework. Several event loops may share it.

    Args:
        client: an open client, which the caller closes.
        namespace: the namespace of the checkpoints.
        workflow_id: the run, or whatever else has its checkpoints together.
        fallback: return the newest older checkpoint that is whole if a checkpoint is damaged, and log which ones were
            skipped; otherwise raise CheckpointCorruptedError.
        allowed_checkpoint_types: the application's classes that a checkpoint may contain, as "module:qualname". Classes
            given to `agent_framework.register_checkpoint_type`, and the engine's data classes, are allowed as well.
        ownership: "exclusive": a run saves only while the checkpoint it began from is still the newest of the storage,
            and a process that was overtaken is refused. "shared": any process may save at any time.

    Raises:
        ValueError: `workflow_id` is empty, or `ownership` is neither "shared" nor "exclusive".

    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str = "default",
        workflow_id: str = "checkpoints",
        fallback: bool = False,
        allowed_checkpoint_types: Iterable[str] = (),
        ownership: Ownership = "shared",
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = holdfast_id(workflow_id, WORKFLOW_BYTES)
        self._fallback = fallback
        is_exclusive = checked_ownership(ownership) == "exclusive"
        self._run = ExclusiveRun(client, namespace, self._workflow_id) if is_exclusive else None
        contents = Contents(frozenset(allowed_checkpoint_types))
        self._saver = Saver(client, namespace, self._workflow_id, contents, self._run)
        self._reader = Reader(
            client, namespace, self._workflow_id, contents, fallback=fallback, on_notice=self._saver.notice_found
        )

    async def save(self, checkpoint: WorkflowCheckpoint) -> str:
        """Save a checkpoint, and return its id. Later changes to the object do not affect the stored checkpoint.

        The engine logs an error raised here, and continues. So `get_latest` raises until a later checkpoint of the
        workflow's name is saved: in this process, and in all others if a notice could be stored.

        Args:
            checkpoint: the checkpoint.

        Raises:
            WorkflowCheckpointException: a value in it cannot be restored, or its id, timestamp or name is not valid.
            WriterFencedError, RevisionConflictError: with exclusive ownership, another process has saved since this
                run began, or owns the storage. Nothing was stored.
            CheckpointIdReusedError: another checkpoint has this id, or a deleted one had it.
            HoldfastError: a subclass for each other reason.

        """
        previous = checkpoint.previous_checkpoint_id
        if self._run is not None and isinstance(previous, str) and previous and not self._run.knows(previous):
            await self._loaded_by_id(previous)
        await self._saver.save(checkpoint)
        return checkpoint.checkpoint_id

    async def load(self, checkpoint_id: str) -> WorkflowCheckpoint:
        """Return a checkpoint; if it is damaged and `fallback` is set, the newest older one that is whole.

        With exclusive ownership, a run begins with this call.

        Args:
            checkpoint_id: the checkpoint's id.

        Raises:
            WorkflowCheckpointException: it does not exist, or contains a class that is not allowed.
            CheckpointCorruptedError: it is damaged, and `fallback` is not set or finds no older one.
            HoldfastError: a subclass for each other reason.

        """
        found = self._reader.checkpoint(await self._loaded_by_id(checkpoint_id))
        if self._run is not None:
            self._run.begin()
        self._saver.forget_unsaved(found.workflow_name)
        return found

    async def _loaded_by_id(self, checkpoint_id: str) -> LoadedCheckpoint:
        try:
            loaded = await self._reader.load(id_of(checkpoint_id), fallback=self._fallback)
        except _ABSENT as error:
            raise WorkflowCheckpointException(f"No checkpoint found with ID {checkpoint_id}") from error
        if self._run is not None:
            # Read after the load: a checkpoint that was saved in between is newer, and conflicts with the run.
            is_newest = await self._reader.newest_revision() == loaded.info.revision
            base = loaded.head_revision if is_newest else 0
            self._run.found(id_in(loaded.info), max(base, loaded.info.revision))
        return loaded

    async def list_checkpoints(self, *, workflow_name: str) -> list[WorkflowCheckpoint]:
        """Return the checkpoints of a workflow's name, in the order in which they were saved.

        An `Unreadable` takes the place of a checkpoint that cannot be read or could not be saved. Its id, name and
        timestamp are known; reading another attribute raises the error. With `fallback`, damaged ones are left out.

        Args:
            workflow_name: the workflow's name.

        Raises:
            WorkflowCheckpointException: the name is not valid.
            CheckpointCorruptedError: damage hides which checkpoints exist, and `fallback` is not set.
            HoldfastError: a subclass for each other reason.

        """
        return await self._reader.all(workflow_name)

    async def list_checkpoint_ids(self, *, workflow_name: str) -> list[str]:
        """Return the ids of the checkpoints of a workflow's name, in the order in which they were saved.

        Args:
            workflow_name: the workflow's name.

        Raises:
            WorkflowCheckpointException: the name is not valid.
            CheckpointCorruptedError: damage hides which checkpoints exist, and `fallback` is not set.
            HoldfastError: a subclass for each other reason.

        """
        infos = [info async for info in self._reader.listed(workflow_name) if not unsaved.is_notice(info)]
        return [id_in(info) for info in reversed(infos)]

    async def delete(self, checkpoint_id: str) -> bool:
        """Delete a checkpoint, and return whether it existed.

        Args:
            checkpoint_id: the checkpoint's id.

        Raises:
            WorkflowCheckpointException: the id is not valid.
            HoldfastError: a subclass for each other reason.

        """
        try:
            await self._client.delete(self._namespace, self._workflow_id, id_of(checkpoint_id))
        except _ABSENT:
            return False
        return True

    async def get_latest(self, *, workflow_name: str) -> WorkflowCheckpoint | None:
        """Return the checkpoint with the latest timestamp of a workflow's name; None if none exists.

        Args:
            workflow_name: the workflow's name.

        Raises:
            WorkflowCheckpointException: it contains a class that is not allowed, a later one could not be saved, or
                the name is not valid.
            CheckpointCorruptedError: it is damaged, and `fallback` is not set or finds no older one.
            HoldfastError: a subclass for each other reason.

        """
        found = await self._reader.latest(workflow_name)
        if self._run is not None and found is None:
            head = await self._run.head()
            # Read again: a checkpoint may have been saved before the head was read.
            found = await self._reader.latest(workflow_name)
            if found is None:
                self._run.found(None, head)
        self._saver.require_saved(workflow_name, found)
        if self._run is not None and found is not None:
            await self._loaded_by_id(found.checkpoint_id)
        return found
