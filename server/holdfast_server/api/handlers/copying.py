"""CopyWorkflow."""

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.checkpoints import copy
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.compare_and_set import is_empty
from holdfast_server.protocol.maintenance import inventory, usage


async def copy_workflow(
    context: ServiceContext, call: Call, request: api.CopyWorkflowRequest
) -> api.CopyWorkflowResponse:
    """Copy the checkpoints of a workflow into another workflow of its namespace."""
    source = requests.workflow(request.namespace, request.workflow_id)
    requests.name("target_workflow_id", request.target_workflow_id, 512)
    if request.target_workflow_id == request.workflow_id:
        raise requests.invalid("target_workflow_id", "must differ from workflow_id")
    target = WorkflowKeys(request.namespace, request.target_workflow_id)
    append = requests.append(target, request.request_id, request.attempt, None, call.origin)
    await _require_room(context, source, target)
    copied = await copy.copy_workflow(context.log, source, append, deadline=call.deadline, encoder=context.encoder)
    response = api.CopyWorkflowResponse(copied=copied.checkpoints)
    messages.name_head(copied.source, response.head)
    messages.name_head(copied.target, response.target_head)
    return response


async def _require_room(context: ServiceContext, source: WorkflowKeys, target: WorkflowKeys) -> None:
    """Refuse a copy that would exceed the quota of the namespace. One that has begun may end.

    Raises:
        HoldfastError: QUOTA_EXCEEDED.

    """
    stored = context.stored
    if not stored.quota_of(target.namespace).limits_stored or not is_empty(await context.log.known_head(target)):
        return
    size_bytes = await usage.stored_bytes(await inventory.take(context.log.store, source.prefix))
    stored.require(target.namespace, size_bytes, 1)
    stored.add(target.namespace, size_bytes, 1)
