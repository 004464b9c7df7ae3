# Generated from holdfast/_async/records.py by tools/async_to_sync.py; do not edit.
"""Calls that attach records to checkpoints, and read them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from holdfast._core import arguments, request_ids
from holdfast._core.answers import Collected, limit_of
from holdfast._core.budget import Budget
from holdfast._core.checkpoint import Record
from holdfast._sync.connection import Connection
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# What a server takes in one call.
_BATCH_BYTES = 3 << 20
_BATCH_RECORDS = 1000


class Records(Connection):
    """Attaches and reads records."""

    # What this client knows of: what it attaches comes behind that, whatever the clocks of servers say.
    _stamp = 0

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
        """Attach records to a checkpoint, which need not exist yet.

        Up to 3 MiB and 1000 records go in one call, all of them or none. What is more goes in several calls, in order.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint.
            records: the records; one whose key is taken gives way, unless it replaces.
            epoch: the writer's epoch.
            request_id: the idempotency key; made up where none is given.
            timeout: seconds for each call, retries included.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request_id = request_ids.new() if request_id is None else request_id
        for index, batch in enumerate(list(_batches(records))):
            request = arguments.request(
                api.AttachRecordsRequest,
                namespace=namespace,
                workflow_id=workflow_id,
                checkpoint_id=checkpoint_id,
                request_id=f"{request_id}-{index}" if index else request_id,
                records=batch,
                observed_stamp=self._stamp,
                epoch=epoch,
            )
            response = self._unary("AttachRecords", request, timeout)
            self._stamp = max(self._stamp, response.stamp)

    def records(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str,
        *,
        page_size: int = 0,
        max_bytes: int | None = None,
        timeout: float | None = None,
    ) -> tuple[Record, ...]:
        """Return the records of a checkpoint id, in the order of their keys, whether the checkpoint exists or not.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint.
            page_size: how many records to request at a time, at most 1000; 0 for as many as fit into 2 MiB.
            max_bytes: how many bytes their keys and data may have together; None for 512 MiB.
            timeout: seconds for everything, retries included.

        Raises:
            PayloadTooLargeError: there are more bytes.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListRecordsRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id,
            page_size=page_size,
        )
        found = Collected(limit_of(max_bytes))
        for response in self._pages("ListRecords", request, self._budget(timeout)):
            self._stamp = max(self._stamp, response.stamp)
            found.add(response.records)
        return tuple(found.records)

    def _records_of(self, checkpoint: checkpoint_pb2.Checkpoint, answer: Any, budget: Budget) -> tuple[Record, ...]:
        """The records of a checkpoint, from an answer that may hold them."""
        if answer.records_included:
            self._stamp = max(self._stamp, getattr(answer, "stamp", 0))
            found = Collected(None)
            found.add(answer.records)
            return tuple(found.records)
        with budget.spending() as seconds:
            return self.records(checkpoint.namespace, checkpoint.workflow_id, checkpoint.checkpoint_id, timeout=seconds)


def _batches(records: Iterable[Record]) -> Iterator[Sequence[checkpoint_pb2.Record]]:
    batch: list[checkpoint_pb2.Record] = []
    size = 0
    for index, given in enumerate(arguments.items("records", records, Record)):
        each = checkpoint_pb2.Record(
            key=arguments.text(f"records[{index}].key", given.key),
            data=arguments.octets(f"records[{index}].data", given.data),
            replace=arguments.flag(f"records[{index}].replace", given.replace),
        )
        added = len(each.key.encode()) + len(each.data)
        if batch and (size + added > _BATCH_BYTES or len(batch) == _BATCH_RECORDS):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += added
    if batch:
        yield batch
