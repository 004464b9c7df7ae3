"""ListNamespaces."""

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.checkpoints import namespaces
from holdfast_server.protocol.checkpoints.namespaces import Visible
from holdfast_server.protocol.format.names import MAX_NAMESPACE_BYTES
from holdfast_server.trust.patterns import ANYTHING


async def list_namespaces(
    context: ServiceContext, call: Call, request: api.ListNamespacesRequest
) -> api.ListNamespacesResponse:
    """Return one page of the namespaces that the caller may read."""
    size = requests.page_size(request.page_size)
    requests.name_prefix("namespace_prefix", request.namespace_prefix, MAX_NAMESPACE_BYTES)
    visible = _visible(call.readable()).within(request.namespace_prefix)
    page = await namespaces.page(context.log, visible, request.page_token, size)
    return api.ListNamespacesResponse(namespaces=page.namespaces, next_page_token=page.next_token)


def _visible(patterns: frozenset[str]) -> Visible:
    beginnings = {each for each in patterns if each.endswith(ANYTHING)}
    return Visible(patterns - beginnings, frozenset(each.removesuffix(ANYTHING) for each in beginnings))
