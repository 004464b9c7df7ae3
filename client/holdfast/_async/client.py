"""AsyncClient: one method per call of the service, and `resume`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from holdfast._async import runtime
from holdfast._async.calls import Try
from holdfast._async.changes import AsyncChanges
from holdfast._async.lists import AsyncLists
from holdfast._async.workflow import Workflow
from holdfast._core import arguments
from holdfast._core.answers import answered, require_named, require_saved
from holdfast._core.budget import Budget
from holdfast._core.checkpoint import (
    AcceptedFormat,
    Checkpoint,
    Format,
    LoadedCheckpoint,
    Validation,
    format_message,
    formats,
    from_message,
    skipped,
)
from holdfast._core.errors import HoldfastError, WorkflowCheckpointResumeError
from holdfast._core.migrations import Migrations
from holdfast._core.payload import RESUME, Data, Outgoing, Progress
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

_DEPTHS = {
    "marker": api.VALIDATE_DEPTH_MARKER,
    "presence": api.VALIDATE_DEPTH_PRESENCE,
    "checksum": api.VALIDATE_DEPTH_CHECKSUM,
}

Depth = Literal["marker", "presence", "checksum"]


def _depth(depth: str) -> Any:
    if depth not in _DEPTHS:
        raise arguments.invalid("depth", f"must be one of {', '.join(_DEPTHS)}, not {depth!r:.100}")
    return _DEPTHS[depth]


class AsyncClient(AsyncLists, AsyncChanges):
    """A client of one Holdfast server: saving, loading and resuming here, the rest in the classes it is made of.

    It may be made anywhere and used from then on until it is closed, for good, by `close` or the end of a `with` block.

    Args:
        target: host:port, or any target that gRPC takes.
        timeout: seconds for a logical call with all its retries, where the call gives none; at most 366 days.
        retry: how to retry.
        producer: name and version of the calling program, kept with each checkpoint.

    Raises:
        InvalidRequestError: the target is not one that gRPC takes, or the timeout is out of range.
        TypeError: an argument has another type.

    """

    async def save(
        self,
        namespace: str,
        workflow_id: str,
        data: Data,
        *,
        format: Format,  # noqa: A002 - the API's own word
        checkpoint_id: str | None = None,
        parent_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        expected_revision: int | None = None,
        epoch: int | None = None,
        ttl: timedelta | None = None,
        replace: bool = False,
        needs_parent: bool = False,
        pinned: bool = False,
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
            checkpoint_id: the id; None or "" lets the server choose.
            parent_id: the checkpoint that this one was made from; None or "" for none.
            labels: labels to find it by.
            expected_revision: commit only if nobody has saved since this revision of the log, deleted the whole
                workflow, or acquired it under another epoch; 0: while no checkpoint exists.
            epoch: the writer's epoch.
            ttl: how long it must be kept.
            replace: take the place of the checkpoint that has the same id, if there is one.
            needs_parent: it is of no use without its parent, which is kept as long as it.
            pinned: keep it when retention by count and age or a prune would let it go; deletions of it, and its own
                ttl, still do.
            request_id: the idempotency key; made up where none is given.
            timeout: seconds for everything, retries included.
            progress: called with the bytes sent and all, for payloads that are streamed.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        header = arguments.request(
            checkpoint_pb2.SaveHeader,
            namespace=namespace,
            workflow_id=workflow_id,
            request_id=request_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            parent_id="" if parent_id is None else parent_id,
            format=format_message(format),
            producer=self._producer,
            labels=labels,
            expected_revision=expected_revision,
            epoch=epoch,
            replace=replace,
            needs_parent=needs_parent,
            pinned=pinned,
        )
        if ttl is not None:
            header.ttl.FromTimedelta(arguments.duration("ttl", ttl))
        outgoing = await runtime.in_thread(Outgoing, data)

        async def send(attempt: Try) -> Any:
            header.attempt.CopyFrom(attempt.attempt)
            if not outgoing.fits_unary:
                resumes = attempt.number > 1
                response = await runtime.send_stream(
                    self._stub.SaveStream,
                    api.SaveStreamRequest(header=header),
                    lambda received: outgoing.messages(received, progress),
                    resumes=resumes,
                    timeout=attempt.timeout_seconds,
                    metadata=(*attempt.metadata, RESUME) if resumes else attempt.metadata,
                )
                return answered(response)
            request = arguments.request(api.SaveRequest, header=header, parts=await runtime.in_thread(outgoing.inline))
            return answered(await self._stub.Save(request, timeout=attempt.timeout_seconds, metadata=attempt.metadata))

        method = "Save" if outgoing.fits_unary else "SaveStream"
        response = await self._caller.call(
            method, send, timeout_seconds=self._time(timeout), request_id=header.request_id
        )
        require_saved(response.checkpoint, header, outgoing.sizes)
        return from_message(response.checkpoint, replayed=response.replayed)

    async def validate(
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
        request = arguments.request(
            api.ValidateRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id="" if checkpoint_id is None else checkpoint_id,
            depth=_depth(depth),
            accepted_formats=formats(accepted_formats),
        )
        response = await self._unary("Validate", request, timeout)
        if response.HasField("checkpoint"):
            require_named(response.checkpoint, namespace, workflow_id, request.checkpoint_id)
        if response.HasField("last_good"):
            require_named(response.last_good, namespace, workflow_id)
        return Validation(
            resumable=response.resumable,
            findings=tuple(skipped(each) for each in response.findings),
            checkpoint=from_message(response.checkpoint) if response.HasField("checkpoint") else None,
            last_good=from_message(response.last_good) if response.HasField("last_good") else None,
        )

    async def capabilities(self, *, timeout: float | None = None) -> api.GetCapabilitiesResponse:
        """Tell what the server can do.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        response: api.GetCapabilitiesResponse = await self._unary(
            "GetCapabilities", api.GetCapabilitiesRequest(), timeout
        )
        return response

    def workflow(self, namespace: str, workflow_id: str) -> Workflow:
        """A handle of one workflow that carries revision and epoch by itself."""
        return Workflow(self, namespace, workflow_id)

    async def resume(
        self,
        namespace: str,
        workflow_id: str,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations | None = None,
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load the newest checkpoint, whole and in the caller's format.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            format: the format that the caller works with.
            migrations: bring older versions to it.
            fallback: answer damage with the newest older checkpoint that is whole.
            records: load its records too.
            max_bytes: how many bytes the payload may have, as in `load`.
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all, for payloads that are streamed.

        Raises:
            WorkflowCheckpointResumeError: why it cannot; `last_good` names a checkpoint that would do.

        """
        arguments.instance("format", format, Format)
        known = Migrations() if migrations is None else arguments.instance("migrations", migrations, Migrations)
        accepted = known.accepted(format)
        budget = self._budget(timeout)
        try:
            with budget.spending() as seconds:
                loaded = await self.load(
                    namespace,
                    workflow_id,
                    accepted_formats=[accepted],
                    fallback=fallback,
                    records=records,
                    max_bytes=max_bytes,
                    timeout=seconds,
                    progress=progress,
                )
            if loaded.format == format:
                return loaded
            parts = await runtime.in_thread(known.migrate, loaded.parts, loaded.format, format)
            return replace(loaded, parts=parts, format=format, migrated_from=loaded.format)
        except WorkflowCheckpointResumeError as error:
            if not error.retryable:
                error.last_good = await self._last_good(namespace, workflow_id, accepted, budget)
            raise

    async def _last_good(
        self, namespace: str, workflow_id: str, accepted: AcceptedFormat, budget: Budget
    ) -> Checkpoint | None:
        try:
            with budget.spending() as seconds:
                found = await self.validate(namespace, workflow_id, accepted_formats=[accepted], timeout=seconds)
        except HoldfastError:
            return None
        return found.last_good
