"""Calls that list checkpoints and workflows."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from holdfast._async import runtime
from holdfast._async.download import checked
from holdfast._async.loads import AsyncLoads
from holdfast._core import arguments
from holdfast._core.answers import limit_of, paired, require_listed, require_named, require_sizes
from holdfast._core.checkpoint import (
    AcceptedFormat,
    Checkpoint,
    LoadedCheckpoint,
    WorkflowInfo,
    from_message,
    list_filter,
    require_accepted,
    workflow_info,
)
from holdfast._core.errors import CheckpointDeletedError, CheckpointNotFoundError, of_reason
from holdfast.v1 import checkpoint_service_pb2 as api


class AsyncLists(AsyncLoads):
    """Lists."""

    async def list(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        formats: Sequence[AcceptedFormat] = (),
        before: str = "",
        ids_only: bool = False,
        strict: bool = False,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Checkpoint]:
        """Iterate over checkpoints, newest first, over all pages.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace, one after the other.
            labels: the labels that it must have.
            created_after: when it was saved at the earliest, with a time zone.
            created_before: before when it was saved, with a time zone.
            formats: of which it must have one.
            before: the id of a checkpoint; only older ones are listed.
            ids_only: tell of each its id, workflow and revision only.
            strict: end where a commit marker is damaged, since nobody knows what it told; else it is left out.
            page_size: how many to ask for at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED where `strict` ends it.

        """
        request = arguments.request(
            api.ListRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            page_size=page_size,
            filter=list_filter(labels, created_after, created_before, formats),
            before_checkpoint_id=before,
            view=api.CHECKPOINT_VIEW_ID if arguments.flag("ids_only", ids_only) else api.CHECKPOINT_VIEW_METADATA,
        )
        async for response in self._pages("List", request, self._budget(timeout)):
            for message in response.checkpoints:
                require_named(message, namespace, workflow_id)
                if strict:
                    _require_whole(response, message.revision if workflow_id else 0)
                yield from_message(message)
            if strict:
                _require_whole(response)

    async def history(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        formats: Sequence[AcceptedFormat] = (),
        before: str = "",
        records: bool = False,
        accepted_formats: Sequence[AcceptedFormat] = (),
        page_size: int = 0,
        max_bytes: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[LoadedCheckpoint]:
        """Iterate over checkpoints with their payloads, newest first. Small ones come many in a call.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace, one after the other.
            labels: the labels that it must have.
            created_after: when it was saved at the earliest, with a time zone.
            created_before: before when it was saved, with a time zone.
            formats: of which it must have one.
            before: the id of a checkpoint; only older ones are told.
            records: load their records too.
            accepted_formats: end where another one is met; none given: any.
            page_size: how many to ask for at a time; 0: the server chooses.
            max_bytes: how many bytes each payload may have, as in `load`.
            timeout: seconds for all requests together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED where one is damaged, or may be missing.

        """
        request = arguments.request(
            api.ListRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            page_size=page_size,
            filter=list_filter(labels, created_after, created_before, formats),
            before_checkpoint_id=before,
            view=api.CHECKPOINT_VIEW_FULL if arguments.flag("records", records) else api.CHECKPOINT_VIEW_PAYLOAD,
        )
        budget, limit = self._budget(timeout), limit_of(max_bytes)
        async for response in self._pages("List", request, budget):
            self._stamp = max(self._stamp, response.stamp)
            for message, content in paired(response):
                require_named(message, namespace, workflow_id)
                require_sizes(message, limit)
                _require_whole(response, message.revision if workflow_id else 0)
                found = from_message(message)
                require_accepted(found, accepted_formats)
                if not content.payload_included:
                    # What is deleted by now was not there in the end.
                    loaded = None
                    with suppress(CheckpointDeletedError, CheckpointNotFoundError), budget.spending() as seconds:
                        loaded = await self.load(
                            found.namespace,
                            found.workflow_id,
                            found.checkpoint_id,
                            records=records,
                            max_bytes=max_bytes,
                            timeout=seconds,
                        )
                    if loaded is not None:
                        yield loaded
                    continue
                parts = await runtime.in_thread(checked, message, {part.name: part.data for part in content.parts})
                attached = await self._records_of(message, content, budget) if records else ()
                yield LoadedCheckpoint(found, parts, found.format, records=attached)
            _require_whole(response)

    async def list_workflows(
        self, namespace: str, *, prefix: str = "", page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[WorkflowInfo]:
        """Iterate over a namespace's workflows, over all pages.

        Args:
            namespace: the namespace.
            prefix: what their ids begin with.
            page_size: how many to ask for at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.ListWorkflowsRequest, namespace=namespace, workflow_id_prefix=prefix, page_size=page_size
        )
        async for response in self._pages("ListWorkflows", request, self._budget(timeout)):
            for message in response.workflows:
                require_listed(message, request)
                yield workflow_info(message)


def _require_whole(page: Any, above: int = 0) -> None:
    """Check that no marker is damaged between the checkpoints of a page, above a revision of the workflow."""
    for damaged in page.skipped:
        if damaged.revision > above:
            raise of_reason(damaged.reason, damaged.message, metadata={"revision": str(damaged.revision)})
