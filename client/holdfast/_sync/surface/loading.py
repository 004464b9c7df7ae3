# Generated from holdfast/_async/surface/loading.py by tools/async_to_sync.py; do not edit.
"""The calls that load checkpoints, and the check whether one could be."""

from collections.abc import Iterator, Sequence
from typing import Literal

from holdfast._core import arguments
from holdfast._core.answers import MAX_BYTES, limit_of, validated
from holdfast._core.checkpoint import AcceptedFormat, Format, LoadedCheckpoint, LoadedFile, Validation
from holdfast._core.files import Target
from holdfast._core.head import Head
from holdfast._core.messages import accepted_messages, depth_value
from holdfast._core.migrations import Migrations
from holdfast._core.payload import Progress
from holdfast._sync.surface.base import Surface
from holdfast.v1 import checkpoint_service_pb2 as api

Depth = Literal["marker", "presence", "checksum"]


class Loading(Surface):
    """Loads and validates checkpoints, and resumes from them."""

    def load(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str | None = None,
        *,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load a checkpoint with its payload, of any size, and check the payload's digests.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint; None for the newest.
            accepted_formats: refuse any other format before data moves; empty for any.
            fallback: if the checkpoint is damaged, load the newest older one that is whole.
            records: load its records too.
            max_bytes: the most bytes that the payload may have; None for what this machine's memory could hold. Nothing
                of a larger payload is loaded.
            not_before: a head of the workflow that the caller has seen, perhaps by another client. If the log is older,
                it was rolled back. The client remembers it.
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            RolledBackError: the log is older than `not_before`, or than this client has seen it.
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            WorkflowCheckpointResumeError: a subclass for each other reason.

        """
        self._keep(namespace, workflow_id, not_before)
        request = _load_request(
            namespace, workflow_id, checkpoint_id, accepted_formats=accepted_formats, fallback=fallback, records=records
        )
        budget = self._transport.budget(timeout)
        return self._loads.load(request, budget, max_bytes=limit_of(max_bytes), progress=progress)

    def load_to(
        self,
        namespace: str,
        workflow_id: str,
        file: Target,
        checkpoint_id: str | None = None,
        *,
        part: str | None = None,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedFile:
        """Load a part of a checkpoint into a file, of any size: a few MiB of it are in memory at a time.

        The file at a path gets the part once the part is whole and matches its digest, and is as it was before
        otherwise. So does a pipe or a device, from a temporary file. An open file that can seek is written from its
        position on; if the load fails, it is cut back to there.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            file: a path, whose folder must exist, or a binary file that is open for writing.
            checkpoint_id: the checkpoint; None for the newest.
            part: the part; None for the default part or the only one.
            accepted_formats: refuse any other format before data moves; empty for any.
            fallback: if the checkpoint is damaged, load the newest older one that is whole.
            max_bytes: the most bytes that the payload may have; None for any size. Nothing of a larger payload is
                loaded.
            not_before: a head of the workflow that the caller has seen, perhaps by another client. If the log is older,
                it was rolled back. The client remembers it.
            timeout: seconds for all requests, retries included; writing to a slow disk is not cut off.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            RolledBackError: the log is older than `not_before`, or than this client has seen it.
            InvalidRequestError: the checkpoint has no such part.
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            WorkflowCheckpointResumeError: a subclass for each other reason.
            OSError: the file cannot be written.
            TypeError: the file is neither a path nor a binary file that is open for writing.

        """
        self._keep(namespace, workflow_id, not_before)
        request = _load_request(
            namespace, workflow_id, checkpoint_id, accepted_formats=accepted_formats, fallback=fallback, records=False
        )
        budget = self._transport.budget(timeout)
        limit = limit_of(max_bytes)
        return self._loads.load_to(
            request,
            file,
            budget,
            part=None if part is None else arguments.text("part", part),
            max_bytes=MAX_BYTES if limit is None else limit,
            progress=progress,
        )

    def read_part(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str | None = None,
        *,
        part: str | None = None,
        offset: int = 0,
        length: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[bytes]:
        """Iterate over bytes of a part as they are stored, from any offset, in pieces of at most 4 MiB.

        A piece is requested when the one before was used. A part that was encrypted is not decrypted, whether the
        client has a keyring or not.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint; None for the newest.
            part: the part; None for the default part or the only one.
            offset: the first byte to read. At or after the part's end there are no bytes.
            length: the most bytes to read; None for all from the offset on.
            timeout: seconds for each piece, retries included.

        Raises:
            InvalidRequestError: the checkpoint has no such part, or the offset or the length is negative.
            CheckpointCorruptedError: the bytes are damaged. The part's digest is checked if all of it is read, before
                the last piece is returned; for a range the server checks the blocks that it is stored in.
            WorkflowCheckpointResumeError: a subclass for each other reason.

        """
        request = arguments.request(
            api.LoadRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            fallback=api.FALLBACK_NONE,
            view=api.CHECKPOINT_VIEW_METADATA,
        )
        part = None if part is None else arguments.text("part", part)
        first = arguments.integer("offset", offset, 0, MAX_BYTES)
        most = None if length is None else arguments.integer("length", length, 0, MAX_BYTES)
        for piece in self._part_reads.pieces(request, part, first, most, timeout):
            yield piece

    def resume(
        self,
        namespace: str,
        workflow_id: str,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations | None = None,
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load the newest checkpoint, whole and in the caller's format.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            format: the format that the caller works with.
            migrations: bring older versions to it.
            fallback: if the newest checkpoint is damaged, load the newest older one that is whole.
            records: load its records too.
            max_bytes: the most bytes that the payload may have, as in `load`.
            not_before: a head of the workflow that the caller has seen, as in `load`.
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            RolledBackError: the log is older than `not_before`, or than this client has seen it.
            WorkflowCheckpointResumeError: a subclass for each reason; `last_good` names the newest checkpoint that
                could be resumed from.

        """
        self._keep(namespace, workflow_id, not_before)
        arguments.instance("format", format, Format)
        known = Migrations() if migrations is None else arguments.instance("migrations", migrations, Migrations)
        request = _load_request(
            namespace, workflow_id, accepted_formats=[known.accepted(format)], fallback=fallback, records=records
        )
        return self._loads.resume(
            request,
            self._transport.budget(timeout),
            format=format,
            migrations=known,
            max_bytes=limit_of(max_bytes),
            progress=progress,
        )

    def validate(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str | None = None,
        *,
        depth: Depth = "checksum",
        accepted_formats: Sequence[AcceptedFormat] = (),
        not_before: Head | None = None,
        timeout: float | None = None,
    ) -> Validation:
        """Check whether a workflow can be resumed. Damage is a finding, not an error.

        The server checks stored bytes. A client with a keyring also decrypts the checkpoint's labels, not its payload.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint; None for the newest.
            depth: what to read: its marker, also whether its blobs exist, or also their bytes.
            accepted_formats: any other format is a finding; empty for any.
            not_before: a head of the workflow that the caller has seen, as in `load`.
            timeout: seconds for everything, retries included.

        Raises:
            RolledBackError: the log is older than `not_before`, or than this client has seen it.
            HoldfastError: the validation itself failed.

        """
        self._keep(namespace, workflow_id, not_before)
        request = arguments.request(
            api.ValidateRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            depth=depth_value(depth),
            accepted_formats=accepted_messages(accepted_formats),
        )
        budget = self._transport.budget(timeout)
        with budget.spending() as seconds:
            response = self._transport.unary("Validate", request, seconds)
        return self._opening.validation(validated(response, request), response, budget)


def _load_request(
    namespace: str,
    workflow_id: str,
    checkpoint_id: str | None = None,
    *,
    accepted_formats: Sequence[AcceptedFormat],
    fallback: bool,
    records: bool,
) -> api.LoadRequest:
    return arguments.request(
        api.LoadRequest,
        namespace=namespace,
        workflow_id=workflow_id,
        checkpoint_id="" if checkpoint_id is None else checkpoint_id,
        accepted_formats=accepted_messages(accepted_formats),
        fallback=api.FALLBACK_LAST_GOOD if arguments.flag("fallback", fallback) else api.FALLBACK_NONE,
        view=api.CHECKPOINT_VIEW_FULL if arguments.flag("records", records) else api.CHECKPOINT_VIEW_PAYLOAD,
    )
