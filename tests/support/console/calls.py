"""A server between a console and the real one, which counts calls, holds them, and can lack methods."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from holdfast.v1 import checkpoint_service_pb2 as api

_SERVICE = api.DESCRIPTOR.services_by_name["CheckpointService"]
_PATH = f"/{_SERVICE.full_name}/"


class Between(grpc.GenericRpcHandler):
    """Passes the calls of a client on to a server, each by itself: it has no pipelines.

    Attributes:
        counts: how many calls of each method have come.
        lacking: the methods that it does not have, like a server of an older version.
        held: while this is set, no call is passed on; each waits for its deadline.

    """

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)
        self.counts: Counter[str] = Counter()
        self.lacking: set[str] = set()
        self.held = threading.Event()
        self._released = threading.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return the handler of a method."""
        name = handler_call_details.method.removeprefix(_PATH)
        method = _SERVICE.methods_by_name.get(name)
        if method is None or name == "Pipeline" or name in self.lacking:
            return None
        self.counts[name] += 1
        kind = "_".join("stream" if each else "unary" for each in (method.client_streaming, method.server_streaming))
        call = getattr(self._channel, kind)(handler_call_details.method)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(self._streamed(call) if method.server_streaming else self._answered(call))

    def release(self) -> None:
        """End the calls that are held."""
        self._released.set()

    def close(self) -> None:
        """Close the connection to the server."""
        self._channel.close()

    def _answered(self, call: Any) -> Callable[[Any, grpc.ServicerContext], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self._wait(context)
            try:
                response, done = call.with_call(request, **_options(context))
            except grpc.RpcError as error:
                _fail(context, error)
            context.set_trailing_metadata(done.trailing_metadata())
            return response

        return answer

    def _streamed(self, call: Any) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._wait(context)
            responses = call(request, **_options(context))
            context.add_callback(responses.cancel)
            try:
                yield from responses
            except grpc.RpcError as error:
                _fail(context, error)

        return answer

    def _wait(self, context: grpc.ServicerContext) -> None:
        if self.held.is_set():
            self._released.wait(context.time_remaining())


def _options(context: grpc.ServicerContext) -> dict[str, Any]:
    metadata = [pair for pair in context.invocation_metadata() if pair[0] != "user-agent"]
    return {"metadata": metadata, "timeout": context.time_remaining()}


def _fail(context: grpc.ServicerContext, error: Any) -> None:
    context.set_trailing_metadata(error.trailing_metadata() or ())
    context.abort(error.code(), error.details())


@contextmanager
def between(target: str) -> Iterator[tuple[Between, str]]:
    """Serve between a client and a server while the block lasts. Yield the handler and its target."""
    handler = Between(target)
    with ThreadPoolExecutor(32) as threads:
        server = grpc.server(threads, handlers=[handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield handler, f"127.0.0.1:{port}"
        finally:
            handler.release()
            server.stop(None).wait()
            handler.close()
