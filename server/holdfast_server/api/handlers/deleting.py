"""Delete, DeleteWorkflow and Prune: deletions in one workflow."""

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.checkpoints import delete as protocol_delete
from holdfast_server.protocol.checkpoints import prune as protocol_prune
from holdfast_server.protocol.checkpoints import purge, records
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Appended, Request
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.listing import list_all

# Batches of records that are removed together with their workflow.
_MAX_BATCHES_REMOVED = 100_000


async def delete(context: ServiceContext, call: Call, request: api.DeleteRequest) -> api.DeleteResponse:
    """Delete one checkpoint, or purge it."""
    requests.name("checkpoint_id", request.checkpoint_id, 256)
    append = requests.append_with_epoch(request, call.origin)
    delete_or_purge = purge.purge if request.purge else protocol_delete.delete_checkpoint
    deletion = await delete_or_purge(context.log, append, request.checkpoint_id, deadline=call.deadline)
    call.describe(revision=deletion.entry.revision)
    response = api.DeleteResponse(revision=deletion.entry.revision, replayed=deletion.replayed)
    messages.name_head(deletion.entry, response.head)
    return response


async def delete_workflow(
    context: ServiceContext, call: Call, request: api.DeleteWorkflowRequest
) -> api.DeleteWorkflowResponse:
    """Delete every checkpoint of a workflow, and all records."""
    append = requests.append_with_epoch(request, call.origin)
    deletion = await delete_or_purge_workflow(context, call, append, purges=request.purge)
    call.describe(revision=deletion.entry.revision)
    response = api.DeleteWorkflowResponse(revision=deletion.entry.revision, replayed=deletion.replayed)
    messages.name_head(deletion.entry, response.head)
    return response


async def prune(context: ServiceContext, call: Call, request: api.PruneRequest) -> api.PruneResponse:
    """Delete all checkpoints except the newest ones and those that they need."""
    if request.keep_last < 1:
        raise requests.invalid("keep_last", f"expected 1 or more, got {request.keep_last}")
    append = requests.append_with_epoch(request, call.origin)
    deletion = await protocol_prune.prune(context.log, append, request.keep_last, deadline=call.deadline)
    response = api.PruneResponse(deleted=deletion.checkpoints)
    messages.name_head(deletion.head, response.head)
    return response


async def delete_or_purge_workflow(context: ServiceContext, call: Call, append: Request, *, purges: bool) -> Appended:
    """Append the deletion of a workflow and remove its records; see `delete_workflow`."""
    # Listed before the deletion: ids may be used again after it, and only records of before must be removed.
    batches = await _list_batches(context.log.store, append.keys)
    if purges:
        return await purge.purge_workflow(context.log, append, batches, deadline=call.deadline)
    deletion = await protocol_delete.delete_workflow(context.log, append, deadline=call.deadline)
    if not deletion.replayed:
        await records.forget(context.log.store, batches)
    return deletion


async def _list_batches(store: ObjectStore, keys: WorkflowKeys) -> list[str]:
    """Return the keys of a workflow's batches of records. Those beyond the limit are left to garbage collection."""
    found: list[str] = []
    async for batch in list_all(store, keys.records):
        found.append(batch.key)
        if len(found) == _MAX_BATCHES_REMOVED:
            break
    return found
