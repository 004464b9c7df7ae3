"""Asks a running server whether it serves, by `grpc.health.v1`: for the health checks of containers."""

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS = 3.0


# The name by which `grpc.health.v1` is asked for readiness: whether calls that need the store can succeed now. The
# names "" and that of the service answer whether the process lives, whatever becomes of its store.
READY = "holdfast.ready"


def is_serving(target: str, *, ready: bool = False) -> bool:
    """Return whether a server answers within three seconds that it serves.

    Args:
        target: host:port.
        ready: ask whether its store works as well.

    """
    # What answers from behind a proxy would not be the server that was asked for.
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(service=READY if ready else ""), timeout=_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
