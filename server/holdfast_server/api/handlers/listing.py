"""List and ListWorkflows."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import contents, limits, messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.api.filters import Filter
from holdfast_server.api.views import View
from holdfast_server.protocol.checkpoints import load, workflows
from holdfast_server.protocol.checkpoints.heads import Skipped, naming_head, read_head
from holdfast_server.protocol.checkpoints.lookup import find_by_id
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import Entry

# Room for the small fields of an answer or of a checkpoint's contents.
_STAMP_BYTES = 64
# Entries that one page examines: a filter that few checkpoints match must not make a call read a whole log.
_MAX_EXAMINED = 2 * limits.MAX_PAGE_SIZE


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page ends.

    Attributes:
        workflow: the workflow, as a token; "" in the list of a single workflow.
        below: the next page begins below this revision; None for the newest.

    """

    workflow: str = ""
    below: int | None = None

    @classmethod
    def of(cls, token: str) -> "_Position":
        """Parse a page token.

        Raises:
            InvalidRequestError: this service did not issue it.

        """
        workflow, _, revision = token.rpartition(".")
        return cls(workflow, requests.revision_token(revision))

    def __str__(self) -> str:
        return f"{self.workflow}.{self.below}" if self.workflow else f"{self.below}"


async def list_checkpoints(context: ServiceContext, call: Call, request: api.ListRequest) -> api.ListResponse:
    """Return one page of the checkpoints that match a filter, newest first in each workflow."""
    size = requests.page_size(request.page_size)
    checkpoint_filter = Filter.of(request.filter)
    position = _Position.of(request.page_token)
    page = _Page(context, call, View.of(request.view, api.CHECKPOINT_VIEW_METADATA), size)
    examined = reported = 0
    skipped: list[Skipped] = []
    async with aclosing(_walk(context, request, position, skipped, page.response)) as walk:
        async for workflow, keys, entry in walk:
            passes = entry is not None and checkpoint_filter.passes(entry)
            is_full = examined == _MAX_EXAMINED or page.is_full
            if is_full or (passes and entry is not None and not await page.add(keys, entry)):
                page.response.next_page_token = str(position)
                # Checkpoints skipped since the last position are reported by the next page.
                del skipped[reported:]
                break
            examined += 1
            position = _Position(workflow, 0 if entry is None else entry.revision)
            reported = len(skipped)
    page.response.skipped.extend(messages.skipped_checkpoints(skipped))
    return page.response


async def list_workflows(
    context: ServiceContext, _call: Call, request: api.ListWorkflowsRequest
) -> api.ListWorkflowsResponse:
    """Return one page of the workflows of a namespace."""
    requests.namespace(request.namespace)
    size = requests.page_size(request.page_size)
    requests.name_prefix("workflow_id_prefix", request.workflow_id_prefix, 512)
    page = await workflows.page(context.log, request.namespace, request.page_token, size, request.workflow_id_prefix)
    return api.ListWorkflowsResponse(
        workflows=[messages.workflow(head, is_head=head.keys.prefix not in page.damaged) for head in page.heads],
        next_page_token=page.next_token,
    )


async def _walk(
    context: ServiceContext,
    request: api.ListRequest,
    position: _Position,
    skipped: list[Skipped],
    response: api.ListResponse,
) -> AsyncGenerator[tuple[str, WorkflowKeys, Entry | None]]:
    """Yield the checkpoints after a position, newest first in each workflow, and None at the end of each workflow.

    Each comes with its workflow's token and keys. Checkpoints that cannot be read are added to `skipped`. The head of
    the log of a single workflow is named in the response.

    Raises:
        HoldfastError: in the list of a single workflow: WORKFLOW_NOT_FOUND, CHECKPOINT_CORRUPTED of its head.

    """
    if request.workflow_id:
        keys = requests.workflow(request.namespace, request.workflow_id)
        below = position.below
        if request.before_checkpoint_id:
            requests.name("before_checkpoint_id", request.before_checkpoint_id, 256)
        head = await read_head(context.log, keys)
        messages.name_head(head, response.head)
        with naming_head(head):
            if request.before_checkpoint_id:
                before = await find_by_id(context.log, keys, head, request.before_checkpoint_id)
                below = before.revision if below is None else min(before.revision, below)
        async for entry in load.history_of(context.log, keys, head, below, skipped):
            yield "", keys, entry
        return
    requests.namespace(request.namespace)
    if request.before_checkpoint_id:
        raise requests.invalid("before_checkpoint_id", "needs a workflow_id")

    def skip(prefix: str, revision: int, error: HoldfastError) -> None:
        skipped.append(Skipped(revision, "", error))

    walk = workflows.walk(context.log, request.namespace, position.workflow, on_unreadable=skip)
    async with aclosing(walk) as heads:
        async for token, head in heads:
            below = position.below if token == position.workflow else None
            try:
                async for entry in load.history_of(context.log, head.keys, head, below, skipped):
                    yield token, head.keys, entry
            except HoldfastError as error:
                if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED):
                    raise
                skip(head.keys.prefix, int(error.metadata.get("revision", head.revision)), error)
            yield token, head.keys, None


class _Page:
    """A page of a list, as it is filled: at most `size` checkpoints and limits.PAGE_BYTES."""

    def __init__(self, context: ServiceContext, call: Call, view: View, size: int) -> None:
        self.response = api.ListResponse()
        self._log = context.log
        self._bases = context.encoder.bases
        self._permit = call.permit
        self._view = view
        self._size = size
        self._room_bytes = limits.PAGE_BYTES

    @property
    def is_full(self) -> bool:
        return len(self.response.checkpoints) == self._size

    async def add(self, keys: WorkflowKeys, entry: Entry) -> bool:
        """Add a checkpoint, with the requested contents that are small enough.

        The contents of a damaged checkpoint are left out: a load of it returns the error.

        Returns:
            Whether it was added. If not, the page has no room and the next page begins with it.

        """
        described = checkpoint_pb2.Checkpoint()
        self._view.describe(entry, described)
        room_bytes = self._room_bytes - messages.field_bytes(described)
        is_first = not self.response.checkpoints
        if not is_first and room_bytes < (self._payload_bytes(entry) or 0):
            return False
        if self._view.payload:
            content = await self._content(keys, entry, room_bytes if is_first else limits.PAGE_BYTES)
            if not is_first and messages.field_bytes(content) > room_bytes:
                return False
            room_bytes -= messages.field_bytes(content)
            self.response.contents.append(content)
        self.response.checkpoints.append(described)
        self._room_bytes = room_bytes
        self._permit.hold(limits.PAGE_BYTES - max(room_bytes, 0))
        return True

    def _payload_bytes(self, entry: Entry) -> int | None:
        """Return the size of the payload; None if it is not requested or too large for a page."""
        size_bytes = sum(part.size_bytes for part in entry.marker.parts)
        is_included = self._view.payload and size_bytes <= limits.UNARY_PAYLOAD_BYTES
        return size_bytes if is_included else None

    async def _content(self, keys: WorkflowKeys, entry: Entry, room_bytes: int) -> api.Content:
        """Read the requested contents of a checkpoint, as far as they fit."""
        content = api.Content()
        try:
            if self._payload_bytes(entry) is not None:
                await contents.add_payload(self._log, self._permit, content, keys, entry, bases=self._bases)
            if self._view.records:
                left_bytes = room_bytes - content.ByteSize() - _STAMP_BYTES
                limit_bytes = max(min(left_bytes, limits.RECORDS_ANSWER_BYTES), 0)
                stamp = await contents.add_records(
                    self._log.store, self._permit, content, keys, entry.marker.checkpoint_id, limit_bytes=limit_bytes
                )
                self.response.stamp = max(self.response.stamp, stamp)
        except HoldfastError as error:
            if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.CHECKPOINT_DELETED):
                raise
            content.Clear()
        return content
