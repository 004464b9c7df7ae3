"""CopyWorkflow."""

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.checkpoints import copy
from holdfast_server.protocol.format.keys import WorkflowKeys


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
    return api.CopyWorkflowResponse(
        copied=await copy.copy_workflow(context.log, source, append, deadline=call.deadline, encoder=context.encoder)
    )
