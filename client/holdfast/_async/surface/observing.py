"""The calls of operators: what was committed, what it takes, and what serves it."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from holdfast._async.surface.base import Surface
from holdfast._core import arguments
from holdfast._core.checkpoint import LogEntry, Page
from holdfast._core.head import Head
from holdfast._core.store_status import StoreStatus, to_store_status
from holdfast._core.usage import UsagePage, WorkflowUsage
from holdfast.v1 import checkpoint_service_pb2 as api


class Observing(Surface):
    """Shows logs, usage, the server and its store."""

    async def log(
        self,
        namespace: str,
        workflow_id: str,
        *,
        before_revision: int | None = None,
        after_revision: int | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[LogEntry]:
        """Iterate over the entries of a workflow's log, newest first, over all pages.

        Checkpoints, also deleted ones, fences, deletions, collections and damage are entries.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            before_revision: only entries below this revision; None for the head and below.
            after_revision: only entries above this revision; None for all.
            page_size: how many to request at a time; 0: the server chooses.
            timeout: seconds for all pages together, retries included; the caller's own time between them is free.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListLogRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            before_revision=before_revision,
            after_revision=after_revision,
            page_size=page_size,
        )
        async for entry in self._lists.log(request, self._transport.budget(timeout)):
            yield entry

    async def log_page(
        self,
        namespace: str,
        workflow_id: str,
        *,
        before_revision: int | None = None,
        after_revision: int | None = None,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[LogEntry]:
        """Return one page of the entries of a workflow's log, newest first.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            before_revision: only entries below this revision; None for the head and below.
            after_revision: only entries above this revision; None for all.
            page_size: the most entries of the page; 0: the server chooses.
            page_token: `next_page_token` of the page before; "" for the first page.
            timeout: seconds, retries included.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = arguments.request(
            api.ListLogRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            before_revision=before_revision,
            after_revision=after_revision,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._lists.log_page(request, self._transport.budget(timeout))

    def watch(
        self,
        namespace: str,
        workflow_id: str,
        *,
        after_revision: int | None = None,
        silence: float | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[LogEntry, None]:
        """Iterate over the entries of a workflow's log as they are committed, by whatever writer and server.

        Each revision comes once, in order and without a gap, over as many connections and servers as it takes. Entries
        that were collected come as one entry of the kind "collected", damage as one of the kind "damaged". The
        workflow need not exist yet. Close the iterator to end the watch: the end of the client closes it as well.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.
            after_revision: begin after this revision; 0 for all entries; None for those after now.
            silence: end the iteration once a server has been reached and no entry has come for so many seconds; None to
                go on for ever.
            not_before: a head of the workflow that the caller has seen, as in `load`.
            timeout: seconds in which a server must be reached, retries included, at the beginning and each time that
                the connection breaks; None for the client's own.

        Raises:
            RolledBackError: the log is older than it was, or another one.
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        self._keep(namespace, workflow_id, not_before)
        request = arguments.request(
            api.WatchWorkflowRequest, namespace=namespace, workflow_id=workflow_id, after_revision=after_revision
        )
        quiet = None if silence is None else arguments.seconds("silence", silence)
        return self._watching.entries(request, silence=quiet, timeout=timeout)

    async def usage(
        self,
        namespace: str,
        workflow_id: str | None = None,
        *,
        prefix: str = "",
        stored_only: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[WorkflowUsage]:
        """Iterate over what the workflows of a namespace take in the store, or over the one that is named.

        Damage lowers the figures and does not end the iteration; `WorkflowUsage.damaged_markers` counts it.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; None for all.
            prefix: the text that their ids begin with; "" if a workflow is named.
            stored_only: leave out checkpoints and their sizes, so that no commit marker has to be read.
            timeout: seconds for all pages together, retries included; it begins again with each page that measures
                something.

        Raises:
            WorkflowNotFoundError: the store has nothing of the workflow that is named.
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = _usage_request(namespace, workflow_id, prefix, stored_only=stored_only)
        async for workflow in self._lists.usage(request, self._transport.budget(timeout)):
            yield workflow

    async def usage_page(
        self,
        namespace: str,
        workflow_id: str | None = None,
        *,
        prefix: str = "",
        stored_only: bool = False,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> UsagePage:
        """Return one page of what workflows take in the store, and what the namespace has by its quotas' count.

        A page may have fewer workflows than requested, or none: a large workflow takes several pages.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; None for all.
            prefix: the text that their ids begin with; "" if a workflow is named.
            stored_only: leave out checkpoints and their sizes, so that no commit marker has to be read.
            page_size: the most workflows of the page; 0: the server chooses.
            page_token: the `next_page_token` of the page before, or of a `workflows_page` of the same namespace, after
                whose workflows the page begins; "" for the first page.
            timeout: seconds, retries included.

        Raises:
            WorkflowNotFoundError: the store has nothing of the workflow that is named.
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        request = _usage_request(
            namespace, workflow_id, prefix, stored_only=stored_only, page_size=page_size, page_token=page_token
        )
        return await self._lists.usage_page(request, self._transport.budget(timeout))

    async def capabilities(self, *, timeout: float | None = None) -> api.GetCapabilitiesResponse:
        """Return the server's version, features and limits.

        Args:
            timeout: seconds for everything, retries included.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        request = api.GetCapabilitiesRequest()
        response: api.GetCapabilitiesResponse = await self._transport.unary("GetCapabilities", request, timeout)
        return response

    async def store_status(self, *, timeout: float | None = None) -> StoreStatus:
        """Return the state of the server and its store: versions, settings, the last collection and the last check.

        It needs the right to admin.

        Args:
            timeout: seconds for everything, retries included.

        Raises:
            UnimplementedError: the server is older.
            HoldfastError: a subclass for each other reason.

        """
        response = await self._transport.unary("GetStoreStatus", api.GetStoreStatusRequest(), timeout)
        return to_store_status(response)


def _usage_request(
    namespace: str, workflow_id: str | None, prefix: str, *, stored_only: bool, **page: Any
) -> api.GetUsageRequest:
    """Return a request of usage.

    Raises:
        InvalidRequestError: an argument has a value that is not allowed.
        TypeError: an argument has another type.

    """
    if workflow_id == "":
        # It would mean all workflows.
        raise arguments.invalid("workflow_id", "must not be empty")
    return arguments.request(
        api.GetUsageRequest,
        namespace=namespace,
        workflow_id="" if workflow_id is None else workflow_id,
        workflow_id_prefix=prefix,
        view=api.USAGE_VIEW_STORED if arguments.flag("stored_only", stored_only) else api.USAGE_VIEW_FULL,
        **page,
    )
