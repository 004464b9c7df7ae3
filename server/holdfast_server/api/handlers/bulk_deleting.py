"""DeleteCheckpoints and DeleteWorkflows: deletions of many checkpoints or workflows, page by page."""

import asyncio
from contextlib import aclosing

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.api.filters import Filter
from holdfast_server.api.handlers.deleting import delete_or_purge_workflow
from holdfast_server.protocol.checkpoints import delete, load, prune, workflows
from holdfast_server.protocol.checkpoints.heads import Skipped, read_head
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import workflow_of
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.compare_and_set import is_empty
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.stores.base import ObjectStore

# Workflows and checkpoints that one page examines, and failures that it reports.
_MAX_EXAMINED = 2000
_MAX_FAILED = 100
# A page ends once this part of its time is used up, so that its answer arrives before the deadline.
_PAGE_TIME_PART = 0.5
# In a page token, separates the position from the first workflow in which the deletion failed.
_FAILED = "!"
# Reasons that concern a single workflow: the deletion continues with the next one.
_OF_ONE_WORKFLOW = frozenset({Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED, Reason.LOG_FULL})


async def delete_checkpoints(
    context: ServiceContext, call: Call, request: api.DeleteCheckpointsRequest
) -> api.DeleteCheckpointsResponse:
    """Delete the checkpoints of a workflow, or of all workflows of a namespace, that match a filter."""
    checkpoint_filter = Filter.of(request.filter)
    if request.all and checkpoint_filter.is_selective:
        raise requests.invalid("all", "must not be set together with labels or times in the filter")
    if not request.all and not checkpoint_filter.is_selective:
        raise requests.invalid("filter", "must have labels or a time, or set all to delete every checkpoint")
    if request.workflow_id:
        append = requests.append_with_epoch(request, call.origin)
        deletion, _ = await _delete_matching(context, call, append, checkpoint_filter)
        response = api.DeleteCheckpointsResponse(deleted=deletion.checkpoints)
        messages.name_head(deletion.head, response.head)
        return response
    requests.namespace(request.namespace)
    if request.HasField("epoch"):
        raise requests.invalid("epoch", "needs a workflow_id")
    return await _delete_in_namespace(context, call, request, checkpoint_filter)


async def _delete_in_namespace(
    context: ServiceContext, call: Call, request: api.DeleteCheckpointsRequest, checkpoint_filter: Filter
) -> api.DeleteCheckpointsResponse:
    """Delete in every workflow of a namespace. A failure in one workflow does not stop the others.

    The page token carries the first workflow that failed. The last page raises the error.
    """
    response = api.DeleteCheckpointsResponse()
    token, _, first_failed = request.page_token.partition(_FAILED)
    examined = 0

    def note_failure(prefix: str, revision: int, error: HoldfastError) -> None:
        nonlocal first_failed
        first_failed = first_failed or workflows.token_of(prefix)

    walk = workflows.walk(context.log, request.namespace, token, includes_it=False, on_unreadable=note_failure)
    async with aclosing(walk) as heads:
        async for position, head in heads:
            if examined >= _MAX_EXAMINED:
                response.next_page_token = f"{token}{_FAILED}{first_failed}" if first_failed else token
                return response
            append = requests.append(head.keys, request.request_id, request.attempt, None, call.origin)
            try:
                deletion, seen = await _delete_matching(context, call, append, checkpoint_filter)
                deleted = deletion.checkpoints
            except HoldfastError as error:
                if error.reason not in _OF_ONE_WORKFLOW:
                    raise
                deleted, seen = 0, 1
                note_failure(head.keys.prefix, head.revision, error)
            response.deleted += deleted
            examined += 1 + seen
            token = position
    if first_failed:
        prefix = workflows.prefix_of(request.namespace, first_failed)
        raise HoldfastError(
            Reason.CHECKPOINT_CORRUPTED,
            f"not all matching checkpoints were deleted: commit markers of {prefix}, and perhaps of other workflows, "
            "cannot be read",
            prefix=prefix,
        )
    return response


async def _delete_matching(
    context: ServiceContext, call: Call, append: Request, checkpoint_filter: Filter
) -> tuple[prune.Deletion, int]:
    """Delete the matching checkpoints of a workflow. Return the deletion and how many checkpoints were examined.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: a marker is damaged, which may match; all others are deleted.

    """
    seen = 0
    matching: list[int] = []
    skipped: list[Skipped] = []
    head = await read_head(context.log, append.keys)
    async for entry in load.history_of(context.log, append.keys, head, None, skipped):
        seen += 1
        if checkpoint_filter.passes(entry):
            matching.append(entry.revision)
    deletion = prune.Deletion(0, head)
    if matching:
        deletion = await prune.delete_many(context.log, append, matching, deadline=call.deadline)
    if skipped:
        raise skipped[0].error
    return deletion.with_head(head), seen


async def delete_workflows(
    context: ServiceContext, call: Call, request: api.DeleteWorkflowsRequest
) -> api.DeleteWorkflowsResponse:
    """Delete every checkpoint and all records of the workflows whose ids begin with a prefix.

    Workflows that cannot be deleted are reported in the response.
    """
    requests.namespace(request.namespace)
    requests.name("request_id", request.request_id, 128)
    prefix = request.workflow_id_prefix
    requests.name_prefix("workflow_id_prefix", prefix, 512)
    if bool(prefix) == request.all:
        raise requests.invalid("workflow_id_prefix", "must not be empty, unless all is set instead of it")
    clock = asyncio.get_running_loop().time
    pause_at = clock() + (call.deadline - clock()) * _PAGE_TIME_PART
    response = api.DeleteWorkflowsResponse()
    examined, token = 0, request.page_token
    unreadable: set[str] = set()

    def report_unreadable(of: str, revision: int, error: HoldfastError) -> None:
        # No deletion can be appended after a newest marker that cannot be read.
        keys = workflow_of(of)
        if of not in unreadable and (keys is None or keys.workflow_id.startswith(prefix)):
            response.failed.add(
                workflow_id=of if keys is None else keys.workflow_id, reason=error.reason, message=error.message
            )
        unreadable.add(of)

    walk = workflows.walk(
        context.log, request.namespace, token, includes_it=False, id_prefix=prefix, on_unreadable=report_unreadable
    )
    async with aclosing(walk) as heads:
        async for position, head in heads:
            is_late = examined > 0 and clock() > pause_at
            if is_late or examined >= _MAX_EXAMINED or len(response.failed) >= _MAX_FAILED:
                response.next_page_token = token
                break
            examined += 1
            token = position
            if head.keys.prefix in unreadable or not head.keys.workflow_id.startswith(prefix):
                continue
            is_deleted = delete.is_deleted_workflow(head)
            if is_deleted and not (request.purge and await _has_remains(context.log.store, head)):
                continue
            append = requests.append(head.keys, request.request_id, request.attempt, None, call.origin)
            await _delete_one_workflow(
                context, call, append, response, has_checkpoints=not is_empty(head), purges=request.purge
            )
    return response


async def _delete_one_workflow(
    context: ServiceContext,
    call: Call,
    append: Request,
    response: api.DeleteWorkflowsResponse,
    *,
    has_checkpoints: bool,
    purges: bool,
) -> None:
    try:
        deletion = await delete_or_purge_workflow(context, call, append, purges=purges)
    except HoldfastError as error:
        if error.reason not in _OF_ONE_WORKFLOW:
            raise
        response.failed.add(workflow_id=append.keys.workflow_id, reason=error.reason, message=error.message)
    else:
        response.deleted += has_checkpoints and not deletion.replayed


async def _has_remains(store: ObjectStore, head: Entry) -> bool:
    """Return whether a deleted workflow still has objects other than the marker of its deletion."""
    listed = await store.list(head.keys.prefix, limit=2)
    return any(summary.key != head.keys.marker(head.revision) for summary in listed)
