"""A gRPC service with the same API and library that answers every call with constants. It prints its port."""

import asyncio
import sys
from typing import Any

import grpc
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer, add_CheckpointServiceServicer_to_server

_CHECKPOINT = checkpoint_pb2.Checkpoint(namespace="bench", workflow_id="w", checkpoint_id="c", revision=1)


class Nothing(CheckpointServiceServicer):
    async def Save(self, request: api.SaveRequest, context: Any) -> api.SaveResponse:  # noqa: N802
        return api.SaveResponse(checkpoint=_CHECKPOINT)

    async def Load(self, request: api.LoadRequest, context: Any) -> api.LoadResponse:  # noqa: N802
        part = checkpoint_pb2.Part(data=bytes(4096))
        return api.LoadResponse(checkpoint=_CHECKPOINT, parts=[part], payload_included=True)


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
