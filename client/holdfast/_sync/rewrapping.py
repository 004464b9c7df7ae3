# Generated from holdfast/_async/rewrapping.py by tools/async_to_sync.py; do not edit.
"""Wrapping the data keys of stored checkpoints by another key, so that the key that wrapped them can be deleted.

Stored objects do not change: the wrapped keys are attached to each checkpoint as records. Repeat an interrupted run: it
skips the checkpoints that are done.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from holdfast._core import arguments
from holdfast._core.answers import require_listed, require_named
from holdfast._core.checkpoint import Record, RewrapFailure, Rewrapped, RewrapProgress
from holdfast._core.errors import CheckpointCorruptedError, QuotaExceededError, WorkflowNotFoundError
from holdfast._core.messages import to_skipped
from holdfast._core.protection import Protection
from holdfast._sync import blocking
from holdfast._sync.records import Records
from holdfast._sync.transport import Transport
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# The failures that are named; the others are counted.
_NAMED = 100


class Rewrapping:
    """One run over a namespace, or over one workflow.

    Args:
        transport: the connection.
        protection: the client's protection.
        records: attaches the wrapped keys.
        namespace: the namespace.
        timeout: seconds for each request, retries included; None for the client's own.

    Attributes:
        done: what the run has done so far.

    """

    def __init__(
        self, transport: Transport, protection: Protection, records: Records, namespace: str, timeout: float | None
    ) -> None:
        self._transport = transport
        self._protection = protection
        self._records = records
        self._namespace = namespace
        self._timeout = timeout
        self.done = Rewrapped()

    def of_namespace(self, progress: RewrapProgress | None) -> None:
        """Wrap the data keys of all workflows again. A workflow that is deleted before its turn is skipped.

        Raises:
            HoldfastError: a subclass for each reason, but a checkpoint that is damaged, or that has no room for one
                more record, is a failure in `done`.

        """
        for workflow_id in self._workflows():
            try:
                self.of_workflow(workflow_id, progress)
            except WorkflowNotFoundError:
                continue

    def of_workflow(self, workflow_id: str, progress: RewrapProgress | None) -> None:
        """Wrap the data keys of one workflow again.

        Raises:
            WorkflowNotFoundError: nothing was ever saved for it.
            HoldfastError: as for `of_namespace`.

        """
        request = api.ListRequest(namespace=self._namespace, workflow_id=workflow_id)
        budget = self._transport.budget(self._timeout)
        try:
            for page in self._transport.pages("List", request, budget):
                budget.renew()
                for damaged in map(to_skipped, page.skipped):
                    self._fail(workflow_id, damaged.checkpoint_id, damaged.reason, damaged.message)
                for message in page.checkpoints:
                    require_named(message, self._namespace, workflow_id)
                    self._checkpoint(message)
                if progress is not None:
                    progress(self.done)
        except CheckpointCorruptedError as error:
            self._fail(workflow_id, error.metadata.get("checkpoint_id", ""), error.reason, error.message)
        self.done = replace(self.done, workflows=self.done.workflows + 1)
        if progress is not None:
            progress(self.done)

    def _workflows(self) -> Iterator[str]:
        request = api.ListWorkflowsRequest(namespace=self._namespace)
        budget = self._transport.budget(self._timeout)
        for page in self._transport.pages("ListWorkflows", request, budget):
            budget.renew()
            for message in page.workflows:
                require_listed(message, request)
                yield message.workflow_id

    def _checkpoint(self, message: checkpoint_pb2.Checkpoint) -> None:
        """Wrap the data keys of a checkpoint and of its records again, unless that was done before."""
        try:
            rewrapped = self._rewrapped(message)
        except (CheckpointCorruptedError, QuotaExceededError) as error:
            # A full namespace has no room for the others either; a checkpoint with many records has.
            if isinstance(error, QuotaExceededError) and not error.metadata.get("checkpoint_id"):
                raise
            self._fail(message.workflow_id, message.checkpoint_id, error.reason, error.message)
            rewrapped = 0
        self.done = replace(self.done, checkpoints=self.done.checkpoints + 1, data_keys=self.done.data_keys + rewrapped)

    def _rewrapped(self, message: checkpoint_pb2.Checkpoint) -> int:
        """Return how many data keys were wrapped again."""
        names: dict[str, Any] = {
            "namespace": message.namespace,
            "workflow_id": message.workflow_id,
            "checkpoint_id": message.checkpoint_id,
        }
        keys = self._protection.data_keys(message)
        budget = self._transport.budget(self._timeout)
        for page in self._transport.pages("ListRecords", api.ListRecordsRequest(**names), budget):
            keys.add([Record(record.key, record.data) for record in page.records])
        records, count = keys.rewrapped() if self._protection.is_quick else blocking.in_thread(keys.rewrapped)
        if records:
            request = arguments.request(api.AttachRecordsRequest, **names, request_id=None)
            self._records.attach_stored(request, records, self._timeout)
        if keys.problem is not None:
            self._fail(message.workflow_id, message.checkpoint_id, keys.problem.reason, keys.problem.message)
        return count

    def _fail(self, workflow_id: str, checkpoint_id: str, reason: str, message: str) -> None:
        named = self.done.failures
        if len(named) < _NAMED:
            named = (*named, RewrapFailure(workflow_id, checkpoint_id, reason, message))
        self.done = replace(self.done, failed=self.done.failed + 1, failures=named)
