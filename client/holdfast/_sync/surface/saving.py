# Generated from holdfast/_async/surface/saving.py by tools/async_to_sync.py; do not edit.
"""The calls that add to a workflow: checkpoints, records and epochs."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from holdfast._core import arguments, holders
from holdfast._core.answers import require_writer
from holdfast._core.checkpoint import Checkpoint, Format, Record, Writer
from holdfast._core.messages import format_message, to_writer
from holdfast._core.payload import Data, Progress
from holdfast._sync import saves
from holdfast._sync.surface.base import Surface
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


class Saving(Surface):
    """Saves checkpoints, attaches records, and acquires the right to write."""

    def save(
        self,
        namespace: str,
        workflow_id: str,
        data: Data,
        *,
        format: Format,  # noqa: A002 - the API's own word
        checkpoint_id: str | None = None,
        parent_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        expected_revision: int | None = None,
        epoch: int | None = None,
        ttl: timedelta | None = None,
        replace: bool = False,
        needs_parent: bool = False,
        pinned: bool = False,
        fresh_id: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Save a checkpoint, of any size.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            data: bytes, an open binary file that can seek, or a mapping of part name to such values. A file or a
                buffer of more than 1 MiB must not change while it is saved.
            format: the payload's format.
            checkpoint_id: the id; None or "" lets the server choose.
            parent_id: the checkpoint that this one was made from; None or "" for none.
            labels: labels to find it by.
            expected_revision: commit only if since this revision of the log nobody has saved, deleted the whole
                workflow, or acquired it under another epoch; 0: while no checkpoint exists.
            epoch: the writer's epoch.
            ttl: how long it must be kept.
            replace: replace the checkpoint that has the same id, if there is one.
            needs_parent: it is of no use without its parent, which is kept as long as it is.
            pinned: keep it when retention by count and age or a prune would remove it; its own ttl and deletions of it
                still do.
            fresh_id: promise that no checkpoint of the workflow has the id or ever had it, which makes the save faster.
                If that is wrong and the server does not notice, two checkpoints have the id.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.
            progress: called with the bytes sent and all bytes, for payloads that are streamed.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        header = arguments.request(
            checkpoint_pb2.SaveHeader,
            namespace=namespace,
            workflow_id=workflow_id,
            request_id=request_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            parent_id="" if parent_id is None else parent_id,
            format=format_message(format),
            producer=self._producer,
            labels=labels,
            expected_revision=expected_revision,
            epoch=epoch,
            replace=replace,
            needs_parent=needs_parent,
            pinned=pinned,
            fresh_id=fresh_id,
        )
        if ttl is not None:
            header.ttl.FromTimedelta(arguments.duration("ttl", ttl))
        return saves.save(
            self._transport, self._protection, self._repeats, header, data, timeout=timeout, progress=progress
        )

    def attach(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str,
        records: Iterable[Record],
        *,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Attach records to a checkpoint id, whether the checkpoint exists or not.

        Up to 3 MiB and 1000 records go in one call, all of them or none. More records go in several calls, in order.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint.
            records: the records; one whose key exists is ignored, unless it replaces.
            epoch: the writer's epoch.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for each call, retries included.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.AttachRecordsRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id,
            request_id=request_id,
            epoch=epoch,
        )
        self._records.attach(request, records, timeout)

    def acquire_writer(
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
        """Become the only writer of a workflow: from now on, saves with a lower epoch are refused.

        With a lease, a second worker that was started by accident is refused instead of evicting the first. The lease
        is courtesy, judged by the clocks of servers: only the epoch keeps an evicted writer from committing.

        Args:
            namespace: the namespace.
            workflow_id: the workflow, which need not exist yet.
            expected_revision: acquire only if since this revision of the log nobody has saved, deleted the whole
                workflow, or acquired it; 0: while no checkpoint exists; None: in any case.
            lease: how long to refuse others without `force`, from now and from each save, deletion and prune with the
                new epoch; None: anybody may evict this writer at any time.
            holder: the name of the lease's holder, shown to others; None for this host and process.
            force: evict the holder of a lease that has not ended.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Raises:
            LeaseHeldError: another writer's lease has not ended; the error names its holder and its end.
            RevisionConflictError: a newer entry conflicts with the expected revision; nothing was changed.
            HoldfastError: a subclass for each other reason.

        """
        if holder is None:
            holder = "" if lease is None else holders.this_process()
        request = arguments.request(
            api.AcquireWriterRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            expected_revision=expected_revision,
            holder=holder,
            force=force,
            request_id=request_id,
        )
        if lease is not None:
            request.lease.FromTimedelta(arguments.duration("lease", lease))
        response = self._transport.unary("AcquireWriter", request, timeout)
        require_writer(response)
        return to_writer(response)
