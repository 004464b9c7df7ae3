"""Workflows of Microsoft Agent Framework that keep their checkpoints in Holdfast.

A storage is one workflow of Holdfast, with a log of its own: best one for each run, since what the engine calls the
latest checkpoint is the latest of a workflow's definition, whoever ran it. The engine's own stores pickle; here a
checkpoint is JSON, and only classes that are allowed are written or restored.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self

from agent_framework import WorkflowCheckpoint
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast._core.errors import CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError
from holdfast.adapters import runs
from holdfast.adapters.agent_framework import unsaved
from holdfast.adapters.agent_framework.contents import Contents, id_in, id_of
from holdfast.adapters.agent_framework.ownership import Owner
from holdfast.adapters.agent_framework.reads import Reads
from holdfast.adapters.agent_framework.saves import Saves
from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id
from holdfast.adapters.runs import Ownership

_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)


class HoldfastCheckpointStorage:
    """A `CheckpointStorage`.

    Args:
        client: an open client, which stays the caller's.
        namespace: where the checkpoints are kept.
        workflow_id: the run, or whatever else has its checkpoints together.
        fallback: answer a damaged checkpoint with the newest older one that is whole, as its id tells. Off, damage is
            an error.
        allowed_checkpoint_types: the application's own classes that a checkpoint may hold, as "module:qualname"; those
            given to `agent_framework.register_checkpoint_type`, and the engine's own, need no mention.
        ownership: "exclusive": a run saves only while what it began from is still the newest checkpoint of the
            storage, and a process that was overtaken is refused; "shared": any process may save at any time.

    Raises:
        ValueError: the workflow's id is empty, or the ownership is none.

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
        is_exclusive = runs.checked_ownership(ownership) == "exclusive"
        self._owner = Owner(client, namespace, self._workflow_id) if is_exclusive else None
        contents = Contents(frozenset(allowed_checkpoint_types))
        self._saves = Saves(client, namespace, self._workflow_id, contents, self._owner)
        self._reads = Reads(
            client, namespace, self._workflow_id, contents, fallback=fallback, entered=self._saves.entered
        )

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls,
        target: str,
        *,
        namespace: str = "default",
        workflow_id: str = "checkpoints",
        fallback: bool = False,
        allowed_checkpoint_types: Iterable[str] = (),
        ownership: Ownership = "shared",
        **client_options: Any,
    ) -> AsyncIterator[Self]:
        """A storage with a client of its own, which is closed with the block.

        Args:
            target: host:port, or any target that gRPC takes.
            namespace: as for the class, like the next four.
            workflow_id: the run.
            fallback: answer damage with an older checkpoint.
            allowed_checkpoint_types: the application's own classes.
            ownership: whether a run owns the storage.
            client_options: what `holdfast.AsyncClient` takes.

        """
        async with AsyncClient(target, **client_options) as client:
            yield cls(
                client,
                namespace=namespace,
                workflow_id=workflow_id,
                fallback=fallback,
                allowed_checkpoint_types=allowed_checkpoint_types,
                ownership=ownership,
            )

    async def save(self, checkpoint: WorkflowCheckpoint) -> str:
        """Save a checkpoint under its id, as it is now. Returns the id.

        The engine logs what is raised here, and goes on. Until a later checkpoint of the workflow's name is saved,
        `get_latest` therefore raises that this one is missing, in any process if the store could be told of it.

        Raises:
            WorkflowCheckpointException: it holds what cannot be restored, or its id, timestamp or name is none.
            WriterFencedError, RevisionConflictError: with exclusive ownership, another process has saved since this
                run began, or owns the storage; nothing was stored.
            CheckpointIdReusedError: the id belongs to a checkpoint with other content, or to a deleted one.
            HoldfastError: a subclass for each other reason.

        """
        previous = checkpoint.previous_checkpoint_id
        if self._owner is not None and isinstance(previous, str) and previous and not self._owner.knows(previous):
            await self._loaded_by_id(previous)
        await self._saves.save(checkpoint)
        return checkpoint.checkpoint_id

    async def load(self, checkpoint_id: str) -> WorkflowCheckpoint:
        """The checkpoint of an id; with `fallback`, an older one where it is damaged.

        Raises:
            WorkflowCheckpointException: there is none, or it holds what may not be restored.
            CheckpointCorruptedError: it is damaged, and `fallback` is off or finds nothing.
            HoldfastError: a subclass for each other reason.

        """
        found = self._reads.checkpoint(await self._loaded_by_id(checkpoint_id))
        if self._owner is not None:
            self._owner.begin()
        self._saves.chosen(found.workflow_name)
        return found

    async def _loaded_by_id(self, checkpoint_id: str) -> LoadedCheckpoint:
        try:
            loaded = await self._reads.load(id_of(checkpoint_id), fallback=self._fallback)
        except _ABSENT as error:
            raise WorkflowCheckpointException(f"No checkpoint found with ID {checkpoint_id}") from error
        if self._owner is not None:
            # Asked for after the load: what was saved in between is newer, and stands against the run.
            is_newest = await self._reads.newest_revision() == loaded.info.revision
            base = loaded.head_revision if is_newest else 0
            self._owner.found(id_in(loaded.info), max(base, loaded.info.revision))
        return loaded

    async def list_checkpoints(self, *, workflow_name: str) -> list[WorkflowCheckpoint]:
        """The checkpoints of a workflow's name, in the order in which they were saved.

        One that cannot be read, or could not be saved, is an `Unreadable` in its place: its id, name and timestamp
        are known, and reading anything else of it raises why. With `fallback`, damaged ones are left out.

        Raises:
            CheckpointCorruptedError: damage hides which checkpoints there are, and `fallback` is off.
            HoldfastError: a subclass for each other reason.

        """
        return await self._reads.all(workflow_name)

    async def list_checkpoint_ids(self, *, workflow_name: str) -> list[str]:
        """The ids of a workflow's name, in the order in which they were saved.

        Raises:
            WorkflowCheckpointException: the name is none.
            HoldfastError: a subclass for each reason.

        """
        infos = [info async for info in self._reads.listed(workflow_name) if not unsaved.is_entry(info)]
        return [id_in(info) for info in reversed(infos)]

    async def delete(self, checkpoint_id: str) -> bool:
        """Delete a checkpoint. Returns whether there was one.

        Raises:
            WorkflowCheckpointException: the id is none.
            HoldfastError: a subclass for each reason.

        """
        return await self._delete(id_of(checkpoint_id))

    async def _delete(self, holdfast_checkpoint_id: str) -> bool:
        try:
            await self._client.delete(self._namespace, self._workflow_id, holdfast_checkpoint_id)
        except _ABSENT:
            return False
        return True

    async def get_latest(self, *, workflow_name: str) -> WorkflowCheckpoint | None:
        """The checkpoint with the latest timestamp of a workflow's name; None where there is none.

        Raises:
            WorkflowCheckpointException: it holds what may not be restored, or a later one could not be saved.
            CheckpointCorruptedError: it is damaged, and `fallback` is off or finds nothing.
            HoldfastError: a subclass for each other reason.

        """
        found = await self._reads.latest(workflow_name)
        if self._owner is not None and found is None:
            head = await self._owner.head()
            # None as of that head, too.
            found = await self._reads.latest(workflow_name)
            if found is None:
                self._owner.found(None, head)
        self._saves.require_saved(workflow_name, found)
        if self._owner is not None and found is not None:
            await self._loaded_by_id(found.checkpoint_id)
        return found
