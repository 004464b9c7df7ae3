"""The service over gRPC: the handlers of its methods, and the contexts of their calls."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn, TypeAlias
from urllib.parse import unquote

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api.call_context import CallerGoneError
from holdfast_server.api.errors import CallFailedError
from holdfast_server.api.malformed import Unparsed, parser
from holdfast_server.api.pipeline.pipelines import Pipelines
from holdfast_server.api.service import UNARY, CheckpointService

SERVICE_NAME = api.DESCRIPTOR.services_by_name["CheckpointService"].full_name

_METHODS = api.DESCRIPTOR.services_by_name["CheckpointService"].methods_by_name
_DETAILS_KEY = "grpc-status-details-bin"

_Servicer = grpc.aio.ServicerContext[Any, Any]
# Only its type stub has parameters.
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class GrpcContext:
    """A call of gRPC, as the service sees it.

    Args:
        servicer: gRPC's own context of the call.

    """

    def __init__(self, servicer: _Servicer) -> None:
        self._servicer = servicer
        # gRPC escapes the brackets of an IPv6 address.
        self.peer = unquote(servicer.peer())
        metadata = servicer.invocation_metadata() or ()
        self.headers = {key: value for key, value in metadata if isinstance(value, str)}
        if len(self.headers) < len(metadata):
            self.headers = _joined(metadata)
        self.time_remaining = servicer.time_remaining
        # Sends the initial metadata, alone or with the first message.
        self._beginning: asyncio.Future[None] | None = None

    def certificate(self) -> Mapping[str, Iterable[bytes]]:
        return self._servicer.auth_context()

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        await self._begin(self._servicer.send_initial_metadata(metadata))

    async def write(self, message: Any) -> None:
        if self._beginning is None:
            await self._begin(self._servicer.write(message))
            return
        try:
            await self._servicer.write(message)
        except grpc.aio.InternalError:
            raise CallerGoneError from None

    async def begun(self) -> None:
        """Wait until what began the response is sent, if anything did. Only then can gRPC send a status."""
        if self._beginning is not None:
            await asyncio.gather(self._beginning, return_exceptions=True)

    async def _begin(self, sending: Awaitable[None]) -> None:
        """Send what begins the response, even if the call is cancelled meanwhile.

        Otherwise gRPC would send the initial metadata again with the status, which fails: the caller would wait for
        ever.
        """
        self._beginning = asyncio.ensure_future(sending)
        try:
            await asyncio.shield(self._beginning)
        except grpc.aio.InternalError:
            raise CallerGoneError from None


def _joined(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Return the metadata that is text. Values of one key are joined, as in HTTP, so that none can hide another."""
    headers: dict[str, str] = {}
    for key, value in metadata:
        if isinstance(value, str):
            headers[key] = f"{headers[key]},{value}" if key in headers else value
    return headers


def add_to_server(service: CheckpointService, pipelines: Pipelines, server: grpc.aio.Server) -> None:
    """Let a server serve the methods of a service."""
    methods = dict(handlers(service, pipelines))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, methods),))
    server.add_registered_method_handlers(SERVICE_NAME, methods)


def handlers(service: CheckpointService, pipelines: Pipelines) -> Mapping[str, _Handler]:
    """Return the handler of each method, by its name."""
    return {
        **{
            name: _handler(grpc.unary_unary_rpc_method_handler, name, partial(service.unary, name), _postponed)
            for name in UNARY
        },
        "SaveStream": _handler(grpc.stream_unary_rpc_method_handler, "SaveStream", service.save_stream, parser),
        "LoadStream": _handler(grpc.unary_stream_rpc_method_handler, "LoadStream", service.load_stream, _postponed),
        "WatchWorkflow": _handler(
            grpc.unary_stream_rpc_method_handler, "WatchWorkflow", service.watch_workflow, _postponed
        ),
        # Its messages are bytes: it parses and serializes each call alone.
        "Pipeline": grpc.stream_stream_rpc_method_handler(_behaviour(pipelines.serve)),
    }


async def abort(servicer: _Servicer, failed: CallFailedError) -> NoReturn:
    """End a call of gRPC with the status of its failure."""
    details = failed.status.SerializeToString()
    await servicer.abort(failed.code, failed.status.message, ((_DETAILS_KEY, details),))


def _handler(
    kind: Callable[..., _Handler],
    name: str,
    serve: Callable[[Any, GrpcContext], Awaitable[Message | None]],
    reader: Callable[[Descriptor], Callable[[bytes], object]],
) -> _Handler:
    """Return the handler of a method, which serializes its responses.

    Args:
        kind: makes the handler.
        name: the method's name.
        serve: serves its calls.
        reader: returns a function that reads requests of a type. gRPC reads a single request before it starts the call,
            which must not be parsed before it is known who calls. It reads the messages of a stream one by one, when
            the call takes them.

    """
    return kind(
        _behaviour(serve),
        request_deserializer=reader(_METHODS[name].input_type),
        response_serializer=GetMessageClass(_METHODS[name].output_type).SerializeToString,
    )


def _postponed(expected: Descriptor) -> Callable[[bytes], Unparsed]:
    """Return a function that keeps the bytes of a request until the call takes it."""
    return partial(Unparsed, parser(expected))


def _behaviour(serve: Callable[[Any, GrpcContext], Awaitable[Message | None]]) -> Callable[..., Awaitable[Any]]:
    """Return a function that serves calls of gRPC, and sends the status of a call that fails."""

    async def behave(request: Any, servicer: _Servicer) -> Message | None:
        context = GrpcContext(servicer)
        try:
            try:
                return await serve(request, context)
            finally:
                await context.begun()
        except CallFailedError as failed:
            await abort(servicer, failed)
        except CallerGoneError:
            # gRPC is about to cancel the call. After any other exception it would send a status, and log a failure.
            raise asyncio.CancelledError from None

    return behave
