# Generated from holdfast/_async/repeats.py by tools/async_to_sync.py; do not edit.
"""Saves of a client with a keyring that repeat an earlier call.

A server answers a save that repeats an earlier one by its request id or its checkpoint id, with the same content, as it
answered the earlier one. It cannot see that two encryptions have the same content. So the client looks.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast._core.answers import require_named
from holdfast._core.budget import Budget
from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import (
    CheckpointIdReusedError,
    KeyServiceUnavailableError,
    RequestIdReusedError,
    WorkflowCheckpointResumeError,
)
from holdfast._core.payload import Outgoing
from holdfast._core.protection import Protection
from holdfast._core.received import Sink
from holdfast._sync import blocking
from holdfast._sync.loads import Loads
from holdfast._sync.transport import Transport
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


class Repeats:
    """Finds what earlier calls of one client have saved."""

    def __init__(self, transport: Transport, protection: Protection, loads: Loads) -> None:
        self._transport = transport
        self._protection = protection
        self._loads = loads

    def earlier(
        self,
        header: checkpoint_pb2.SaveHeader,
        chosen_id: str,
        outgoing: Outgoing,
        refusal: CheckpointIdReusedError | RequestIdReusedError,
        budget: Budget,
    ) -> Checkpoint | None:
        """Return the checkpoint that an earlier call with the same content has saved; None if it has other content.

        Args:
            header: the header of the save.
            chosen_id: the checkpoint id that the caller has chosen, or "".
            outgoing: the payload.
            refusal: the error of the save, which says that its checkpoint id or its request id was used before.
            budget: the time for all requests.

        Raises:
            HoldfastError: the checkpoint could not be compared, because the server or the key service cannot be
                reached.

        """
        if not self._protection.is_sealing:
            return None
        checkpoint_id = chosen_id
        if isinstance(refusal, RequestIdReusedError):
            checkpoint_id = self._id_at(header, int(refusal.metadata["revision"]), budget)
            if not checkpoint_id or chosen_id not in ("", checkpoint_id):
                return None
        stored = _Digests()
        request = api.LoadRequest(
            namespace=header.namespace,
            workflow_id=header.workflow_id,
            checkpoint_id=checkpoint_id,
            view=api.CHECKPOINT_VIEW_PAYLOAD,
        )
        try:
            found = self._loads.into(request, stored, budget)
        except WorkflowCheckpointResumeError as error:
            if error.retryable or isinstance(error, KeyServiceUnavailableError):
                raise
            return None
        is_same = (
            (found.parent_id, found.pinned) == (header.parent_id, header.pinned)
            and (found.format.name, found.format.version) == (header.format.name, header.format.version)
            and found.labels == self._protection.labels_of(outgoing)
            and list(stored.found().items()) == list((blocking.in_thread(outgoing.digests)).items())
        )
        return replace(found, replayed=True) if is_same else None

    def _id_at(self, header: checkpoint_pb2.SaveHeader, revision: int, budget: Budget) -> str:
        """Return the id of the checkpoint at a revision; "" if there is none."""
        request = api.ListRequest(
            namespace=header.namespace, workflow_id=header.workflow_id, view=api.CHECKPOINT_VIEW_ID
        )
        for page in self._transport.pages("List", request, budget):
            for message in page.checkpoints:
                require_named(message, header.namespace, header.workflow_id)
                if message.revision <= revision:
                    return str(message.checkpoint_id) if message.revision == revision else ""
        return ""


class _Digests:
    """Sinks that keep nothing but the digest of each part."""

    def __init__(self) -> None:
        self._parts: dict[str, _Digest] = {}

    def of(self, checkpoint: checkpoint_pb2.Checkpoint) -> Mapping[str, Sink]:
        """Return a sink for each part."""
        self._parts = {part.name: _Digest() for part in checkpoint.parts}
        return self._parts

    def found(self) -> dict[str, bytes]:
        """Return the digests by part name."""
        return {name: part.sha256.digest() for name, part in self._parts.items()}


class _Digest:
    """A sink that keeps the digest of what is written."""

    def __init__(self) -> None:
        self.sha256: Any = hashlib.sha256()

    def write(self, data: bytes, /) -> None:
        """Add bytes."""
        self.sha256.update(data)

    def restart(self) -> None:
        """Forget the bytes."""
        self.sha256 = hashlib.sha256()
