# Generated from holdfast/_async/loads.py by tools/async_to_sync.py; do not edit.
"""Loading a checkpoint: in one message if its payload is small, else as streams that resume where they broke."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast._core.answers import require_loaded, require_sizes, validated
from holdfast._core.budget import Budget
from holdfast._core.checkpoint import Checkpoint, Format, LoadedCheckpoint, LoadedFile, Record
from holdfast._core.errors import HoldfastError, WorkflowCheckpointResumeError
from holdfast._core.files import Target, draft_of
from holdfast._core.messages import to_checkpoint, to_skipped
from holdfast._core.migrations import Migrations
from holdfast._core.payload import Progress
from holdfast._core.received import Memory, PartInto, Sinks
from holdfast._sync import blocking
from holdfast._sync.calls import Attempt
from holdfast._sync.download import Download, inline_parts
from holdfast._sync.records import Records
from holdfast._sync.transport import Transport
from holdfast.v1 import checkpoint_service_pb2 as api


class Loads:
    """The calls of one client that load a checkpoint."""

    def __init__(self, transport: Transport, records: Records) -> None:
        self._transport = transport
        self._records = records

    def load(
        self, request: api.LoadRequest, budget: Budget, *, max_bytes: int | None, progress: Progress | None = None
    ) -> LoadedCheckpoint:
        """Load a checkpoint with its payload and check the payload's digests.

        Args:
            request: the checkpoint, and whether its records are wanted.
            budget: the time for all requests.
            max_bytes: the most bytes that the payload may have; None for what this machine's memory could hold.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            WorkflowCheckpointResumeError: a subclass for each other reason.

        """
        response = self._first(request, budget, max_bytes)
        records = self._records_of(request, response.checkpoint, response, budget)
        if response.payload_included:
            received = {part.name: part.data for part in response.parts}
            return _loaded(response, inline_parts(response.checkpoint, received), records)
        memory = Memory()
        header = self._stream(request, response, memory, budget, max_bytes=max_bytes, progress=progress)
        if header.checkpoint.revision != response.checkpoint.revision:
            records = self._records_of(request, header.checkpoint, api.Content(), budget)
        return _loaded(header, memory.take(), records)

    def load_to(
        self,
        request: api.LoadRequest,
        file: Target,
        budget: Budget,
        *,
        part: str | None,
        max_bytes: int,
        progress: Progress | None,
    ) -> LoadedFile:
        """Load a part of a checkpoint into a file. Little of the payload is in memory at a time.

        Args:
            request: the checkpoint.
            file: a path or an open binary file.
            budget: the time for all requests.
            part: the part; None for the default part or the only one.
            max_bytes: the most bytes that the payload may have.
            progress: called with the bytes received and all bytes, for payloads that are streamed.

        Raises:
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            InvalidRequestError: the checkpoint has no such part.
            WorkflowCheckpointResumeError: a subclass for each other reason.
            OSError: the file cannot be written.

        """
        draft = blocking.in_thread(draft_of, file)
        try:
            blocking.to_end(draft.begin)
            into = PartInto(draft, part)
            found: Any = self._first(request, budget, max_bytes)
            into.of(found.checkpoint)
            if found.payload_included:
                received = {each.name: each.data for each in found.parts}
                parts = inline_parts(found.checkpoint, received)
                blocking.to_end(draft.write, parts[into.chosen])
            else:
                found = self._stream(request, found, into, budget, max_bytes=max_bytes, progress=progress)
            blocking.to_end(draft.commit)
        finally:
            blocking.to_end(draft.discard)
        info = to_checkpoint(found.checkpoint)
        return LoadedFile(
            info,
            next(each for each in info.parts if each.name == into.chosen),
            found.fell_back,
            tuple(to_skipped(message) for message in found.skipped),
            found.head_revision,
        )

    def _first(self, request: api.LoadRequest, budget: Budget, max_bytes: int | None) -> api.LoadResponse:
        """Return the checkpoint, with its payload if that is small."""
        with budget.spending() as seconds:
            response: api.LoadResponse = self._transport.unary("Load", request, seconds)
        require_loaded(response, request)
        require_sizes(response.checkpoint, max_bytes)
        return response

    def _stream(
        self,
        request: api.LoadRequest,
        response: api.LoadResponse,
        sinks: Sinks,
        budget: Budget,
        *,
        max_bytes: int | None,
        progress: Progress | None,
    ) -> api.LoadStreamHeader:
        """Stream the payload of the checkpoint that was found, check its digests, and return the stream's header."""
        # The checkpoint whose records are here. If it is found damaged now, fallback may still replace it.
        checkpoint_id = (
            response.checkpoint.checkpoint_id if request.view == api.CHECKPOINT_VIEW_FULL else request.checkpoint_id
        )
        wanted = sinks.of(response.checkpoint)
        is_all = len(wanted) == len(response.checkpoint.parts)
        download = Download(
            api.LoadStreamRequest(
                namespace=request.namespace,
                workflow_id=request.workflow_id,
                checkpoint_id=checkpoint_id,
                accepted_formats=request.accepted_formats,
                fallback=request.fallback,
                ranges=() if is_all else [api.PartRange(part=name) for name in wanted],
            ),
            sinks,
            progress,
            announced=response.checkpoint,
            max_bytes=max_bytes,
        )
        with budget.spending() as seconds:
            self._receive(download, seconds)
        blocking.in_thread(download.require_digests)
        assert download.header is not None
        return download.header

    def resume(
        self,
        request: api.LoadRequest,
        budget: Budget,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations,
        max_bytes: int | None,
        progress: Progress | None,
    ) -> LoadedCheckpoint:
        """Load a checkpoint and migrate it to a format.

        Args:
            request: the newest checkpoint of a workflow, in one of the formats that can be migrated.
            budget: the time for all requests.
            format: the format to migrate to.
            migrations: the migrations.
            max_bytes: as in `load`.
            progress: as in `load`.

        Raises:
            WorkflowCheckpointResumeError: why the workflow cannot be resumed; `last_good` names a checkpoint from which
                it could be.

        """
        try:
            loaded = self.load(request, budget, max_bytes=max_bytes, progress=progress)
            if loaded.format == format:
                return loaded
            parts = blocking.in_thread(migrations.migrate, loaded.parts, loaded.format, format)
            return replace(loaded, parts=parts, format=format, migrated_from=loaded.format)
        except WorkflowCheckpointResumeError as error:
            if not error.retryable:
                error.last_good = self._last_good(request, budget)
            raise

    def _last_good(self, load: api.LoadRequest, budget: Budget) -> Checkpoint | None:
        request = api.ValidateRequest(
            namespace=load.namespace,
            workflow_id=load.workflow_id,
            depth=api.VALIDATE_DEPTH_CHECKSUM,
            accepted_formats=load.accepted_formats,
        )
        try:
            with budget.spending() as seconds:
                response = self._transport.unary("Validate", request, seconds)
            return validated(response, request).last_good
        except HoldfastError:
            return None

    def _records_of(self, request: api.LoadRequest, checkpoint: Any, answer: Any, budget: Budget) -> tuple[Record, ...]:
        if request.view != api.CHECKPOINT_VIEW_FULL:
            return ()
        return self._records.of(checkpoint, answer, budget)

    def _receive(self, download: Download, seconds: float) -> None:
        """Receive what is missing of a payload, over as many streams as it takes."""

        def send(attempt: Attempt) -> None:
            # The last stream may have broken after its last chunk.
            if download.is_whole:
                return
            stream = self._transport.stub.LoadStream(
                download.next_request(), timeout=attempt.timeout_seconds, metadata=attempt.metadata
            )
            try:
                download.receive(stream)
            finally:
                # A stream that is no longer read would otherwise go on.
                stream.cancel()

        self._transport.call("LoadStream", send, timeout_seconds=seconds)


def _loaded(response: Any, parts: Mapping[str, bytes], records: tuple[Record, ...]) -> LoadedCheckpoint:
    info = to_checkpoint(response.checkpoint)
    return LoadedCheckpoint(
        info,
        parts,
        info.format,
        response.fell_back,
        tuple(to_skipped(message) for message in response.skipped),
        head_revision=response.head_revision,
        records=records,
    )
