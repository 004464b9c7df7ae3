# Generated from holdfast/_async/opening.py by tools/async_to_sync.py; do not edit.
"""Opening what a server returns: by the client's protection, in a thread if that takes long or waits for a key."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from holdfast._core.checkpoint import Checkpoint, Record, Skipped, Validation
from holdfast._core.errors import KeyServiceUnavailableError, WorkflowCheckpointResumeError
from holdfast._core.protection import Protection
from holdfast._sync import blocking
from holdfast._sync.download import inline_parts
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# Sealed bytes may be compressed, so that opening them takes longer than their number suggests.
_QUICK_BYTES = 16 << 10


class Opening:
    """Opens checkpoints and records for one client.

    Attributes:
        protection: the client's protection.

    """

    def __init__(self, protection: Protection) -> None:
        self.protection = protection

    def loaded(self, message: checkpoint_pb2.Checkpoint) -> Checkpoint:
        """Return the metadata of a checkpoint whose payload is loaded. Raise as `Protection.loaded` does."""
        if self.protection.is_quick:
            return self.protection.loaded(message)
        return blocking.in_thread(self.protection.loaded, message)

    def listed(self, message: checkpoint_pb2.Checkpoint) -> Checkpoint:
        """Return the metadata of a checkpoint without its payload. Raise as `Protection.listed` does."""
        if self.protection.is_quick:
            return self.protection.listed(message)
        return blocking.in_thread(self.protection.listed, message)

    def validation(self, found: Validation, response: api.ValidateResponse) -> Validation:
        """Return the result of a validation, with its checkpoints opened. One that cannot be opened is a finding.

        Raises:
            KeyServiceUnavailableError: the key service cannot be reached.

        """
        if not self.protection.is_sealing:
            return found
        stored = found.checkpoint
        if stored is not None:
            try:
                found = replace(found, checkpoint=self.loaded(response.checkpoint))
            except KeyServiceUnavailableError:
                raise
            except WorkflowCheckpointResumeError as error:
                unread = replace(stored, labels={})
                finding = Skipped(unread.checkpoint_id, unread.revision, error.reason, error.message)
                found = replace(found, checkpoint=unread, resumable=False, findings=(*found.findings, finding))
        if found.last_good is not None:
            try:
                found = replace(found, last_good=self.loaded(response.last_good))
            except KeyServiceUnavailableError:
                raise
            except WorkflowCheckpointResumeError:
                found = replace(found, last_good=None)
        return found

    def parts(
        self, message: checkpoint_pb2.Checkpoint, received: Mapping[str, bytes], max_bytes: int | None
    ) -> Mapping[str, bytes]:
        """Return the payload of an answer that includes it, checked. Raise as `checked` and `Protection.parts` do."""
        parts = inline_parts(message, received)
        protection = self.protection
        if not protection.is_sealing:
            return parts
        if protection.is_quick and sum(map(len, parts.values())) <= _QUICK_BYTES:
            return protection.parts(message, parts, max_bytes)
        return blocking.in_thread(protection.parts, message, parts, max_bytes)

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
