"""AttachRecords and ListRecords."""

import base64

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import contents, limits, messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.context import ServiceContext
from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.protocol.checkpoints import fence, records


async def attach_records(
    context: ServiceContext, call: Call, request: api.AttachRecordsRequest
) -> api.AttachRecordsResponse:
    """Write one batch of records for a checkpoint id, which need not exist.

    Raises:
        HoldfastError: WRITER_FENCED, QUOTA_EXCEEDED, COMMIT_UNKNOWN.

    """
    requests.name("checkpoint_id", request.checkpoint_id, 256)
    append = requests.append_with_epoch(request, call.origin)
    requests.records(request.records)
    if not 0 <= request.observed_stamp <= records.MAX_STAMP:
        raise requests.invalid("observed_stamp", f"{request.observed_stamp} was not issued by this service")
    head = await fence.require_unfenced(context.log, append)
    batch = RecordBatch(
        checkpoint_id=request.checkpoint_id,
        request_id=request.request_id,
        stamp=context.stamps.next(request.observed_stamp),
        records=[StoredRecord(key=record.key, data=record.data, replace=record.replace) for record in request.records],
    )
    size_bytes = batch.ByteSize()
    quota = context.stored.quota_of(request.namespace)
    context.stored.require(request.namespace, size_bytes)
    limit_bytes = int(min(records.MAX_CHECKPOINT_BYTES, quota.checkpoint_record_bytes))
    await context.records_room.require(append.keys, request.checkpoint_id, size_bytes, limit_bytes=limit_bytes)
    await records.attach(context.log, append.keys, batch, deadline=call.deadline)
    context.stored.add(request.namespace, size_bytes)
    response = api.AttachRecordsResponse(stamp=batch.stamp)
    messages.name_head(head, response.head)
    return response


async def list_records(context: ServiceContext, call: Call, request: api.ListRecordsRequest) -> api.ListRecordsResponse:
    """Return one page of the records of a checkpoint id, in key order."""
    keys = requests.workflow(request.namespace, request.workflow_id)
    requests.name("checkpoint_id", request.checkpoint_id, 256)
    found = await contents.read_records(
        context.log.store,
        call.permit,
        keys,
        request.checkpoint_id,
        after=_decode_token(request.page_token),
        limit_bytes=limits.RECORDS_ANSWER_BYTES,
        max_records=requests.max_records(request.page_size),
    )
    response = api.ListRecordsResponse(stamp=found.stamp)
    response.records.extend(messages.record(record) for record in found.records)
    if not found.is_whole:
        response.next_page_token = _encode_token(response.records[-1].key)
    return response


def _encode_token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise requests.foreign_page_token() from None
