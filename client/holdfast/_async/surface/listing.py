"""The calls that list checkpoints, records, workflows and namespaces."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from holdfast._async.surface.base import Surface
from holdfast._core import arguments
from holdfast._core.answers import limit_of
from holdfast._core.checkpoint import (
    AcceptedFormat,
    Checkpoint,
    LoadedCheckpoint,
    Page,
    Record,
    WorkflowInfo,
)
from holdfast.v1 import checkpoint_service_pb2 as api


class Listing(Surface):
    """Lists checkpoints, records, workflows and namespaces."""

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
            labels: the labels that a checkpoint must have.
            created_after: the earliest time of its save, with a time zone.
            created_before: the time before which it was saved, with a time zone.
            formats: the formats of which it must have one.
            before: the id of a checkpoint; list only older ones.
            ids_only: return only the id, workflow and revision of each checkpoint.
            strict: raise where a commit marker is damaged, because a checkpoint may be missing there; else leave it
                out.
            page_size: how many to request at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED where `strict` raises.

        """
        request = arguments.request(
            api.ListRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            page_size=page_size,
            filter=self._filter(namespace, labels, created_after, created_before, formats),
            before_checkpoint_id=before,
            view=api.CHECKPOINT_VIEW_ID if arguments.flag("ids_only", ids_only) else api.CHECKPOINT_VIEW_METADATA,
        )
        async for checkpoint in self._lists.checkpoints(request, self._transport.budget(timeout), strict=strict):
            yield checkpoint

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
        """Iterate over checkpoints with their payloads, newest first. One request brings many small ones.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace, one after the other.
            labels: the labels that a checkpoint must have.
            created_after: the earliest time of its save, with a time zone.
            created_before: the time before which it was saved, with a time zone.
            formats: the formats of which it must have one.
            before: the id of a checkpoint; load only older ones.
            records: load their records too.
            accepted_formats: raise where a checkpoint has another format; empty for any.
            page_size: how many to request at a time; 0: the server chooses.
            max_bytes: the most bytes that each payload may have, as in `load`.
            timeout: seconds for all requests together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED where a checkpoint is damaged, or may be
                missing.

        """
        request = arguments.request(
            api.ListRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            page_size=page_size,
            filter=self._filter(namespace, labels, created_after, created_before, formats),
            before_checkpoint_id=before,
            view=api.CHECKPOINT_VIEW_FULL if arguments.flag("records", records) else api.CHECKPOINT_VIEW_PAYLOAD,
        )
        budget, limit = self._transport.budget(timeout), limit_of(max_bytes)
        found = self._lists.history(request, budget, accepted_formats=accepted_formats, max_bytes=limit)
        async for loaded in found:
            yield loaded

    async def records(
        self,
        namespace: str,
        workflow_id: str,
        checkpoint_id: str,
        *,
        page_size: int = 0,
        max_bytes: int | None = None,
        timeout: float | None = None,
    ) -> tuple[Record, ...]:
        """Return the records of a checkpoint id, in the order of their keys, whether the checkpoint exists or not.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            checkpoint_id: the checkpoint.
            page_size: how many records to request at a time, at most 1000; 0 for as many as fit into 2 MiB.
            max_bytes: the most bytes that keys and data may have together; None for 512 MiB.
            timeout: seconds for everything, retries included.

        Raises:
            PayloadTooLargeError: there are more bytes.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListRecordsRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            checkpoint_id=checkpoint_id,
            page_size=page_size,
        )
        return await self._records.read(request, self._transport.budget(timeout), limit_of(max_bytes))

    async def list_workflows(
        self, namespace: str, *, prefix: str = "", page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[WorkflowInfo]:
        """Iterate over a namespace's workflows, over all pages.

        A workflow with a damaged newest entry is listed by the newest one that can be read. If there is none, the
        workflow is left out: `usage` has it, with the number of its entries that cannot be read.

        Args:
            namespace: the namespace.
            prefix: the text that their ids begin with.
            page_size: how many to request at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = arguments.request(
            api.ListWorkflowsRequest, namespace=namespace, workflow_id_prefix=prefix, page_size=page_size
        )
        async for workflow in self._lists.workflows(request, self._transport.budget(timeout)):
            yield workflow

    async def workflows_page(
        self,
        namespace: str,
        *,
        prefix: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[WorkflowInfo]:
        """Return one page of a namespace's workflows, for a program that shows a page at a time.

        Args:
            namespace: the namespace.
            prefix: the text that their ids begin with.
            page_size: the most workflows of the page; 0: the server chooses.
            page_token: the `next_page_token` of the page before; "" for the first page.
            timeout: seconds for everything, retries included.

        Raises:
            InvalidRequestError: the token was not issued for this namespace.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListWorkflowsRequest,
            namespace=namespace,
            workflow_id_prefix=prefix,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._lists.workflows_page(request, self._transport.budget(timeout))

    async def namespaces(
        self, prefix: str = "", *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[str]:
        """Iterate over the namespaces of the store that the caller may read, over all pages.

        Args:
            prefix: the text that they begin with.
            page_size: how many to request at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(api.ListNamespacesRequest, namespace_prefix=prefix, page_size=page_size)
        async for namespace in self._lists.namespaces(request, self._transport.budget(timeout)):
            yield namespace

    async def namespaces_page(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", timeout: float | None = None
    ) -> Page[str]:
        """Return one page of the namespaces that the caller may read. It may be empty and not the last one.

        Args:
            prefix: the text that they begin with.
            page_size: the most namespaces of the page; 0: the server chooses.
            page_token: the `next_page_token` of the page before; "" for the first page.
            timeout: seconds for everything, retries included.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListNamespacesRequest, namespace_prefix=prefix, page_size=page_size, page_token=page_token
        )
        return await self._lists.namespaces_page(request, self._transport.budget(timeout))
