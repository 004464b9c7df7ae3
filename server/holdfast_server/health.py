"""Asks a running server whether it serves, by `grpc.health.v1`. Container health checks use it."""

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# The service name of readiness: whether calls that need the store can succeed now. The names "" and that of the service
# stand for liveness: whether the process serves, in whatever state its store is.
READY = "holdfast.ready"

_TIMEOUT_SECONDS = 3.0


class NotServingError(Exception):
    """A server does not serve. The message says why."""


def require_serving(target: str, *, ready: bool = False) -> None:
    """Check that a server answers within three seconds that it serves.

    Args:
        target: host:port.
        ready: check as well that its store works.

    Raises:
        NotServingError: it does not.

    """
    # A proxy could answer for another server than this one.
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=READY if ready else "")
            answer = stub.Check(request, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise NotServingError(f"no answer from {target}: {error.code().name}: {error.details()}") from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        raise NotServingError(f"{target} is not {'ready' if ready else 'serving'}: {status}")
