# Generated from holdfast/_async/loads.py by tools/async_to_sync.py; do not edit.
"""The call that loads a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast._core import arguments
from holdfast._core.answers import limit_of, require_loaded, require_sizes
from holdfast._core.checkpoint import AcceptedFormat, LoadedCheckpoint, Record, formats, from_message, skipped
from holdfast._core.payload import Progress
from holdfast._sync import runtime
from holdfast._sync.calls import Try
from holdfast._sync.download import Download, checked
from holdfast._sync.records import Records
from holdfast.v1 import checkpoint_service_pb2 as api


class Loads(Records):
    """Loads."""

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
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load a checkpoint with its payload, of any size, its digests checked.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint; None for the newest.
            accepted_formats: refuse any other format before data moves; none given: any.
            fallback: answer damage with the newest older checkpoint that is whole.
            records: load its records too.
            max_bytes: how many bytes the payload may have; None for what this machine's memory could hold. Nothing is
                loaded of a larger one.
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all, for payloads that are streamed.

        Raises:
            PayloadTooLargeError: the payload has more bytes than `max_bytes`.
            WorkflowCheckpointResumeError: a subclass for each other reason.

        """
        budget, limit = self._budget(timeout), limit_of(max_bytes)
        request = arguments.request(
            api.LoadRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            accepted_formats=formats(accepted_formats),
            fallback=api.FALLBACK_LAST_GOOD if arguments.flag("fallback", fallback) else api.FALLBACK_NONE,
            view=api.CHECKPOINT_VIEW_FULL if arguments.flag("records", records) else api.CHECKPOINT_VIEW_PAYLOAD,
        )
        with budget.spending() as seconds:
            response = self._unary("Load", request, seconds)
        require_loaded(response, request)
        require_sizes(response.checkpoint, limit)
        attached = self._records_of(response.checkpoint, response, budget) if records else ()
        if response.payload_included:
            received = {part.name: part.data for part in response.parts}
            return _loaded(response, runtime.in_thread(checked, response.checkpoint, received), attached)
        download = Download(
            arguments.request(
                api.LoadStreamRequest,
                namespace=namespace,
                workflow_id=workflow_id,
                # The one whose records are here; what damages it meanwhile may still be answered with an older one.
                checkpoint_id=response.checkpoint.checkpoint_id if records else checkpoint_id or "",
                accepted_formats=request.accepted_formats,
                fallback=request.fallback,
            ),
            progress,
            announced=response.checkpoint,
            max_bytes=limit,
        )

        def send(attempt: Try) -> None:
            # The stream before may have broken behind its last chunk.
            if download.is_whole:
                return
            stream = self._stub.LoadStream(
                download.next_request(), timeout=attempt.timeout_seconds, metadata=attempt.metadata
            )
            try:
                download.receive(stream)
            finally:
                # A stream that is not wanted any more would go on.
                stream.cancel()

        with budget.spending() as seconds:
            self._caller.call("LoadStream", send, timeout_seconds=seconds)
        header: Any = download.header
        found = header.checkpoint
        if records and found.revision != response.checkpoint.revision:
            attached = self._records_of(found, api.Content(), budget)
        return _loaded(header, download.parts(), attached)


def _loaded(response: Any, parts: Mapping[str, bytes], records: tuple[Record, ...]) -> LoadedCheckpoint:
    info = from_message(response.checkpoint)
    return LoadedCheckpoint(
        info,
        parts,
        info.format,
        response.fell_back,
        tuple(skipped(each) for each in response.skipped),
        head_revision=response.head_revision,
        records=records,
    )
