"""Calls that change a workflow beside saves: deletions, fences, copies."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from holdfast._async.connection import AsyncConnection
from holdfast._core import arguments
from holdfast._core.answers import require_writer
from holdfast._core.checkpoint import AcceptedFormat, Writer, list_filter, writer
from holdfast._core.errors import of_reason
from holdfast._core.holders import this_process
from holdfast.v1 import checkpoint_service_pb2 as api


class AsyncChanges(AsyncConnection):
    """Deletes, prunes, copies and fences."""

    async def delete(
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
        """Delete a checkpoint. Returns the revision of the deletion, the log's new head.

        Its bytes are removed after the store's grace. With `purge` they are gone when this returns, also those of
        earlier checkpoints with this id, deleted ones too; the ids themselves stay until they are collected.

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
        response = await self._unary("Delete", request, timeout)
        return int(response.revision)

    async def delete_workflow(
        self,
        namespace: str,
        workflow_id: str,
        *,
        purge: bool = False,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete every checkpoint of a workflow. Returns the revision of the deletion.

        Their bytes are removed after the store's grace. With `purge` all that was in the workflow is gone when this
        returns, also what was deleted before; the ids themselves stay until they are collected.

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
        response = await self._unary("DeleteWorkflow", request, timeout)
        return int(response.revision)

    async def delete_workflows(
        self,
        namespace: str,
        prefix: str,
        *,
        all: bool = False,  # noqa: A002 - the API's own word
        purge: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete every checkpoint and all records of the workflows whose ids begin with a text.

        A deletion that broke goes on where it is made again with its request id. Workflows that begin during the call
        may stay.

        Args:
            namespace: the namespace.
            prefix: what the ids begin with. "a" means "ab", too: end it with a separator that ids hold nowhere else.
            all: delete every workflow of the namespace; the prefix must be "".
            purge: remove their bytes at once, and not after the store's grace, as `delete_workflow` does.
            request_id: the idempotency key; made up where none is given.
            timeout: seconds for each page of workflows that deletes something, retries included.

        Returns:
            How many workflows that held checkpoints were deleted; those that an earlier try deleted do not count.

        Raises:
            InvalidRequestError: the prefix is empty, and `all` is not set.
            CheckpointCorruptedError: a workflow's log is damaged, so that it stays; all others were deleted. The
                metadata names the first such workflow and how many there are.
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
        async for response in self._pages("DeleteWorkflows", request, self._budget(timeout)):
            deleted += response.deleted
            failed += response.failed
        if failed:
            raise of_reason(
                failed[0].reason,
                f"{len(failed)} workflows could not be deleted, {deleted} were; the first is "
                f"{failed[0].workflow_id!r}: {failed[0].message}",
                request_id=request.request_id,
                metadata={"workflow_id": failed[0].workflow_id, "failed": str(len(failed)), "deleted": str(deleted)},
            )
        return deleted

    async def acquire_writer(
        self,
        namespace: str,
        workflow_id: str,
        *,
        expected_revision: int | None = None,
        lease: timedelta | None = None,
        holder: str | None = None,
        force: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Writer:
        """Become the only writer of a workflow: saves with a lower epoch are refused from now on.

        With a lease, a second worker that was started by accident is refused instead of evicting the first. The lease
        is courtesy, judged by the clocks of servers: what keeps an evicted writer from committing is its epoch alone.

        Args:
            namespace: the namespace.
            workflow_id: the workflow, which need not exist yet.
            expected_revision: acquire only if nobody has saved since this revision of the log, deleted the whole
                workflow, or acquired it; 0: while no checkpoint exists; None: whatever happened.
            lease: refuse others without `force` for so long, from now and from each save, deletion and prune with the
                new epoch on; None: anybody may evict this writer at any time.
            holder: the name of the lease's holder, which others are told; None for this host and process.
            force: evict the holder of a lease that still lives.
            request_id: the idempotency key; made up where none is given.
            timeout: seconds for everything, retries included.

        Raises:
            LeaseHeldError: another writer's lease lives; the error names its holder and its end.
            RevisionConflictError: something since the expected revision stands against it; nothing was changed.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.AcquireWriterRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            expected_revision=expected_revision,
            holder=_default_holder(lease) if holder is None else holder,
            force=force,
            request_id=request_id,
        )
        if lease is not None:
            request.lease.FromTimedelta(arguments.duration("lease", lease))
        response = await self._unary("AcquireWriter", request, timeout)
        require_writer(response)
        return writer(response)

    async def delete_checkpoints(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        formats: Sequence[AcceptedFormat] = (),
        all: bool = False,  # noqa: A002 - the API's own word
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete the checkpoints that a filter finds. Returns how many; those that an earlier try deleted do not count.

        Labels or a time are required unless `all` is set, so that a condition that got lost on its way here does not
        delete everything.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace.
            labels: the labels that it must have.
            created_after: when it was saved at the earliest, with a time zone.
            created_before: before when it was saved, with a time zone.
            formats: of which it must have one.
            all: delete every checkpoint, or every one of these formats; not together with labels or times.
            epoch: the writer's epoch, for one workflow.
            request_id: the idempotency key; made up where none is given.
            timeout: seconds for each page of workflows that deletes something, retries included.

        Raises:
            InvalidRequestError: the filter has neither labels nor a time, and `all` is not set.
            TypeError: a condition has a value of another type, such as None for the workflow or for a label.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.DeleteCheckpointsRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            filter=list_filter(labels, created_after, created_before, formats),
            all=all,
            request_id=request_id,
            epoch=epoch,
        )
        deleted = 0
        async for response in self._pages("DeleteCheckpoints", request, self._budget(timeout)):
            deleted += response.deleted
        return deleted

    async def prune(
        self,
        namespace: str,
        workflow_id: str,
        *,
        keep_last: int = 1,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete a workflow's checkpoints but for the newest ones and what these need. Returns how many.

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
        response = await self._unary("Prune", request, timeout)
        return int(response.deleted)

    async def copy_workflow(
        self,
        namespace: str,
        workflow_id: str,
        target_workflow_id: str,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Copy all checkpoints of a workflow, with their records, into one that has none. Returns how many.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.CopyWorkflowRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            target_workflow_id=target_workflow_id,
            request_id=request_id,
        )
        response = await self._unary("CopyWorkflow", request, timeout)
        return int(response.copied)


def _default_holder(lease: timedelta | None) -> str:
    return "" if lease is None else this_process()
