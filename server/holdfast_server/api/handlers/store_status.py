"""GetStoreStatus."""

import asyncio

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server import SERVER_VERSION
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import LAYOUT_VERSION
from holdfast_server.protocol.maintenance import reports
from holdfast_server.protocol.maintenance.reports import Kind


async def get_store_status(
    context: ServiceContext, _call: Call, _request: api.GetStoreStatusRequest
) -> api.GetStoreStatusResponse:
    """Return versions, settings, and the reports of the last maintenance."""
    collection, check = await asyncio.gather(
        _report(context, Kind.COLLECTION),
        _report(context, Kind.CHECK),
    )
    response = api.GetStoreStatusResponse(
        server_version=SERVER_VERSION,
        store=context.facts.location,
        layout_version=LAYOUT_VERSION,
        marker_version=context.log.marker_version,
        configuration=context.facts.configuration,
        last_collection=collection,
        last_fsck=check,
    )
    response.grace.FromNanoseconds(round(context.log.grace_seconds * 1e9))
    return response


async def _report(context: ServiceContext, kind: Kind) -> api.MaintenanceReport | None:
    try:
        found = await reports.newest(context.log.store, kind)
    except HoldfastError as error:
        if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED):
            raise
        return api.MaintenanceReport(problem=error.message)
    if found is None:
        return None
    return api.MaintenanceReport(
        start_time=found.start_time,
        end_time=found.end_time,
        server_version=found.server_version,
        counts=found.counts,
        findings=[
            api.MaintenanceFinding(
                key=each.key,
                message=each.message,
                namespace=each.namespace,
                workflow_id=each.workflow_id,
                reason=each.reason,
            )
            for each in found.findings[: reports.MAX_FINDINGS]
        ],
        truncated=found.truncated,
        options=found.options,
    )
