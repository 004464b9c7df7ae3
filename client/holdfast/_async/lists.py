"""Listing checkpoints and workflows, over all pages."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from holdfast._async.loads import Loads
from holdfast._async.opening import Opening
from holdfast._async.records import Records
from holdfast._async.transport import Transport
from holdfast._core.answers import (
    paired,
    require_accepted,
    require_listed,
    require_named,
    require_namespace,
    require_sizes,
    required_entries,
)
from holdfast._core.budget import Budget
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, LoadedCheckpoint, LogEntry, Page, WorkflowInfo
from holdfast._core.errors import CheckpointDeletedError, CheckpointNotFoundError, of_reason
from holdfast._core.messages import to_checkpoint, to_workflow_info
from holdfast._core.usage import UsagePage, WorkflowUsage, to_usage_page
from holdfast.v1 import checkpoint_service_pb2 as api


class Lists:
    """The calls of one client that list."""

    def __init__(self, transport: Transport, opening: Opening, loads: Loads, records: Records) -> None:
        self._transport = transport
        self._opening = opening
        self._loads = loads
        self._records = records

    async def checkpoints(self, request: api.ListRequest, budget: Budget, *, strict: bool) -> AsyncIterator[Checkpoint]:
        """Iterate over checkpoints without their payloads, newest first.

        Args:
            request: which checkpoints.
            budget: the time for all pages.
            strict: raise where a commit marker is damaged, else leave it out.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED where `strict` raises.

        """
        async for page in self._transport.pages("List", request, budget):
            for message in page.checkpoints:
                require_named(message, request.namespace, request.workflow_id)
                if strict:
                    _require_whole(page, message.revision if request.workflow_id else 0)
                is_id = request.view == api.CHECKPOINT_VIEW_ID
                yield to_checkpoint(message) if is_id else await self._opening.listed(message, budget)
            if strict:
                _require_whole(page)

    async def history(
        self,
        request: api.ListRequest,
        budget: Budget,
        *,
        accepted_formats: Sequence[AcceptedFormat],
        max_bytes: int | None,
    ) -> AsyncIterator[LoadedCheckpoint]:
        """Iterate over checkpoints with their payloads, newest first.

        Args:
            request: which checkpoints; includes payloads.
            budget: the time for all requests.
            accepted_formats: raise where a checkpoint has another format; empty for any.
            max_bytes: the most bytes that each payload may have; None for what this machine's memory could hold.

        Raises:
            HoldfastError: a subclass for each reason; CHECKPOINT_CORRUPTED where one is damaged, or may be missing.

        """
        async for page in self._transport.pages("List", request, budget):
            self._records.observe(page.stamp)
            for message, content in paired(page):
                require_named(message, request.namespace, request.workflow_id)
                require_sizes(message, max_bytes)
                _require_whole(page, message.revision if request.workflow_id else 0)
                found = await self._opening.loaded(message, budget)
                require_accepted(found, accepted_formats)
                if content.payload_included:
                    received = {part.name: part.data for part in content.parts}
                    parts = await self._opening.parts(message, received, max_bytes, budget)
                    wanted = request.view == api.CHECKPOINT_VIEW_FULL
                    records = await self._records.of(message, content, budget) if wanted else ()
                    yield LoadedCheckpoint(found, parts, found.format, records=records)
                    continue
                alone = api.LoadRequest(
                    namespace=found.namespace,
                    workflow_id=found.workflow_id,
                    checkpoint_id=found.checkpoint_id,
                    fallback=api.FALLBACK_NONE,
                    view=request.view,
                )
                loaded = None
                # A checkpoint that was deleted since the page was made is left out.
                with suppress(CheckpointDeletedError, CheckpointNotFoundError):
                    loaded = await self._loads.load(alone, budget, max_bytes=max_bytes)
                if loaded is not None:
                    yield loaded
            _require_whole(page)

    async def log(self, request: api.ListLogRequest, budget: Budget) -> AsyncIterator[LogEntry]:
        """Iterate over the entries of a log, newest first.

        Args:
            request: which entries.
            budget: the time for all pages.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        async for page in self._transport.pages("ListLog", request, budget):
            for message in required_entries(page, request):
                yield await self._opening.entry(message, budget)

    async def workflows(self, request: api.ListWorkflowsRequest, budget: Budget) -> AsyncIterator[WorkflowInfo]:
        """Iterate over the workflows of a namespace.

        Args:
            request: which workflows.
            budget: the time for all pages.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        async for page in self._transport.pages("ListWorkflows", request, budget):
            for message in page.workflows:
                require_listed(message, request)
                yield to_workflow_info(message)

    async def workflows_page(self, request: api.ListWorkflowsRequest, budget: Budget) -> Page[WorkflowInfo]:
        """Return one page of the workflows of a namespace.

        Args:
            request: which workflows, and which page of them.
            budget: the time for it.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        with budget.spending() as seconds:
            page = await self._transport.unary("ListWorkflows", request, seconds)
        for message in page.workflows:
            require_listed(message, request)
        return Page(tuple(map(to_workflow_info, page.workflows)), page.next_page_token)

    async def log_page(self, request: api.ListLogRequest, budget: Budget) -> Page[LogEntry]:
        """Return one page of the entries of a log.

        Args:
            request: which entries, and which page of them.
            budget: the time for it.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        with budget.spending() as seconds:
            page = await self._transport.unary("ListLog", request, seconds)
        entries = [await self._opening.entry(message, budget) for message in required_entries(page, request)]
        return Page(tuple(entries), page.next_page_token)

    async def usage(self, request: api.GetUsageRequest, budget: Budget) -> AsyncIterator[WorkflowUsage]:
        """Iterate over what workflows take.

        A page that has measured something renews the budget: a large namespace takes long, and each page is progress.

        Args:
            request: which workflows.
            budget: the time for all pages.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        async for message in self._transport.pages("GetUsage", request, budget):
            page = to_usage_page(message, request)
            if page.items or page.unfinished is not None:
                budget.renew()
            for workflow in page.items:
                yield workflow

    async def usage_page(self, request: api.GetUsageRequest, budget: Budget) -> UsagePage:
        """Return one page of what workflows take.

        Args:
            request: which workflows, and which page of them.
            budget: the time for it.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        with budget.spending() as seconds:
            page = await self._transport.unary("GetUsage", request, seconds)
        return to_usage_page(page, request)

    async def namespaces(self, request: api.ListNamespacesRequest, budget: Budget) -> AsyncIterator[str]:
        """Iterate over the namespaces that the caller may read.

        Args:
            request: which namespaces.
            budget: the time for all pages.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        async for page in self._transport.pages("ListNamespaces", request, budget):
            for namespace in page.namespaces:
                require_namespace(namespace, request)
                yield namespace

    async def namespaces_page(self, request: api.ListNamespacesRequest, budget: Budget) -> Page[str]:
        """Return one page of the namespaces that the caller may read.

        Args:
            request: which namespaces, and which page of them.
            budget: the time for it.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        with budget.spending() as seconds:
            page = await self._transport.unary("ListNamespaces", request, seconds)
        for namespace in page.namespaces:
            require_namespace(namespace, request)
        return Page(tuple(page.namespaces), page.next_page_token)


def _require_whole(page: Any, above: int = 0) -> None:
    """Raise if a marker between the checkpoints of a page is damaged, above a revision of the workflow."""
    for damaged in page.skipped:
        if damaged.revision > above:
            raise of_reason(damaged.reason, damaged.message, metadata={"revision": str(damaged.revision)})
