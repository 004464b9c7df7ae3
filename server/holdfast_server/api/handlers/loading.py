"""Load and LoadStream."""

from contextlib import aclosing

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server import telemetry
from holdfast_server.api import contents, limits, messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.call_context import StreamContext
from holdfast_server.api.context import ServiceContext
from holdfast_server.api.streaming.outgoing import StuckReaderError, end_stuck, part_messages, write
from holdfast_server.api.views import View
from holdfast_server.protocol.checkpoints import load as protocol_load
from holdfast_server.protocol.checkpoints.heads import OvertakenError, retry_overtaken
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.payload.digests import BLOCK_BYTES
from holdfast_server.protocol.payload.reads import rebuilding_bytes

# Blocks in memory: one that is being sent, and those that are read ahead. The store answers one request after about as
# long as it takes to send a few blocks.
_LEAST_STREAM_BYTES = 3 * BLOCK_BYTES
_MOST_STREAM_BYTES = 8 * BLOCK_BYTES
_FALLBACKS = frozenset(api.Fallback.values())


async def load(context: ServiceContext, call: Call, request: api.LoadRequest) -> api.LoadResponse:
    """Return a checkpoint as far as the request's view includes it; a payload or records only if they are small.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_NOT_FOUND, CHECKPOINT_DELETED, CHECKPOINT_CORRUPTED,
            FORMAT_INCOMPATIBLE, LAYOUT_UNSUPPORTED, OVERLOADED.

    """
    # A checkpoint that is deleted or replaced during the load is looked up again, which shows which of the two it was.
    return await retry_overtaken(lambda: _load_once(context, call, request))


async def _load_once(context: ServiceContext, call: Call, request: api.LoadRequest) -> api.LoadResponse:
    keys = requests.workflow(request.namespace, request.workflow_id)
    view = View.of(request.view, api.CHECKPOINT_VIEW_PAYLOAD)
    found = await _find(context, call, request)
    response = api.LoadResponse(
        fell_back=bool(found.skipped),
        skipped=messages.skipped_checkpoints(found.skipped),
        head_revision=found.head_revision,
    )
    messages.name_head(found.head, response.head)
    view.describe(found.entry, response.checkpoint)
    if view.records:
        checkpoint_id = found.entry.marker.checkpoint_id
        response.stamp = await contents.add_records(
            context.log.store, call.permit, response, keys, checkpoint_id, limit_bytes=limits.RECORDS_ANSWER_BYTES
        )
    if view.payload and response.checkpoint.size_bytes <= limits.UNARY_PAYLOAD_BYTES:
        await contents.add_payload(context.log, call.permit, response, keys, found.entry, bases=context.encoder.bases)
    return response


async def load_stream(
    context: ServiceContext, call: Call, request: api.LoadStreamRequest, stream: StreamContext
) -> None:
    """Send a checkpoint's header, the chunks of its parts or of the requested ranges, and a finish.

    Raises:
        HoldfastError: as of `load`, and DEADLINE_EXCEEDED: the caller reads nothing.

    """
    try:
        await _send(context, call, request, stream)
    except StuckReaderError as stuck:
        await end_stuck(call, stuck.sending)


async def _send(context: ServiceContext, call: Call, request: api.LoadStreamRequest, stream: StreamContext) -> None:
    keys = requests.workflow(request.namespace, request.workflow_id)
    found = await _find(context, call, request)
    parts = found.entry.marker.parts
    size_bytes = sum(part.size_bytes for part in parts)
    rebuilt_bytes = rebuilding_bytes(parts)
    held_bytes = call.permit.hold_some(
        min(size_bytes, _LEAST_STREAM_BYTES) + rebuilt_bytes, min(size_bytes, _MOST_STREAM_BYTES) + rebuilt_bytes
    )
    blocks_ahead = max(1, (held_bytes - rebuilt_bytes) // BLOCK_BYTES - 1)
    header = api.LoadStreamHeader(
        fell_back=bool(found.skipped),
        skipped=messages.skipped_checkpoints(found.skipped),
        head_revision=found.head_revision,
    )
    messages.name_head(found.head, header.head)
    messages.describe(found.entry, header.checkpoint)
    await write(stream, api.LoadStreamResponse(header=header))
    try:
        bases = context.encoder.bases
        sent = part_messages(context.log.store, bases, keys, parts, request.ranges, blocks_ahead=blocks_ahead)
        async with aclosing(sent) as outgoing:
            async for message in outgoing:
                if message.HasField("finish"):
                    telemetry.count_loaded(found.entry.marker.format.name, message.finish.size_bytes)
                await write(stream, message)
                await call.permit.pace(message.ByteSize())
    except HoldfastError as error:
        failure = await protocol_load.as_of_now(context.log, keys, found.entry, error)
        if not isinstance(failure, OvertakenError):
            raise failure from None
        # Raises if the checkpoint was deleted. If it was replaced, the stream ends without a finish, and the caller
        # starts again.
        await protocol_load.find(context.log, keys, found.entry.marker.checkpoint_id, (), fallback=False)


async def _find(
    context: ServiceContext, call: Call, request: api.LoadRequest | api.LoadStreamRequest
) -> protocol_load.Found:
    keys = requests.workflow(request.namespace, request.workflow_id)
    requests.name("checkpoint_id", request.checkpoint_id, 256, required=False)
    accepted = requests.formats("accepted_formats", request.accepted_formats)
    if request.fallback not in _FALLBACKS:
        raise requests.invalid("fallback", f"expected a Fallback of this API, got {request.fallback}")
    fallback = request.fallback == api.FALLBACK_LAST_GOOD
    found = await protocol_load.find(
        context.log, keys, request.checkpoint_id, accepted, fallback=fallback, bases=context.encoder.bases
    )
    call.describe(checkpoint=found.entry.marker.checkpoint_id, revision=found.entry.revision)
    if found.skipped:
        telemetry.FALLBACKS.add(1)
    return found
