"""The gRPC service: each method admits its call and passes the request to the handler of its subject."""

# ruff: noqa: N802 - the methods are named by the API

from collections.abc import AsyncIterator

import grpc
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer

from holdfast_server.api.calls import Calls, GrpcContext
from holdfast_server.api.context import ServiceContext
from holdfast_server.api.handlers import (
    bulk_deleting,
    capabilities,
    copying,
    deleting,
    fencing,
    listing,
    loading,
    records,
    saving,
    validating,
)
from holdfast_server.api.streaming.uploads import Uploads
from holdfast_server.protocol.checkpoints.records import Room, Stamps
from holdfast_server.protocol.log.log import Log


class CheckpointService(CheckpointServiceServicer):
    """The service of one store.

    Args:
        log: the commit log of the store.
        calls: admits calls.
        inline_limit_bytes: how many bytes of payload a commit marker may hold.
        payload_limit_bytes: how many bytes a streamed payload may have.

    """

    def __init__(self, log: Log, calls: Calls, *, inline_limit_bytes: int, payload_limit_bytes: int) -> None:
        self._calls = calls
        self._context = ServiceContext(
            log=log,
            inline_limit_bytes=inline_limit_bytes,
            payload_limit_bytes=payload_limit_bytes,
            uploads=Uploads(),
            stamps=Stamps(),
            records_room=Room(log.store),
        )

    async def close(self) -> None:
        """Discard uploads whose stream broke."""
        await self._context.uploads.close()

    async def Save(self, request: api.SaveRequest, grpc_context: GrpcContext) -> api.SaveResponse:
        """Save a small checkpoint."""
        async with self._calls.enter("Save", grpc_context, request) as call:
            return await saving.save(self._context, call, request)

    async def SaveStream(
        self, messages: AsyncIterator[api.SaveStreamRequest], grpc_context: GrpcContext
    ) -> api.SaveStreamResponse:
        """Save a checkpoint of any size."""
        async with self._calls.enter("SaveStream", grpc_context, is_stream=True, messages=messages) as call:
            return await saving.save_stream(self._context, call, messages, grpc_context)

    async def GetUpload(self, request: api.GetUploadRequest, grpc_context: GrpcContext) -> api.GetUploadResponse:
        """Report how much of a streamed save has arrived."""
        async with self._calls.enter("GetUpload", grpc_context, request):
            return await saving.get_upload(self._context, request)

    async def Load(self, request: api.LoadRequest, grpc_context: GrpcContext) -> api.LoadResponse:
        """Load a checkpoint, with its payload if that is small."""
        async with self._calls.enter("Load", grpc_context, request) as call:
            return await loading.load(self._context, call, request)

    async def LoadStream(  # type: ignore[override] # the stub expects a generator
        self, request: api.LoadStreamRequest, grpc_context: GrpcContext
    ) -> None:
        """Load a checkpoint of any size."""
        async with self._calls.enter("LoadStream", grpc_context, request, is_stream=True) as call:
            await loading.load_stream(self._context, call, request, grpc_context)

    async def Validate(self, request: api.ValidateRequest, grpc_context: GrpcContext) -> api.ValidateResponse:
        """Check whether a workflow can be resumed."""
        async with self._calls.enter("Validate", grpc_context, request):
            return await validating.validate(self._context, request)

    async def List(self, request: api.ListRequest, grpc_context: GrpcContext) -> api.ListResponse:
        """List checkpoints of a workflow or a namespace."""
        async with self._calls.enter("List", grpc_context, request) as call:
            return await listing.list_checkpoints(self._context, call, request)

    async def ListWorkflows(
        self, request: api.ListWorkflowsRequest, grpc_context: GrpcContext
    ) -> api.ListWorkflowsResponse:
        """List the workflows of a namespace."""
        async with self._calls.enter("ListWorkflows", grpc_context, request):
            return await listing.list_workflows(self._context, request)

    async def Delete(self, request: api.DeleteRequest, grpc_context: GrpcContext) -> api.DeleteResponse:
        """Delete one checkpoint."""
        async with self._calls.enter("Delete", grpc_context, request) as call:
            return await deleting.delete(self._context, call, request)

    async def DeleteCheckpoints(
        self, request: api.DeleteCheckpointsRequest, grpc_context: GrpcContext
    ) -> api.DeleteCheckpointsResponse:
        """Delete the checkpoints that match a filter."""
        async with self._calls.enter("DeleteCheckpoints", grpc_context, request) as call:
            return await bulk_deleting.delete_checkpoints(self._context, call, request)

    async def DeleteWorkflow(
        self, request: api.DeleteWorkflowRequest, grpc_context: GrpcContext
    ) -> api.DeleteWorkflowResponse:
        """Delete all checkpoints and records of a workflow."""
        async with self._calls.enter("DeleteWorkflow", grpc_context, request) as call:
            return await deleting.delete_workflow(self._context, call, request)

    async def DeleteWorkflows(
        self, request: api.DeleteWorkflowsRequest, grpc_context: GrpcContext
    ) -> api.DeleteWorkflowsResponse:
        """Delete all checkpoints and records of the workflows whose ids begin with a prefix."""
        async with self._calls.enter("DeleteWorkflows", grpc_context, request) as call:
            return await bulk_deleting.delete_workflows(self._context, call, request)

    async def Prune(self, request: api.PruneRequest, grpc_context: GrpcContext) -> api.PruneResponse:
        """Delete all checkpoints of a workflow except the newest ones and those they need."""
        async with self._calls.enter("Prune", grpc_context, request) as call:
            return await deleting.prune(self._context, call, request)

    async def CopyWorkflow(
        self, request: api.CopyWorkflowRequest, grpc_context: GrpcContext
    ) -> api.CopyWorkflowResponse:
        """Copy the checkpoints of a workflow into another one."""
        async with self._calls.enter("CopyWorkflow", grpc_context, request) as call:
            return await copying.copy_workflow(self._context, call, request)

    async def AcquireWriter(
        self, request: api.AcquireWriterRequest, grpc_context: GrpcContext
    ) -> api.AcquireWriterResponse:
        """Fence every earlier writer of a workflow."""
        async with self._calls.enter("AcquireWriter", grpc_context, request) as call:
            return await fencing.acquire_writer(self._context, call, request)

    async def AttachRecords(
        self, request: api.AttachRecordsRequest, grpc_context: GrpcContext
    ) -> api.AttachRecordsResponse:
        """Attach records to a checkpoint id."""
        async with self._calls.enter("AttachRecords", grpc_context, request) as call:
            return await records.attach_records(self._context, call, request)

    async def ListRecords(self, request: api.ListRecordsRequest, grpc_context: GrpcContext) -> api.ListRecordsResponse:
        """List the records of a checkpoint id."""
        async with self._calls.enter("ListRecords", grpc_context, request) as call:
            return await records.list_records(self._context, call, request)

    async def GetCapabilities(
        self, request: api.GetCapabilitiesRequest, grpc_context: GrpcContext
    ) -> api.GetCapabilitiesResponse:
        """Report versions, features and limits of this server."""
        async with self._calls.enter("GetCapabilities", grpc_context, request):
            return capabilities.get_capabilities(self._context)

    async def Pipeline(  # type: ignore[override] # the stub expects a generator
        self, messages: AsyncIterator[api.PipelineRequest], grpc_context: GrpcContext
    ) -> None:
        """Refuse pipelines until they are served: callers use unary calls."""
        await grpc_context.abort(grpc.StatusCode.UNIMPLEMENTED, "this server has no pipelines yet")
