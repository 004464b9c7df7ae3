"""Server reflection in versions v1alpha and v1, for older and newer tools.

The library has v1alpha only. Version 1 has the same messages in another package, so that one servicer can answer both:
https://github.com/grpc/grpc-proto/tree/master/grpc/reflection
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from holdfast_server.api.calls import Calls
from holdfast_server.api.errors import CallFailedError
from holdfast_server.api.grpc_methods import GrpcContext, abort

_OLD, _NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"
_NEW_SERVICE = f"{_NEW}.ServerReflection"


def enable_reflection(server: grpc.aio.Server, services: Sequence[str], calls: Calls) -> None:
    """Let a server describe its services, and reflection itself, to administrators.

    Args:
        server: the server, before it starts.
        services: their full names.
        calls: decides who is an administrator. Without a policy every caller is one.

    """
    _describe_version_1()
    names = (*services, reflection.SERVICE_NAME, _NEW_SERVICE)
    servicer: Any = reflection.aio.ReflectionServicer(names)

    async def describe(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            await calls.require_admin(f"{_NEW_SERVICE}/ServerReflectionInfo", GrpcContext(context))
        except CallFailedError as failed:
            await abort(context, failed)
        async for response in servicer.ServerReflectionInfo(requests, context):
            yield response

    handler = grpc.stream_stream_rpc_method_handler(
        describe,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (reflection.SERVICE_NAME, _NEW_SERVICE):
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))


def _describe_version_1() -> None:
    """Add the descriptor of version 1, derived from that of v1alpha, to the pool."""
    pool: Any = descriptor_pool.Default()
    described = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(described)
    described.name = "grpc/reflection/v1/reflection.proto"
    described.package = _NEW
    for message in described.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(f".{_OLD}.", f".{_NEW}.")
    for service in described.service:
        for method in service.method:
            method.input_type = method.input_type.replace(f".{_OLD}.", f".{_NEW}.")
            method.output_type = method.output_type.replace(f".{_OLD}.", f".{_NEW}.")
    # Adding the same file twice is allowed.
    pool.AddSerializedFile(described.SerializeToString())
