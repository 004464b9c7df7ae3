"""Records of checkpoints: attached by the batch, and listed."""

import base64

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.api.calls import Context
from holdfast_server.api.service import Service
from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.protocol import ownership, records


class Attachments(Service):
    """AttachRecords and ListRecords."""

    async def AttachRecords(  # noqa: N802
        self, request: api.AttachRecordsRequest, context: Context
    ) -> api.AttachRecordsResponse:
        """Attach records to a checkpoint id."""
        async with self._calls.enter("AttachRecords", context, request) as call:
            keys = requests.workflow(request.namespace, request.workflow_id)
            requests.name("checkpoint_id", request.checkpoint_id, 256)
            epoch = request.epoch if request.HasField("epoch") else None
            asked = requests.request(keys, request.request_id, request.attempt, epoch, call.trace_id)
            requests.records(request.records)
            if not 0 <= request.observed_stamp <= records.MAX_STAMP:
                raise requests.invalid("observed_stamp", "is none that a server gave")
            await ownership.require_unfenced(self._log, asked)
            batch = RecordBatch(
                checkpoint_id=request.checkpoint_id,
                request_id=request.request_id,
                stamp=self._stamps.next(request.observed_stamp),
                records=[StoredRecord(key=each.key, data=each.data, replace=each.replace) for each in request.records],
            )
            await self._records_room.require(keys, request.checkpoint_id, batch.ByteSize())
            await records.attach(self._log, keys, batch, deadline=call.deadline)
            return api.AttachRecordsResponse(stamp=batch.stamp)

    async def ListRecords(self, request: api.ListRecordsRequest, context: Context) -> api.ListRecordsResponse:  # noqa: N802
        """List the records of a checkpoint id."""
        async with self._calls.enter("ListRecords", context, request) as call:
            keys = requests.workflow(request.namespace, request.workflow_id)
            requests.name("checkpoint_id", request.checkpoint_id, 256)
            after = _decoded(request.page_token)
            limit = requests.RECORDS_ANSWER_BYTES
            found = await self.read_records(call.place, keys, request.checkpoint_id, after, limit)
            response = api.ListRecordsResponse(stamp=found.stamp)
            response.records.extend(messages.record(each) for each in found.records)
            if not found.is_whole:
                response.next_page_token = _encoded(response.records[-1].key)
            return response


def _encoded(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decoded(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise requests.invalid("page_token", "is none that this server gave") from None
