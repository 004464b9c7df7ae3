"""Asks a running server whether it serves, by `grpc.health.v1`: for the health checks of containers."""

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS = 3.0


def is_serving(target: str) -> bool:
    """Whether the server at a target, host:port, answers within three seconds that it serves."""
    # What answers from behind a proxy would not be the server that was asked for.
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
