# Generated from holdfast/_async/opening.py by tools/async_to_sync.py; do not edit.
"""Opening what a server returns: by the client's protection, in a thread if that takes long or waits for a key.

If the keyring lacks the key of a checkpoint, the checkpoint's records may have its data keys, wrapped by another key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from holdfast._core.answers import Collected
from holdfast._core.budget import Budget
from holdfast._core.checkpoint import Checkpoint, LogEntry, Record, Skipped, Validation
from holdfast._core.errors import (
    ClientClosedError,
    DeadlineExceededError,
    EncryptionKeyMissingError,
    HoldfastError,
    KeyServiceUnavailableError,
    PermissionDeniedError,
    UnauthenticatedError,
    WorkflowCheckpointResumeError,
    also_wrapped,
)
from holdfast._core.messages import to_checkpoint, to_log_entry
from holdfast._core.protection import Protection
from holdfast._core.sealed import KEYS_PREFIX
from holdfast._sync import blocking
from holdfast._sync.download import inline_parts
from holdfast._sync.transport import Transport
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# Sealed bytes may be compressed, so that opening them takes longer than their number suggests.
_QUICK_BYTES = 16 << 10
# Errors that say nothing of the checkpoint, as those that are retryable.
_OF_THE_CALL = (
    ClientClosedError,
    DeadlineExceededError,
    KeyServiceUnavailableError,
    PermissionDeniedError,
    UnauthenticatedError,
)
_Result = TypeVar("_Result")


class Opening:
    """Opens checkpoints and records for one client.

    Attributes:
        protection: the client's protection.

    """

    def __init__(self, transport: Transport, protection: Protection) -> None:
        self._transport = transport
        self.protection = protection

    def loaded(self, message: checkpoint_pb2.Checkpoint, budget: Budget) -> Checkpoint:
        """Return the metadata of a checkpoint whose payload is loaded. Raise as `Protection.loaded` does."""
        function = partial(self.protection.loaded, message)
        return self._opened(message, budget, function, is_quick=self.protection.is_quick)

    def listed(self, message: checkpoint_pb2.Checkpoint, budget: Budget) -> Checkpoint:
        """Return the metadata of a checkpoint without its payload. Raise as `Protection.listed` does."""
        function = partial(self.protection.listed, message)
        return self._opened(message, budget, function, is_quick=self.protection.is_quick)

    def entry(self, message: checkpoint_pb2.LogEntry, budget: Budget) -> LogEntry:
        """Return an entry of a log. A checkpoint whose labels cannot be opened has none.

        Raises:
            KeyServiceUnavailableError: the key service cannot be reached.
            HoldfastError: the records that may have the data keys cannot be read.

        """
        if message.kind != checkpoint_pb2.LOG_ENTRY_KIND_CHECKPOINT:
            return to_log_entry(message, None)
        if message.purged or not self.protection.is_sealing:
            return to_log_entry(message, to_checkpoint(message.checkpoint))
        try:
            return to_log_entry(message, self.listed(message.checkpoint, budget))
        except WorkflowCheckpointResumeError as error:
            if _may_pass(error):
                raise
            return to_log_entry(message, replace(to_checkpoint(message.checkpoint), labels={}))

    def validation(self, found: Validation, response: api.ValidateResponse, budget: Budget) -> Validation:
        """Return the result of a validation, with its checkpoints opened. One that cannot be opened is a finding.

        Raises:
            KeyServiceUnavailableError: the key service cannot be reached.
            HoldfastError: the records that may have the data keys cannot be read.

        """
        if not self.protection.is_sealing:
            return found
        stored = found.checkpoint
        if stored is not None:
            try:
                found = replace(found, checkpoint=self.loaded(response.checkpoint, budget))
            except WorkflowCheckpointResumeError as error:
                if _may_pass(error):
                    raise
                unread = replace(stored, labels={})
                finding = Skipped(unread.checkpoint_id, unread.revision, error.reason, error.message)
                found = replace(found, checkpoint=unread, resumable=False, findings=(*found.findings, finding))
        if found.last_good is not None:
            try:
                found = replace(found, last_good=self.loaded(response.last_good, budget))
            except WorkflowCheckpointResumeError as error:
                if _may_pass(error):
                    raise
                found = replace(found, last_good=None)
        return found

    def parts(
        self,
        message: checkpoint_pb2.Checkpoint,
        received: Mapping[str, bytes],
        max_bytes: int | None,
        budget: Budget,
    ) -> Mapping[str, bytes]:
        """Return the payload of an answer that includes it, checked. Raise as `checked` and `Protection.parts` do."""
        parts = inline_parts(message, received)
        protection = self.protection
        if not protection.is_sealing:
            return parts
        is_quick = protection.is_quick and sum(map(len, parts.values())) <= _QUICK_BYTES
        function = partial(protection.parts, message, parts, max_bytes)
        return self._opened(message, budget, function, is_quick=is_quick)

    def sealed_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Iterable[Record]
    ) -> Iterable[Record]:
        """Return records as they are stored."""
        protection = self.protection
        if not protection.is_sealing:
            return records
        given = list(records)
        seal = partial(protection.seal_records, namespace, workflow_id, checkpoint_id, given)
        if protection.is_quick:
            return blocking.in_thread_if_large([record.data for record in given], seal)
        return blocking.in_thread(seal)

    def records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record], max_bytes: int | None
    ) -> tuple[Record, ...]:
        """Return records as they were attached. Raise as `Protection.open_records` does."""
        protection = self.protection
        names = (namespace, workflow_id, checkpoint_id)
        size = sum(len(record.data) for record in records) if protection.is_sealing else 0
        if not records or (protection.is_quick and size <= _QUICK_BYTES):
            return tuple(protection.open_records(*names, records, max_bytes))
        return tuple(blocking.in_thread(protection.open_records, *names, records, max_bytes))

    def _opened(
        self,
        message: checkpoint_pb2.Checkpoint,
        budget: Budget,
        function: Callable[[], _Result],
        *,
        is_quick: bool,
    ) -> _Result:
        """Open something of a checkpoint. If its key is missing, look for its data keys among the records."""
        try:
            return function() if is_quick else blocking.in_thread(function)
        except EncryptionKeyMissingError as error:
            missing = error
        key_ids = self._learned(message, budget)
        if not key_ids:
            raise missing
        try:
            return function() if is_quick else blocking.in_thread(function)
        except EncryptionKeyMissingError:
            raise also_wrapped(missing, key_ids) from None

    def _learned(self, message: checkpoint_pb2.Checkpoint, budget: Budget) -> Sequence[str]:
        """Let the protection remember the data keys that are among the records. Return the ids of their keys."""
        request = api.ListRecordsRequest(
            namespace=message.namespace, workflow_id=message.workflow_id, checkpoint_id=message.checkpoint_id
        )
        found = Collected(None)
        for page in self._transport.pages("ListRecords", request, budget):
            found.add([record for record in page.records if record.key.startswith(KEYS_PREFIX)])
            # In the order of the keys: nothing of it comes later.
            if page.records and page.records[-1].key > KEYS_PREFIX + "\x7f":
                break
        return self.protection.learn(message, found.records)


def _may_pass(error: HoldfastError) -> bool:
    """Return whether the same checkpoint may be opened later: the error says nothing of the checkpoint."""
    return error.retryable or isinstance(error, _OF_THE_CALL)
