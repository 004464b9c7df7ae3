"""Validate."""

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.checkpoints import validate as protocol_validate
from holdfast_server.protocol.checkpoints.load import Depth

_DEPTHS = {
    api.VALIDATE_DEPTH_UNSPECIFIED: Depth.CHECKSUM,
    api.VALIDATE_DEPTH_MARKER: Depth.MARKER,
    api.VALIDATE_DEPTH_PRESENCE: Depth.PRESENCE,
    api.VALIDATE_DEPTH_CHECKSUM: Depth.CHECKSUM,
}


async def validate(context: ServiceContext, _call: Call, request: api.ValidateRequest) -> api.ValidateResponse:
    """Check the checkpoint that a load would return. What is wrong with it is the answer, not an error."""
    keys = requests.workflow(request.namespace, request.workflow_id)
    requests.name("checkpoint_id", request.checkpoint_id, 256, required=False)
    accepted = requests.formats("accepted_formats", request.accepted_formats)
    if request.depth not in _DEPTHS:
        raise requests.invalid("depth", f"expected a ValidateDepth of this API, got {request.depth}")
    validated = await protocol_validate.validate(
        context.log, keys, request.checkpoint_id, _DEPTHS[request.depth], accepted
    )
    response = api.ValidateResponse(resumable=validated.resumable, findings=messages.findings(validated.findings))
    if validated.entry is not None:
        messages.describe(validated.entry, response.checkpoint)
    if validated.last_good is not None:
        messages.describe(validated.last_good, response.last_good)
    messages.name_head(validated.head, response.head)
    return response
