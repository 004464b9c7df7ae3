# Generated from holdfast/_async/records.py by tools/async_to_sync.py; do not edit.
"""Records of checkpoints: attaching them in batches, reading them over all pages."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from holdfast._core import arguments
from holdfast._core.answers import Collected
from holdfast._core.budget import Budget
from holdfast._core.checkpoint import Record
from holdfast._sync.opening import Opening
from holdfast._sync.transport import Transport
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# The most that a server accepts in one call.
_BATCH_BYTES = 3 << 20
_BATCH_RECORDS = 1000


class Records:
    """The calls of one client that attach and read records.

    It remembers the newest stamp that the client has seen, so that the records it attaches are ordered after everything
    it has read, whatever the clocks of the servers say.
    """

    def __init__(self, transport: Transport, opening: Opening) -> None:
        self._transport = transport
        self._opening = opening
        self._stamp = 0

    def observe(self, stamp: int) -> None:
        """Note a stamp that the client has seen."""
        self._stamp = max(self._stamp, stamp)

    def attach(self, request: api.AttachRecordsRequest, records: Iterable[Record], timeout: float | None) -> None:
        """Attach records, in as many calls as they need, in their order.

        Args:
            request: everything but the records. The request ids of the second call and later ones get a number.
            records: the records.
            timeout: seconds for each call, retries included; None for the client's own.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        sealed = self._opening.sealed_records(
            request.namespace, request.workflow_id, request.checkpoint_id, arguments.items("records", records, Record)
        )
        self.attach_stored(request, sealed, timeout)

    def attach_stored(
        self, request: api.AttachRecordsRequest, records: Iterable[Record], timeout: float | None
    ) -> None:
        """Attach records as they are to be stored. The arguments and errors are those of `attach`."""
        request_id = request.request_id
        for index, batch in enumerate(list(_batches(records))):
            del request.records[:]
            request.records.extend(batch)
            request.observed_stamp = self._stamp
            request.request_id = f"{request_id}-{index}" if index else request_id
            response = self._transport.unary("AttachRecords", request, timeout)
            self.observe(response.stamp)

    def read(self, request: api.ListRecordsRequest, budget: Budget, max_bytes: int | None = None) -> tuple[Record, ...]:
        """Return the records of a checkpoint id, in the order of their keys.

        Args:
            request: names the checkpoint.
            budget: the time for all pages.
            max_bytes: the most bytes that keys and data may have together; None for 512 MiB.

        Raises:
            PayloadTooLargeError: there are more bytes.
            HoldfastError: a subclass for each other reason.

        """
        found = Collected(max_bytes)
        for response in self._transport.pages("ListRecords", request, budget):
            self.observe(response.stamp)
            found.add(response.records)
        return self._opening.records(
            request.namespace, request.workflow_id, request.checkpoint_id, found.records, max_bytes
        )

    def of(self, checkpoint: checkpoint_pb2.Checkpoint, answer: Any, budget: Budget) -> tuple[Record, ...]:
        """Return the records of a checkpoint: from an answer that includes them, otherwise by a call of its own."""
        if answer.records_included:
            self.observe(getattr(answer, "stamp", 0))
            found = Collected(None)
            found.add(answer.records)
            return self._opening.records(
                checkpoint.namespace, checkpoint.workflow_id, checkpoint.checkpoint_id, found.records, None
            )
        request = api.ListRecordsRequest(
            namespace=checkpoint.namespace,
            workflow_id=checkpoint.workflow_id,
            checkpoint_id=checkpoint.checkpoint_id,
        )
        return self.read(request, budget)


def _batches(records: Iterable[Record]) -> Iterator[Sequence[checkpoint_pb2.Record]]:
    """Divide records into batches that a server accepts in one call."""
    batch: list[checkpoint_pb2.Record] = []
    size = 0
    for index, record in enumerate(records):
        key = arguments.text("records[%s].key", record.key, index)
        data = arguments.octets("records[%s].data", record.data, index)
        replace = arguments.flag("records[%s].replace", record.replace, index)
        added = len(key.encode()) + len(data)
        if batch and (size + added > _BATCH_BYTES or len(batch) == _BATCH_RECORDS):
            yield batch
            batch, size = [], 0
        batch.append(checkpoint_pb2.Record(key=key, data=data, replace=replace))
        size += added
    if batch:
        yield batch
