"""Save, SaveStream and GetUpload."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server import telemetry
from holdfast_server.api import messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.call_context import StreamContext
from holdfast_server.api.context import ServiceContext
from holdfast_server.api.malformed import refuse_malformed
from holdfast_server.api.stored import MARKER_BYTES, Reservation
from holdfast_server.api.streaming.incoming import Incoming, receive_messages
from holdfast_server.api.streaming.resume import RECEIVED_KEY, requested_resume
from holdfast_server.api.streaming.uploads import UploadKey
from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.checkpoints import save as protocol_save
from holdfast_server.protocol.checkpoints.save import CheckpointSpec
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.append_once import Appended, Request
from holdfast_server.protocol.log.replays import find_request
from holdfast_server.protocol.payload.encoding import HeldPart, Payload
from holdfast_server.protocol.payload.read_ahead import read_ahead


async def save(context: ServiceContext, call: Call, request: api.SaveRequest) -> api.SaveResponse:
    """Store the parts of a small checkpoint and commit it."""
    new = requests.save(request.header, call.origin)
    given = requests.parts(request.parts)
    parts = [await HeldPart.of(part.name, part.data, part.crc32c) for part in given]
    saved = await _commit(context, call, new, parts)
    response = api.SaveResponse(replayed=saved.replayed)
    messages.describe(saved.entry, response.checkpoint)
    messages.name_head(saved.entry, response.head)
    return response


async def save_stream(
    context: ServiceContext,
    call: Call,
    request_iterator: AsyncIterator[api.SaveStreamRequest],
    stream: StreamContext,
) -> api.SaveStreamResponse:
    """Receive the parts of a checkpoint, store them and commit it."""
    async with aclosing(receive_messages(request_iterator, call.permit)) as received:
        first = await anext(received, None)
        refuse_malformed(first)
        if first is None or first.WhichOneof("message") != "header":
            raise requests.invalid("header", "must be the first message of the stream")
        call.set_request(first)
        new = requests.save(first.header, call.origin)
        await call.record_request()
        async with (
            _open_upload(context, call, stream, new) as incoming,
            aclosing(_within_quota(context, new, received)) as within_quota,
            read_ahead(within_quota) as ahead,
        ):
            saved = await _commit(context, call, new, await incoming.receive(ahead))
        response = api.SaveStreamResponse(replayed=saved.replayed)
        messages.describe(saved.entry, response.checkpoint)
        messages.name_head(saved.entry, response.head)
        return response


async def get_upload(context: ServiceContext, call: Call, request: api.GetUploadRequest) -> api.GetUploadResponse:
    """Return how much of a streamed save has arrived here. An open stream of that save is ended."""
    keys = requests.workflow(request.namespace, request.workflow_id)
    requests.name("request_id", request.request_id, 128)
    upload = UploadKey(keys, request.request_id, call.principal.name)
    incoming = await context.uploads.take(upload)
    if incoming is None:
        return api.GetUploadResponse()
    context.uploads.park(upload, incoming)
    part, offset = incoming.position
    return api.GetUploadResponse(found=True, part=part, offset=offset, size_bytes=incoming.size_bytes)


@asynccontextmanager
async def _open_upload(
    context: ServiceContext, call: Call, stream: StreamContext, new: CheckpointSpec
) -> AsyncIterator[Incoming]:
    """Open the upload of a streamed save: the one of an earlier stream if the caller resumes it, otherwise a new one.

    Raises:
        HoldfastError: UPLOAD_LOST: the caller resumes from another position than the one that this server has reached.

    """
    keys = new.request.keys
    upload = UploadKey(keys, new.request.request_id, call.principal.name)
    resumes, expected = requested_resume(stream)
    earlier = await context.uploads.take(upload) if resumes else None
    incoming = earlier or Incoming(
        context.log.store,
        keys,
        await context.log.known_revision(keys),
        inline_limit_bytes=context.encoder.inline_limit_bytes,
        payload_limit_bytes=context.payload_limit_bytes,
        held=call.permit.upload() if context.encoder.rules.apply_to(keys.namespace) else None,
    )
    incoming.begin_stream()
    part, offset = incoming.position
    async with context.uploads.stream(upload, incoming):
        if expected not in (None, (part, offset)):
            raise HoldfastError(
                Reason.UPLOAD_LOST,
                f"cannot resume the upload at part {expected[0]}, byte {expected[1]}: "
                f"this server has received it up to part {part}, byte {offset}",
                part=part,
                offset=offset,
            )
        await stream.send_initial_metadata(((RECEIVED_KEY, f"{part}:{offset}"),))
        yield incoming


async def _within_quota(
    context: ServiceContext, new: CheckpointSpec, messages: AsyncIterator[api.SaveStreamRequest]
) -> AsyncGenerator[api.SaveStreamRequest]:
    """Yield the messages of a stream until they exceed the quota of the namespace, so that no more is stored in vain.

    A later attempt is not refused if an earlier one may have committed.

    Raises:
        HoldfastError: QUOTA_EXCEEDED.

    """
    received_bytes = MARKER_BYTES
    may_be_committed = False
    async for message in messages:
        if isinstance(message, api.SaveStreamRequest) and not may_be_committed:
            received_bytes += message.ByteSize()
            try:
                context.stored.require(new.request.keys.namespace, received_bytes)
            except HoldfastError:
                may_be_committed = await _may_be_committed(context, new.request)
                if not may_be_committed:
                    raise
        yield message


async def _may_be_committed(context: ServiceContext, request: Request) -> bool:
    """Return whether an earlier attempt of a save may have committed, which only the log says."""
    if request.is_first_attempt:
        return False
    head = await context.log.known_head(request.keys)
    if head is None:
        return False
    try:
        earlier = await find_request(
            context.log, request.keys, head, request.request_id, request.first_attempt_at, is_silent=request.is_silent
        )
    except HoldfastError:
        # The commit finds out, and reports it.
        return True
    return earlier is not None


async def _commit(
    context: ServiceContext, call: Call, new: CheckpointSpec, parts: Sequence[StoredPart | HeldPart]
) -> Appended:
    payload = Payload(context.encoder, new.request.keys, parts)
    keys = new.request.keys
    room = Reservation(context.stored, keys, MARKER_BYTES + sum(part.size_bytes for part in parts))
    stored_bytes = None
    try:
        saved = await protocol_save.save(context.log, new, payload, deadline=call.deadline, admit=room.take)
        if not saved.replayed:
            stored = saved.entry.marker.parts
            stored_bytes = MARKER_BYTES + sum(part.stored_bytes or part.size_bytes for part in stored)
    except BaseException:
        telemetry.ORPHANS.add(payload.blobs)
        raise
    finally:
        room.settle(stored_bytes)
    context.indexer.extend_soon(saved.entry)
    orphans = payload.blobs - (0 if saved.replayed else sum(1 for part in saved.entry.marker.parts if part.blob))
    if orphans:
        telemetry.ORPHANS.add(orphans)
    call.describe(checkpoint=saved.entry.marker.checkpoint_id, revision=saved.entry.revision)
    if stored_bytes is not None:
        payload_bytes = sum(part.size_bytes for part in parts)
        telemetry.count_save(new.format_name, payload_bytes=payload_bytes, stored_bytes=stored_bytes)
    return saved
