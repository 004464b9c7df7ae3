# Generated from holdfast/_async/surface/deleting.py by tools/async_to_sync.py; do not edit.
"""The calls that delete checkpoints and workflows."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from holdfast._core import arguments
from holdfast._core.answers import require_all_deleted
from holdfast._core.arguments import OMITTED, Omitted
from holdfast._core.checkpoint import AcceptedFormat
from holdfast._sync.surface.base import Surface
from holdfast.v1 import checkpoint_service_pb2 as api


class Deleting(Surface):
    """Deletes checkpoints and workflows."""

    def delete(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str,
        *,
        purge: bool = False,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete a checkpoint.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint.
            purge: remove its bytes before this returns, and not only after the store's grace; also those of earlier
                checkpoints with this id, deleted ones too. The ids themselves stay until they are collected.
            epoch: the writer's epoch.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Returns:
            The revision of the deletion, the log's new head.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.DeleteRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id,
            request_id=request_id,
            epoch=epoch,
            purge=purge,
        )
        response = self._transport.unary("Delete", request, timeout)
        return int(response.revision)

    def delete_checkpoints(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        labels: Mapping[str, str] | Omitted = OMITTED,
        created_after: datetime | Omitted = OMITTED,
        created_before: datetime | Omitted = OMITTED,
        formats: Sequence[AcceptedFormat] = (),
        all: bool = False,  # noqa: A002 - the API's own word
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete the checkpoints that match a filter.

        Labels or a time are required unless `all` is set, so that a condition that was lost on its way here does not
        delete everything.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace.
            labels: the labels that a checkpoint must have.
            created_after: the earliest time of its save, with a time zone.
            created_before: the time before which it was saved, with a time zone.
            formats: the formats of which it must have one.
            all: delete every checkpoint, or every one of these formats; not together with labels or times.
            epoch: the writer's epoch, for one workflow.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for each page of workflows that deletes something, retries included.

        Returns:
            How many were deleted; those that an earlier attempt deleted do not count.

        Raises:
            InvalidRequestError: the filter has neither labels nor a time, and `all` is not set.
            TypeError: a condition has a value of another type, such as None: leave it out instead.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.DeleteCheckpointsRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            filter=self._filter(
                namespace,
                arguments.condition("labels", labels),
                arguments.condition("created_after", created_after),
                arguments.condition("created_before", created_before),
                formats,
            ),
            all=all,
            request_id=request_id,
            epoch=epoch,
        )
        deleted = 0
        for page in self._transport.pages("DeleteCheckpoints", request, self._transport.budget(timeout)):
            deleted += page.deleted
        return deleted

    def delete_workflow(
        self,
        namespace: str,
        workflow_id: str,
        *,
        purge: bool = False,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete every checkpoint of a workflow.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            purge: remove all bytes of the workflow before this returns, and not only after the store's grace; also
                those that were deleted before. The ids themselves stay until they are collected.
            epoch: the writer's epoch.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Returns:
            The revision of the deletion, the log's new head.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.DeleteWorkflowRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            request_id=request_id,
            epoch=epoch,
            purge=purge,
        )
        response = self._transport.unary("DeleteWorkflow", request, timeout)
        return int(response.revision)

    def delete_workflows(
        self,
        namespace: str,
        prefix: str,
        *,
        all: bool = False,  # noqa: A002 - the API's own word
        purge: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete every checkpoint and all records of the workflows whose ids begin with a prefix.

        To continue an interrupted deletion, repeat it with its request id. Workflows that begin during the call
        may stay.

        Args:
            namespace: the namespace.
            prefix: the text that the ids begin with. "a" also matches "ab": end it with a separator that ids contain
                nowhere else.
            all: delete every workflow of the namespace; the prefix must be "".
            purge: remove their bytes at once, and not after the store's grace, as `delete_workflow` does.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for each page of workflows that deletes something, retries included.

        Returns:
            How many workflows that held checkpoints were deleted; those that an earlier attempt deleted do not count.

        Raises:
            InvalidRequestError: the prefix is empty, and `all` is not set.
            CheckpointCorruptedError: the logs of some workflows are damaged, so that these stay; all others were
                deleted. The metadata names the first such workflow and how many there are.
            TypeError: the prefix is not text.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.DeleteWorkflowsRequest,
            namespace=namespace,
            workflow_id_prefix=prefix,
            all=all,
            request_id=request_id,
            purge=purge,
        )
        deleted = 0
        failed: list[api.FailedDeletion] = []
        for page in self._transport.pages("DeleteWorkflows", request, self._transport.budget(timeout)):
            deleted += page.deleted
            failed += page.failed
        require_all_deleted(failed, deleted, request)
        return deleted

    def prune(
        self,
        namespace: str,
        workflow_id: str,
        *,
        keep_last: int = 1,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete a workflow's checkpoints, except the newest ones and those that these need.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            keep_last: how many of the newest checkpoints to keep, at least 1.
            epoch: the writer's epoch.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Returns:
            How many were deleted.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.PruneRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            keep_last=keep_last,
            request_id=request_id,
            epoch=epoch,
        )
        response = self._transport.unary("Prune", request, timeout)
        return int(response.deleted)
