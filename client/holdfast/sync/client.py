# Generated from holdfast/client.py by tools/async_to_sync.py; do not edit.
"""Client: one method per call of the service, and `resume`."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from holdfast import _sync as runtime
from holdfast.checkpoint import (
    AcceptedFormat,
    Checkpoint,
    Format,
    LoadedCheckpoint,
    Validation,
    WorkflowInfo,
    Writer,
    from_message,
    skipped,
    workflow_info,
)
from holdfast.errors import HoldfastError, WorkflowCheckpointResumeError
from holdfast.migrations import Migrations
from holdfast.payload import RESUME, Data, Outgoing, Progress
from holdfast.retry import RetryBucket, RetryPolicy
from holdfast.sync.calls import Caller, Try
from holdfast.sync.download import Download, checked
from holdfast.sync.workflow import Workflow
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

_CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 8 << 20),
]
_DEPTHS = {
    "marker": api.VALIDATE_DEPTH_MARKER,
    "presence": api.VALIDATE_DEPTH_PRESENCE,
    "checksum": api.VALIDATE_DEPTH_CHECKSUM,
}

Depth = Literal["marker", "presence", "checksum"]


class Client:
    """A client of one Holdfast server.

    Args:
        target: host:port, or any target that gRPC takes.
        timeout: seconds for a logical call with all its retries, where the call gives none.
        retry: how to retry.
        producer: name and version of the calling program, kept with each checkpoint.

    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        producer: tuple[str, str] = ("", ""),
    ) -> None:
        self._timeout = timeout
        self._producer = checkpoint_pb2.Producer(name=producer[0], version=producer[1])
        self._channel = runtime.open_channel(target, _CHANNEL_OPTIONS)
        self._stub: Any = CheckpointServiceStub(self._channel)
        self._caller = Caller(retry or RetryPolicy(), RetryBucket())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def save(
        self,
        namespace: str,
        workflow_id: str,
        data: Data,
        *,
        format: Format,  # noqa: A002 - the API's own word
        checkpoint_id: str = "",
        parent_id: str = "",
        labels: Mapping[str, str] | None = None,
        expected_revision: int | None = None,
        epoch: int | None = None,
        ttl: timedelta | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Save a checkpoint, of any size.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            data: bytes, a mapping of part name to bytes, or an open binary file that can seek.
            format: the payload's format.
            checkpoint_id: the id; "" lets the server choose.
            parent_id: the checkpoint that this one was made from.
            labels: labels to find it by.
            expected_revision: commit only while the log's head has this revision; 0: while no checkpoint exists.
            epoch: the writer's epoch.
            ttl: how long it must be kept.
            request_id: the idempotency key; made up where none is given.
            timeout: seconds for everything, retries included.
            progress: called with the bytes sent and all, for payloads that are streamed.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        header = checkpoint_pb2.SaveHeader(
            namespace=namespace,
            workflow_id=workflow_id,
            request_id=request_id or uuid.uuid4().hex,
            checkpoint_id=checkpoint_id,
            parent_id=parent_id,
            format=checkpoint_pb2.Format(name=format.name, version=format.version),
            producer=self._producer,
            labels=labels or {},
            expected_revision=expected_revision,
            epoch=epoch,
        )
        if ttl is not None:
            header.ttl.FromTimedelta(ttl)
        outgoing = runtime.in_thread(Outgoing, data)

        def send(attempt: Try) -> Any:
            header.attempt.CopyFrom(attempt.attempt)
            if not outgoing.fits_unary:
                resumes = attempt.number > 1
                return runtime.send_stream(
                    self._stub.SaveStream,
                    api.SaveStreamRequest(header=header),
                    lambda received: outgoing.messages(received, progress),
                    resumes=resumes,
                    timeout=attempt.timeout_seconds,
                    metadata=(*attempt.metadata, RESUME) if resumes else attempt.metadata,
                )
            request = api.SaveRequest(header=header, parts=runtime.in_thread(outgoing.inline))
            return self._stub.Save(request, timeout=attempt.timeout_seconds, metadata=attempt.metadata)

        method = "Save" if outgoing.fits_unary else "SaveStream"
        response = self._caller.call(method, send, timeout_seconds=self._time(timeout), request_id=header.request_id)
        return from_message(response.checkpoint, replayed=response.replayed)

    def load(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str | None = None,
        *,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
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
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all, for payloads that are streamed.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        request = api.LoadRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id or "",
            accepted_formats=_formats(accepted_formats),
            fallback=api.FALLBACK_LAST_GOOD if fallback else api.FALLBACK_NONE,
        )
        response = self._unary("Load", request, timeout)
        if response.payload_included:
            received = {part.name: part.data for part in response.parts}
            return _loaded(response, runtime.in_thread(checked, response.checkpoint, received))
        download = Download(
            api.LoadStreamRequest(
                namespace=namespace,
                workflow_id=workflow_id,
                checkpoint_id=checkpoint_id or "",
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
        return _loaded(download.header, download.parts())

    def list(
        self,
        namespace: str,
        workflow_id: str,
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        formats: Sequence[AcceptedFormat] = (),
        page_size: int = 0,
        timeout: float | None = None,
    ) -> Iterator[Checkpoint]:
        """Iterate over a workflow's checkpoints, newest first, over all pages.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        wanted = api.ListFilter(labels=labels or {}, formats=_formats(formats))
        if created_after is not None:
            wanted.created_after.FromDatetime(created_after)
        if created_before is not None:
            wanted.created_before.FromDatetime(created_before)
        request = api.ListRequest(namespace=namespace, workflow_id=workflow_id, page_size=page_size, filter=wanted)
        while True:
            response = self._unary("List", request, timeout)
            for message in response.checkpoints:
                yield from_message(message)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def list_workflows(
        self, namespace: str, *, page_size: int = 0, timeout: float | None = None
    ) -> Iterator[WorkflowInfo]:
        """Iterate over a namespace's workflows, over all pages.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = api.ListWorkflowsRequest(namespace=namespace, page_size=page_size)
        while True:
            response = self._unary("ListWorkflows", request, timeout)
            for message in response.workflows:
                yield workflow_info(message)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def validate(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str | None = None,
        *,
        depth: Depth = "checksum",
        accepted_formats: Sequence[AcceptedFormat] = (),
        timeout: float | None = None,
    ) -> Validation:
        """Tell whether a workflow can be resumed. Damage is a finding, not an error.

        Raises:
            HoldfastError: the validation itself failed.

        """
        request = api.ValidateRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id or "",
            depth=_DEPTHS[depth],
            accepted_formats=_formats(accepted_formats),
        )
        response = self._unary("Validate", request, timeout)
        return Validation(
            resumable=response.resumable,
            findings=tuple(skipped(each) for each in response.findings),
            checkpoint=from_message(response.checkpoint) if response.HasField("checkpoint") else None,
            last_good=from_message(response.last_good) if response.HasField("last_good") else None,
        )

    def delete(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str,
        *,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete a checkpoint. Returns the revision of the deletion, the log's new head.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = api.DeleteRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id,
            request_id=request_id or uuid.uuid4().hex,
            epoch=epoch,
        )
        response = self._unary("Delete", request, timeout)
        return int(response.revision)

    def delete_workflow(
        self,
        namespace: str,
        workflow_id: str,
        *,
        epoch: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete every checkpoint of a workflow. Returns the revision of the deletion.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = api.DeleteWorkflowRequest(
            namespace=namespace, workflow_id=workflow_id, request_id=request_id or uuid.uuid4().hex, epoch=epoch
        )
        response = self._unary("DeleteWorkflow", request, timeout)
        return int(response.revision)

    def acquire_writer(
        self, namespace: str, workflow_id: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> Writer:
        """Become the only writer of a workflow: saves with a lower epoch are refused from now on.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = api.AcquireWriterRequest(
            namespace=namespace, workflow_id=workflow_id, request_id=request_id or uuid.uuid4().hex
        )
        response = self._unary("AcquireWriter", request, timeout)
        return Writer(response.epoch, response.revision)

    def capabilities(self, *, timeout: float | None = None) -> api.GetCapabilitiesResponse:
        """Tell what the server can do.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        response: api.GetCapabilitiesResponse = self._unary("GetCapabilities", api.GetCapabilitiesRequest(), timeout)
        return response

    def workflow(self, namespace: str, workflow_id: str) -> Workflow:
        """A handle of one workflow that carries revision and epoch by itself."""
        return Workflow(self, namespace, workflow_id)

    def resume(
        self,
        namespace: str,
        workflow_id: str,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations | None = None,
        fallback: bool = False,
        timeout: float | None = None,
    ) -> LoadedCheckpoint:
        """Load the newest checkpoint, whole and in the caller's format.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            format: the format that the caller works with.
            migrations: bring older versions to it.
            fallback: answer damage with the newest older checkpoint that is whole.
            timeout: seconds for everything, retries included.

        Raises:
            WorkflowCheckpointResumeError: why it cannot; `last_good` names a checkpoint that would do.

        """
        known = migrations or Migrations()
        accepted = known.accepted(format)
        try:
            loaded = self.load(namespace, workflow_id, accepted_formats=[accepted], fallback=fallback, timeout=timeout)
            if loaded.format == format:
                return loaded
            parts = runtime.in_thread(known.migrate, loaded.parts, loaded.format, format)
            return replace(loaded, parts=parts, format=format, migrated_from=loaded.format)
        except WorkflowCheckpointResumeError as error:
            if not error.retryable:
                error.last_good = self._last_good(namespace, workflow_id, accepted, timeout)
            raise

    def _last_good(
        self, namespace: str, workflow_id: str, accepted: AcceptedFormat, timeout: float | None
    ) -> Checkpoint | None:
        try:
            found = self.validate(namespace, workflow_id, accepted_formats=[accepted], timeout=timeout)
        except HoldfastError:
            return None
        return found.last_good

    def _unary(self, method: str, request: Any, timeout: float | None) -> Any:
        def send(attempt: Try) -> Any:
            if "attempt" in request.DESCRIPTOR.fields_by_name:
                request.attempt.CopyFrom(attempt.attempt)
            return getattr(self._stub, method)(request, timeout=attempt.timeout_seconds, metadata=attempt.metadata)

        request_id = getattr(request, "request_id", "")
        return self._caller.call(method, send, timeout_seconds=self._time(timeout), request_id=request_id)

    def _time(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout


def _formats(given: Sequence[AcceptedFormat]) -> Sequence[checkpoint_pb2.AcceptedFormat]:
    return [
        checkpoint_pb2.AcceptedFormat(name=each.name, min_version=each.min_version, max_version=each.max_version)
        for each in given
    ]


def _loaded(response: Any, parts: Mapping[str, bytes]) -> LoadedCheckpoint:
    info = from_message(response.checkpoint)
    return LoadedCheckpoint(
        info,
        parts,
        info.format,
        response.fell_back,
        tuple(skipped(each) for each in response.skipped),
        head_revision=response.head_revision,
    )
