"""Lists of checkpoints, of one workflow or of a whole namespace, and of workflows."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.api.admission import Place
from holdfast_server.api.calls import Context
from holdfast_server.api.filters import Filter
from holdfast_server.api.service import Service
from holdfast_server.protocol import load, workflows
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.log import Entry
from holdfast_server.protocol.lookup import Skipped, find_by_id, read_head

# Of an answer's or content's own small fields.
_STAMP_BYTES = 64
# For one page: a filter that little passes must not have a call read a whole log.
_LOOKED_AT_MOST = 2 * requests.MAX_PAGE_SIZE


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page ends: in which workflow of a namespace, "" where one is listed alone, and above which revision."""

    workflow: str = ""
    below: int | None = None

    @classmethod
    def of(cls, token: str) -> "_Position":
        """What a page token tells.

        Raises:
            InvalidRequestError: it is none that this server gave.

        """
        workflow, _, revision = token.rpartition(".")
        return cls(workflow, requests.revision_token(revision))

    def __str__(self) -> str:
        return f"{self.workflow}.{self.below}" if self.workflow else f"{self.below}"


class Lists(Service):
    """List and ListWorkflows."""

    async def List(self, request: api.ListRequest, context: Context) -> api.ListResponse:  # noqa: N802
        """List checkpoints."""
        async with self._calls.enter("List", context, request) as call:
            size = requests.page_size(request.page_size)
            wanted = Filter.of(request.filter)
            position = _Position.of(request.page_token)
            page = _Page(self, call.place, request, size)
            looked_at = told = 0
            skipped: list[Skipped] = []
            async with aclosing(self._walk(request, position, skipped)) as walk:
                async for found_in, keys, entry in walk:
                    is_wanted = entry is not None and wanted.passes(entry)
                    is_full = looked_at == _LOOKED_AT_MOST or page.is_full
                    if is_full or (is_wanted and entry is not None and not await page.add(keys, entry)):
                        page.response.next_page_token = str(position)
                        # What was met on the way here is for the next page to report.
                        del skipped[told:]
                        break
                    looked_at += 1
                    position = _Position(found_in, 0 if entry is None else entry.revision)
                    told = len(skipped)
            page.response.skipped.extend(messages.some_skipped(skipped))
            return page.response

    async def _walk(
        self, request: api.ListRequest, position: _Position, skipped: list[Skipped]
    ) -> AsyncGenerator[tuple[str, WorkflowKeys, Entry | None]]:
        """Checkpoints behind a position, newest first in each workflow, and each workflow's end; with their workflow.

        Raises:
            HoldfastError: of a workflow that is listed alone WORKFLOW_NOT_FOUND, CHECKPOINT_CORRUPTED of its head.

        """
        if request.workflow_id:
            keys = requests.workflow(request.namespace, request.workflow_id)
            below = position.below
            if request.before_checkpoint_id:
                before = await self._revision_of(keys, request.before_checkpoint_id)
                below = before if below is None else min(before, below)
            async for entry in load.history(self._log, keys, below, skipped):
                yield "", keys, entry
            return
        requests.name("namespace", request.namespace, 128)
        if request.before_checkpoint_id:
            raise requests.invalid("before_checkpoint_id", "needs a workflow_id")

        def skip(prefix: str, revision: int, error: HoldfastError) -> None:
            skipped.append(Skipped(revision, "", error))

        walk = workflows.walk(self._log, request.namespace, position.workflow, on_unreadable=skip)
        async with aclosing(walk) as found:
            async for token, head in found:
                below = position.below if token == position.workflow else None
                try:
                    async for entry in load.history_of(self._log, head.keys, head, below, skipped):
                        yield token, head.keys, entry
                except HoldfastError as error:
                    if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED):
                        raise
                    skip(head.keys.prefix, int(error.metadata.get("revision", head.revision)), error)
                yield token, head.keys, None

    async def _revision_of(self, keys: WorkflowKeys, checkpoint_id: str) -> int:
        requests.name("before_checkpoint_id", checkpoint_id, 256)
        return (await find_by_id(self._log, keys, await read_head(self._log, keys), checkpoint_id)).revision

    async def ListWorkflows(  # noqa: N802
        self, request: api.ListWorkflowsRequest, context: Context
    ) -> api.ListWorkflowsResponse:
        """List the workflows of a namespace."""
        async with self._calls.enter("ListWorkflows", context, request):
            requests.name("namespace", request.namespace, 128)
            size = requests.page_size(request.page_size)
            requests.name_prefix("workflow_id_prefix", request.workflow_id_prefix, 512)
            page = await workflows.page(
                self._log, request.namespace, request.page_token, size, request.workflow_id_prefix
            )
            return api.ListWorkflowsResponse(
                workflows=[messages.workflow(head) for head in page.heads], next_page_token=page.next_token
            )


class _Page:
    """A page of a list in the making: at most so many checkpoints, and bytes all in all."""

    def __init__(self, service: Service, place: Place, request: api.ListRequest, size: int) -> None:
        self.response = api.ListResponse()
        self._service = service
        self._place = place
        self._request = request
        self._size = size
        self._room = requests.PAGE_BYTES

    @property
    def is_full(self) -> bool:
        return len(self.response.checkpoints) == self._size

    async def add(self, keys: WorkflowKeys, entry: Entry) -> bool:
        """Add a checkpoint, with as much of its contents as is asked for and small.

        The contents of a damaged one are left out: a load of it says what is wrong.

        Returns:
            Whether it was added. Else the page has no room for it: it is the first of the next page.

        """
        describe = messages.identity if self._request.ids_only else messages.checkpoint
        described = describe(entry)
        room = self._room - messages.field_bytes(described)
        is_first = not self.response.checkpoints
        if not is_first and room < (self._payload_bytes(entry) or 0):
            return False
        if self._request.include_payload or self._request.include_records:
            content = await self._content(keys, entry, room if is_first else requests.PAGE_BYTES)
            if not is_first and messages.field_bytes(content) > room:
                return False
            room -= messages.field_bytes(content)
            self.response.contents.append(content)
        self.response.checkpoints.append(described)
        self._room = room
        self._place.hold(requests.PAGE_BYTES - max(room, 0))
        return True

    def _payload_bytes(self, entry: Entry) -> int | None:
        """The size of the payload, if it is asked for and small enough for a page."""
        size_bytes = sum(part.size_bytes for part in entry.marker.parts)
        is_included = self._request.include_payload and size_bytes <= requests.UNARY_PAYLOAD_BYTES
        return size_bytes if is_included else None

    async def _content(self, keys: WorkflowKeys, entry: Entry, room: int) -> api.Content:
        """Read what a checkpoint holds, as far as it fits."""
        content = api.Content()
        try:
            if self._payload_bytes(entry) is not None:
                await self._service.add_payload(self._place, content, keys, entry)
            if self._request.include_records:
                limit = min(room - content.ByteSize() - _STAMP_BYTES, requests.RECORDS_ANSWER_BYTES)
                stamp = await self._service.add_records(
                    self._place, content, keys, entry.marker.checkpoint_id, max(limit, 0)
                )
                self.response.stamp = max(self.response.stamp, stamp)
        except HoldfastError as error:
            if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.CHECKPOINT_DELETED):
                raise
            content.Clear()
        return content
