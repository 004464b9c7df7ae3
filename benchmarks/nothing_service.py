"""A gRPC service with the same API and library that only answers: it stores nothing. It prints its port."""

import asyncio
import hashlib
import sys
from typing import Any

import grpc
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer, add_CheckpointServiceServicer_to_server

_PAYLOAD = bytes(4096)
_SHA256 = hashlib.sha256(_PAYLOAD).digest()


class Nothing(CheckpointServiceServicer):
    async def Save(self, request: api.SaveRequest, context: Any) -> api.SaveResponse:  # noqa: N802
        header = request.header
        return api.SaveResponse(
            checkpoint=checkpoint_pb2.Checkpoint(
                namespace=header.namespace,
                workflow_id=header.workflow_id,
                checkpoint_id=header.checkpoint_id or "c",
                revision=1,
                format=header.format,
                parts=[checkpoint_pb2.PartInfo(name=part.name, size_bytes=len(part.data)) for part in request.parts],
            )
        )

    async def Load(self, request: api.LoadRequest, context: Any) -> api.LoadResponse:  # noqa: N802
        checkpoint = checkpoint_pb2.Checkpoint(
            namespace=request.namespace,
            workflow_id=request.workflow_id,
            checkpoint_id=request.checkpoint_id or "c",
            revision=1,
            size_bytes=len(_PAYLOAD),
            parts=[checkpoint_pb2.PartInfo(size_bytes=len(_PAYLOAD), sha256=_SHA256)],
        )
        part = checkpoint_pb2.Part(data=_PAYLOAD)
        return api.LoadResponse(checkpoint=checkpoint, parts=[part], payload_included=True)


async def main() -> None:
    server = grpc.aio.server()
    add_CheckpointServiceServicer_to_server(Nothing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
