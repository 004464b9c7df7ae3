"""AcquireWriter."""

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.checkpoints import fence


async def acquire_writer(
    context: ServiceContext, call: Call, request: api.AcquireWriterRequest
) -> api.AcquireWriterResponse:
    """Append a fence, which raises the epoch: writers of earlier epochs can no longer commit.

    Raises:
        HoldfastError: LEASE_HELD, REVISION_CONFLICT, COMMIT_UNKNOWN, REQUEST_ID_REUSED, CHECKPOINT_CORRUPTED.

    """
    keys = requests.workflow(request.namespace, request.workflow_id)
    acquired = await fence.acquire_writer(
        context.log,
        requests.append(keys, request.request_id, request.attempt, None, call.origin),
        expected_revision=requests.expected_revision(request),
        lease=requests.lease(request),
        deadline=call.deadline,
    )
    marker = acquired.entry.marker
    call.describe(revision=marker.revision)
    response = api.AcquireWriterResponse(
        epoch=marker.writer_epoch,
        revision=marker.revision,
        replayed=acquired.replayed,
        lease_expire_time=marker.lease_expire_time if marker.HasField("lease_expire_time") else None,
    )
    messages.name_head(acquired.entry, response.head)
    return response
