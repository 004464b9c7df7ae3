# Generated from holdfast/loads.py by tools/async_to_sync.py; do not edit.
"""The call that loads a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast import _sync as runtime
from holdfast import arguments
from holdfast.checkpoint import AcceptedFormat, LoadedCheckpoint, Record, formats, from_message, skipped
from holdfast.payload import Progress
from holdfast.sync.calls import Try
from holdfast.sync.download import Download, checked
from holdfast.sync.records import Records
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
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all, for payloads that are streamed.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        request = arguments.request(
            api.LoadRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            accepted_formats=formats(accepted_formats),
            fallback=api.FALLBACK_LAST_GOOD if arguments.flag("fallback", fallback) else api.FALLBACK_NONE,
            include_records=records,
        )
        response = self._unary("Load", request, timeout)
        attached = self._records_of(response.checkpoint, response, timeout) if records else ()
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
        )

        def send(attempt: Try) -> None:
            # The stream before may have broken behind its last chunk.
            if download.is_whole:
                return
            stream = self._stub.LoadStream(
                download.next_request(), timeout=attempt.timeout_seconds, metadata=attempt.metadata
            )
            download.receive(stream)

        self._caller.call("LoadStream", send, timeout_seconds=self._time(timeout))
        header: Any = download.header
        found = header.checkpoint
        if records and found.revision != response.checkpoint.revision:
            attached = self._records_of(found, api.Content(), timeout)
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
