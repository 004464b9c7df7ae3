"""Saves of checkpoints, and what is remembered of those that fail: the engine logs a failure, and goes on."""

import logging

from agent_framework import WorkflowCheckpoint
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import (
    CheckpointDeletedError,
    CheckpointNotFoundError,
    HoldfastError,
    PayloadTooLargeError,
    WorkflowNotFoundError,
)
from holdfast.adapters.agent_framework import unsaved
from holdfast.adapters.agent_framework.contents import FORMAT, Contents, id_of, labels_of
from holdfast.adapters.agent_framework.ownership import Owner, Save

_logger = logging.getLogger(__name__)


class Saves:
    """What a storage saves, and what it could not save.

    Args:
        client: the client.
        namespace: the namespace.
        workflow_id: the storage's workflow.
        contents: the payloads.
        owner: what the storage knows of its log, if its runs own it.

    """

    def __init__(
        self, client: AsyncClient, namespace: str, workflow_id: str, contents: Contents, owner: Owner | None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self._contents = contents
        self._owner = owner
        # By workflow names: why the newest checkpoint of this process is not in the store, and those entered there.
        self._unsaved: dict[str, tuple[str, WorkflowCheckpointException]] = {}
        self._entered: set[str] = set()

    def require_saved(self, workflow_name: str, latest: WorkflowCheckpoint | None) -> None:
        """Raise if the newest checkpoint of a workflow's name could not be saved by this process.

        Args:
            workflow_name: the name.
            latest: the latest one in the store: it may be that one, if the answer to its save was lost.

        """
        if workflow_name not in self._unsaved:
            return
        checkpoint_id, error = self._unsaved[workflow_name]
        if latest is None or latest.checkpoint_id != checkpoint_id:
            raise error.with_traceback(None)
        del self._unsaved[workflow_name]

    def chosen(self, workflow_name: str) -> None:
        """Forget what could not be saved, since a caller has named the checkpoint to go on from."""
        self._unsaved.pop(workflow_name, None)

    def entered(self, workflow_name: str) -> None:
        """Remember that the store has an entry for a checkpoint that could not be saved."""
        self._entered.add(workflow_name)

    async def save(self, checkpoint: WorkflowCheckpoint) -> None:
        """Save a checkpoint. For the errors see the storage."""
        name = checkpoint.workflow_name
        try:
            await self._save(checkpoint)
        except (WorkflowCheckpointException, HoldfastError) as error:
            _logger.error("checkpoint %s of workflow %r is not saved: %s", checkpoint.checkpoint_id, name, error)
            if isinstance(name, str):
                self._unsaved[name] = checkpoint.checkpoint_id, unsaved.error_for(checkpoint, error)
            if isinstance(error, WorkflowCheckpointException | PayloadTooLargeError):
                await self._enter_unsaved(checkpoint, error)
            raise
        self._unsaved.pop(name, None)
        if name in self._entered:
            self._entered.discard(name)
            try:
                await self._client.delete(self._namespace, self._workflow_id, unsaved.checkpoint_id(name))
            except (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError):
                pass
            except HoldfastError as error:
                _logger.warning("what stands for an older checkpoint that could not be saved stays: %s", error)

    async def _save(self, checkpoint: WorkflowCheckpoint) -> None:
        labels, data = labels_of(checkpoint), self._contents.payload(checkpoint)
        checkpoint_id = id_of(checkpoint.checkpoint_id)
        parent_id = id_of(checkpoint.previous_checkpoint_id) if checkpoint.previous_checkpoint_id else ""

        async def save(expected_revision: int | None, epoch: int | None) -> Checkpoint:
            return await self._client.save(
                self._namespace,
                self._workflow_id,
                data,
                format=FORMAT,
                checkpoint_id=checkpoint_id,
                parent_id=parent_id,
                labels=labels,
                expected_revision=expected_revision,
                epoch=epoch,
            )

        await self._owned(checkpoint.previous_checkpoint_id, checkpoint.checkpoint_id, save)

    async def _enter_unsaved(self, checkpoint: WorkflowCheckpoint, error: Exception) -> None:
        """Enter into the log that a checkpoint could not be saved, where that can be told at all."""

        async def save(expected_revision: int | None, epoch: int | None) -> Checkpoint:
            return await self._client.save(
                self._namespace,
                self._workflow_id,
                unsaved.payload(checkpoint, error),
                format=unsaved.FORMAT,
                checkpoint_id=unsaved.checkpoint_id(checkpoint.workflow_name),
                labels=labels,
                replace=True,
                pinned=True,
                expected_revision=expected_revision,
                epoch=epoch,
            )

        try:
            labels = labels_of(checkpoint)
            id_of(checkpoint.checkpoint_id)
            await self._owned(checkpoint.previous_checkpoint_id, None, save)
            self._entered.add(checkpoint.workflow_name)
        except (WorkflowCheckpointException, HoldfastError) as failed:
            _logger.warning("nor could that be entered into the store: %s", failed)

    async def _owned(self, previous_id: str | None, checkpoint_id: str | None, save: Save) -> None:
        """Save, with exclusive ownership only what comes after the newest checkpoint."""
        if self._owner is None:
            await save(None, None)
            return
        await self._owner.save(previous_id or None, checkpoint_id, save)
