"""Messages of saves, and the details of a refused call."""

import grpc
import pytest
from crc32c import crc32c
from google.rpc import error_details_pb2, status_pb2
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

FORMAT = checkpoint_pb2.Format(name="f", version=1)
WORKFLOW = {"namespace": "n", "workflow_id": "w"}


def header(**changes):
    return checkpoint_pb2.SaveHeader(**({"request_id": "r", "format": FORMAT} | WORKFLOW | changes))


def chunk(data, offset=0):
    return api.SaveStreamRequest(chunk=checkpoint_pb2.Chunk(data=data, offset=offset, crc32c=crc32c(data)))


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = status_pb2.Status()
    for key, value in caught.value.trailing_metadata():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    details = {}
    for packed in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RequestInfo, error_details_pb2.BadRequest):
            if packed.Is(kind.DESCRIPTOR):
                details[kind] = kind()
                packed.Unpack(details[kind])
    return details


async def reason(call):
    return (await refusal(call))[error_details_pb2.ErrorInfo].reason
