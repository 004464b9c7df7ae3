"""Save checkpoints, and keep notices of those that cannot be saved: the engine logs such a failure and continues."""

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
from holdfast.adapters.agent_framework.exclusive import ExclusiveRun, Save

_logger = logging.getLogger(__name__)


class Saver:
    """A saver of a storage's checkpoints, which remembers those that it could not save.

    Args:
        client: an open client.
        namespace: the namespace.
        workflow_id: the storage's workflow.
        contents: the codec of payloads.
        run: the storage's run if ownership is exclusive; otherwise None.

    """

    def __init__(
        self, client: AsyncClient, namespace: str, workflow_id: str, contents: Contents, run: ExclusiveRun | None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self._contents = contents
        self._run = run
        # By workflow name: the newest checkpoint that this process could not save, and the error.
        self._unsaved: dict[str, tuple[str, WorkflowCheckpointException]] = {}
        # The workflow names for which the store contains a notice.
        self._noticed: set[str] = set()

    def require_saved(self, workflow_name: str, latest: WorkflowCheckpoint | None) -> None:
        """Raise if this process could not save the newest checkpoint of a workflow's name.

        Args:
            workflow_name: the name.
            latest: the latest checkpoint in the store. It is the unsaved one if only the answer to its save was lost.

        Raises:
            WorkflowCheckpointException: the newest checkpoint could not be saved.

        """
        if workflow_name not in self._unsaved:
            return
        checkpoint_id, error = self._unsaved[workflow_name]
        if latest is None or latest.checkpoint_id != checkpoint_id:
            raise error.with_traceback(None)
        del self._unsaved[workflow_name]

    def forget_unsaved(self, workflow_name: str) -> None:
        """Forget the checkpoint that could not be saved, because the caller has named one to continue from."""
        self._unsaved.pop(workflow_name, None)

    def notice_found(self, workflow_name: str) -> None:
        """Remember that the store contains a notice for a workflow's name."""
        self._noticed.add(workflow_name)

    async def save(self, checkpoint: WorkflowCheckpoint) -> None:
        """Save a checkpoint. The errors are those of `HoldfastCheckpointStorage.save`."""
        name = checkpoint.workflow_name
        try:
            await self._save(checkpoint)
        except (WorkflowCheckpointException, HoldfastError) as error:
            _logger.error("checkpoint %s of workflow %r is not saved: %s", checkpoint.checkpoint_id, name, error)
            if isinstance(name, str):
                self._unsaved[name] = checkpoint.checkpoint_id, unsaved.error_for(checkpoint, error)
            if isinstance(error, WorkflowCheckpointException | PayloadTooLargeError):
                await self._save_notice(checkpoint, error)
            raise
        self._unsaved.pop(name, None)
        if name in self._noticed:
            self._noticed.discard(name)
            try:
                await self._client.delete(self._namespace, self._workflow_id, unsaved.notice_id(name))
            except (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError):
                pass
            except HoldfastError as error:
                _logger.warning("the notice of an older unsaved checkpoint could not be deleted: %s", error)

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

        await self._save_owned(checkpoint.previous_checkpoint_id, checkpoint.checkpoint_id, save)

    async def _save_notice(self, checkpoint: WorkflowCheckpoint, error: Exception) -> None:
        """Save the notice of a checkpoint that could not be saved; if that fails, too, log it."""

        async def save(expected_revision: int | None, epoch: int | None) -> Checkpoint:
            return await self._client.save(
                self._namespace,
                self._workflow_id,
                unsaved.payload(checkpoint, error),
                format=unsaved.FORMAT,
                checkpoint_id=unsaved.notice_id(checkpoint.workflow_name),
                labels=labels,
                replace=True,
                pinned=True,
                expected_revision=expected_revision,
                epoch=epoch,
            )

        try:
            labels = labels_of(checkpoint)
            id_of(checkpoint.checkpoint_id)
            await self._save_owned(checkpoint.previous_checkpoint_id, None, save)
            self._noticed.add(checkpoint.workflow_name)
        except (WorkflowCheckpointException, HoldfastError) as failed:
            _logger.warning("the notice of the unsaved checkpoint could not be saved: %s", failed)

    async def _save_owned(self, previous_id: str | None, checkpoint_id: str | None, save: Save) -> None:
        """Save; with exclusive ownership, only if the previous checkpoint is still the newest."""
        if self._run is None:
            await save(None, None)
            return
        await self._run.save(previous_id or None, checkpoint_id, save)
