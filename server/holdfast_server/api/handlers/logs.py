"""ListLog."""

from contextlib import aclosing

from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import limits, log_entries, messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.checkpoints.heads import NamedHead, Skipped, head_or_skip
from holdfast_server.protocol.checkpoints.log_pages import walk_items
from holdfast_server.protocol.format.keys import MAX_REVISION


async def list_log(context: ServiceContext, call: Call, request: api.ListLogRequest) -> api.ListLogResponse:
    """Return one page of the entries of a log, newest first."""
    keys = requests.workflow(request.namespace, request.workflow_id)
    size = requests.page_size(request.page_size)
    above = requests.revision("after_revision", request, MAX_REVISION) or 0
    below = requests.revision("before_revision", request, MAX_REVISION + 1)
    position = requests.revision_token(request.page_token)
    bounds = [each for each in (below, position) if each is not None]
    damaged: list[Skipped] = []
    readable = await head_or_skip(context.log, keys, damaged)
    head = NamedHead.of(readable, damaged)
    response = api.ListLogResponse()
    messages.name_head(head, response.head)
    call.permit.hold(limits.PAGE_BYTES)
    room_bytes = limits.PAGE_BYTES
    items = walk_items(
        context.log,
        keys,
        head.revision,
        readable,
        above=above,
        below=min(bounds, default=MAX_REVISION + 1),
        size=size,
    )
    async with aclosing(items) as walk:
        async for item in walk:
            entry = checkpoint_pb2.LogEntry()
            log_entries.describe(item, entry)
            room_bytes -= messages.field_bytes(entry)
            if room_bytes < 0 and response.entries:
                response.next_page_token = str(item.revisions[1] + 1)
                return response
            response.entries.append(entry)
            if len(response.entries) == size and item.first - 1 > above:
                response.next_page_token = str(item.first)
    return response
