"""GetUsage."""

import asyncio
import time
from math import inf

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.api.stored import Total
from holdfast_server.protocol.format import names
from holdfast_server.protocol.maintenance import usage_pages
from holdfast_server.protocol.maintenance.usage_pages import WorkflowUsage

# A page takes at most this time, about, so that callers see progress; and a part of what the call has left.
_PAGE_SECONDS = 5.0
_PART_OF_CALL = 0.5


async def get_usage(context: ServiceContext, call: Call, request: api.GetUsageRequest) -> api.GetUsageResponse:
    """Return one page of what the workflows of a namespace take in the store, and what its quotas count."""
    size = requests.page_size(request.page_size)
    if request.view not in api.UsageView.values():
        raise requests.invalid("view", f"unknown value {request.view}")
    is_full = request.view != api.USAGE_VIEW_STORED
    left_seconds = call.deadline - asyncio.get_running_loop().time()
    end_seconds = time.monotonic() + min(_PAGE_SECONDS, left_seconds * _PART_OF_CALL)
    if request.workflow_id:
        keys = requests.workflow(request.namespace, request.workflow_id)
        if request.workflow_id_prefix:
            raise requests.invalid("workflow_id_prefix", "must be empty if workflow_id is set")
        page = await usage_pages.page_of_one(
            context.log, keys, request.page_token, reads_markers=is_full, end_seconds=end_seconds
        )
    else:
        requests.namespace(request.namespace)
        requests.name_prefix("workflow_id_prefix", request.workflow_id_prefix, names.MAX_WORKFLOW_ID_BYTES)
        page = await usage_pages.page(
            context.log,
            request.namespace,
            request.page_token,
            size,
            id_prefix=request.workflow_id_prefix,
            reads_markers=is_full,
            end_seconds=end_seconds,
        )
    response = api.GetUsageResponse(next_page_token=page.next_token, damaged_listings=page.damaged_listings)
    for each in page.workflows:
        _describe(each, response.workflows.add(), is_full=is_full, is_finished=True)
    if page.unfinished is not None:
        _describe(page.unfinished, response.unfinished, is_full=is_full, is_finished=False)
    total = context.stored.total(request.namespace)
    if total is not None:
        _describe_total(total, response.total)
    return response


def _describe(found: WorkflowUsage, into: api.WorkflowUsage, *, is_full: bool, is_finished: bool) -> None:
    usage = found.usage
    into.workflow_id = "" if found.keys is None else found.keys.workflow_id
    into.key_prefix = found.prefix
    into.head_revision = usage.head_revision
    into.objects = usage.objects
    into.stored_bytes = usage.stored_bytes
    into.record_bytes = usage.record_bytes
    into.index_bytes = usage.index_bytes
    if is_full:
        into.checkpoints = usage.checkpoints
        into.size_bytes = usage.size_bytes
        into.damaged_markers = usage.damaged_markers
        if is_finished:
            into.live_bytes = usage.live_bytes
            into.deleted_bytes = usage.deleted_bytes


def _describe_total(total: Total, into: api.NamespaceUsage) -> None:
    into.stored_bytes = total.stored_bytes
    into.workflows = total.workflows
    if total.measured_seconds is not None:
        into.measure_time.FromMilliseconds(round(total.measured_seconds * 1000))
    if total.quota.stored_bytes < inf:
        into.stored_bytes_limit = int(total.quota.stored_bytes)
    if total.quota.workflows < inf:
        into.workflows_limit = int(total.quota.workflows)
