"""GetCapabilities."""

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server import SERVER_VERSION
from holdfast_server.api import limits
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.format.keys import LAYOUT_VERSION
from holdfast_server.protocol.format.marker import MARKER_VERSION

_FEATURES = (
    "copy",
    "fallback",
    "fencing",
    "log",
    "namespaces",
    "pipeline",
    "prune",
    "records",
    "replace",
    "store-status",
    "streams",
    "usage",
    "watch",
)


async def get_capabilities(
    context: ServiceContext, _call: Call, _request: api.GetCapabilitiesRequest
) -> api.GetCapabilitiesResponse:
    """Return versions, features and limits of this server."""
    return api.GetCapabilitiesResponse(
        server_version=SERVER_VERSION,
        api_versions=["holdfast.v1"],
        layout_version=LAYOUT_VERSION,
        marker_version=MARKER_VERSION,
        features=_FEATURES,
        limits=api.Limits(
            unary_payload_bytes=limits.UNARY_PAYLOAD_BYTES,
            chunk_bytes=limits.CHUNK_BYTES,
            payload_bytes=context.payload_limit_bytes,
            parts=limits.MAX_PARTS,
            labels=limits.MAX_LABELS,
            page_size=limits.MAX_PAGE_SIZE,
            records_bytes=limits.RECORDS_BYTES,
        ),
    )
