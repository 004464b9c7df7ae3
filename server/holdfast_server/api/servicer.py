"""CheckpointService: each call's request checked, the protocol asked, its answer put into a message."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server import SERVER_VERSION, telemetry
from holdfast_server.api import messages, requests
from holdfast_server.api.attachments import Attachments
from holdfast_server.api.calls import RECEIVED_KEY, Call, Calls, Context, resuming
from holdfast_server.api.changes import Changes
from holdfast_server.api.incoming import Incoming, attended
from holdfast_server.api.lists import Lists
from holdfast_server.api.outgoing import StuckReaderError, end_stuck, send_parts, write
from holdfast_server.api.uploads import Uploads
from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol import load
from holdfast_server.protocol.digests import BLOCK_BYTES
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import LAYOUT_VERSION, WorkflowKeys
from holdfast_server.protocol.load import Depth
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.lookup import OvertakenError, looked_at
from holdfast_server.protocol.marker import MARKER_VERSION
from holdfast_server.protocol.payload import PartUpload
from holdfast_server.protocol.read_ahead import read_ahead
from holdfast_server.protocol.save import Saved, SaveRequest, save
from holdfast_server.protocol.validate import validate

_DEPTHS = {
    api.VALIDATE_DEPTH_UNSPECIFIED: Depth.CHECKSUM,
    api.VALIDATE_DEPTH_MARKER: Depth.MARKER,
    api.VALIDATE_DEPTH_PRESENCE: Depth.PRESENCE,
    api.VALIDATE_DEPTH_CHECKSUM: Depth.CHECKSUM,
}

# Of blocks on their way to the caller: one that is sent and two that are read ahead.
_LOAD_STREAM_BYTES = 3 * BLOCK_BYTES
_FALLBACKS = frozenset(api.Fallback.values())


class CheckpointService(Lists, Changes, Attachments):
    """The service: saving, loading and validating here, the rest in the classes that it is made of.

    Args:
        log: the commit log of the store.
        calls: admits calls.
        inline_limit_bytes: how many bytes of payload a commit marker may hold.
        payload_limit_bytes: how many bytes a streamed payload may have.

    """

    def __init__(self, log: Log, calls: Calls, *, inline_limit_bytes: int, payload_limit_bytes: int) -> None:
        super().__init__(log, calls)
        self._inline_limit_bytes = inline_limit_bytes
        self._payload_limit_bytes = payload_limit_bytes
        self._uploads = Uploads()

    async def close(self) -> None:
        """Forget uploads whose streams broke."""
        await self._uploads.close()

    async def Save(self, request: api.SaveRequest, context: Context) -> api.SaveResponse:  # noqa: N802
        """Save a small checkpoint."""
        async with self._calls.enter("Save", context, request) as call:
            wanted = requests.save(request.header, call.trace_id)
            requests.parts(request.parts)
            keys = wanted.request.keys
            stored = []
            room = self._inline_limit_bytes
            base = 0
            if sum(len(part.data) for part in request.parts) > room:
                base = await self._log.known_revision(keys)
            for part in request.parts:
                async with PartUpload(self._log.store, keys, base, part.name, room) as upload:
                    await upload.write(part.data)
                    stored.append(await upload.finish())
                room -= len(stored[-1].inline)
            saved = await self._commit(call, wanted, stored)
            return api.SaveResponse(checkpoint=messages.checkpoint(saved.entry), replayed=saved.replayed)

    async def SaveStream(  # noqa: N802
        self, request_iterator: AsyncIterator[api.SaveStreamRequest], context: Context
    ) -> api.SaveStreamResponse:
        """Save a checkpoint of any size."""
        async with (
            self._calls.enter("SaveStream", context, is_stream=True, messages=request_iterator) as call,
            aclosing(attended(request_iterator, call.place)) as sent,
        ):
            first = await anext(sent, None)
            call.about(first)
            if first is None or first.WhichOneof("message") != "header":
                raise requests.invalid("header", "must be the first message of the stream")
            wanted = requests.save(first.header, call.trace_id)
            async with self._incoming(context, wanted) as incoming, read_ahead(sent) as ahead:
                saved = await self._commit(call, wanted, await incoming.receive(ahead))
            return api.SaveStreamResponse(checkpoint=messages.checkpoint(saved.entry), replayed=saved.replayed)

    async def Load(self, request: api.LoadRequest, context: Context) -> api.LoadResponse:  # noqa: N802
        """Load a checkpoint, with its payload while that is small."""
        async with self._calls.enter("Load", context, request) as call:
            keys = requests.workflow(request.namespace, request.workflow_id)

            async def look() -> api.LoadResponse:
                return await self._loaded(call, keys, request, await self._find(call, request))

            # Where it was deleted or replaced meanwhile, another look tells which.
            return await looked_at(look)

    async def LoadStream(  # type: ignore[override]  # noqa: N802 - the stub knows generators only
        self, request: api.LoadStreamRequest, context: Context
    ) -> None:
        """Load a checkpoint of any size."""
        async with self._calls.enter("LoadStream", context, request, is_stream=True) as call:
            try:
                await self._send(call, request, context)
            except StuckReaderError as stuck:
                await end_stuck(call, stuck.sending)

    async def _send(self, call: Call, request: api.LoadStreamRequest, context: Context) -> None:
        keys = requests.workflow(request.namespace, request.workflow_id)
        found = await self._find(call, request)
        size_bytes = sum(part.size_bytes for part in found.entry.marker.parts)
        call.place.hold(min(size_bytes, _LOAD_STREAM_BYTES))
        header = api.LoadStreamHeader(
            checkpoint=messages.checkpoint(found.entry),
            fell_back=bool(found.skipped),
            skipped=messages.some_skipped(found.skipped),
            head_revision=found.head_revision,
        )
        await write(context, api.LoadStreamResponse(header=header))
        try:
            async with aclosing(send_parts(self._log.store, keys, found.entry.marker.parts, request.ranges)) as sent:
                async for message in sent:
                    if message.HasField("finish"):
                        telemetry.PAYLOAD_BYTES.add(message.finish.size_bytes, {"holdfast.direction": "loaded"})
                    await write(context, message)
        except HoldfastError as error:
            failure = await load.as_of_now(self._log, keys, found.entry, error)
            if not isinstance(failure, OvertakenError):
                raise failure from None
            # Raises where it was deleted. Where it was replaced, the caller begins anew for want of a `finish`.
            await load.find(self._log, keys, found.entry.marker.checkpoint_id, (), fallback=False)

    async def Validate(self, request: api.ValidateRequest, context: Context) -> api.ValidateResponse:  # noqa: N802
        """Tell whether a workflow can be resumed."""
        async with self._calls.enter("Validate", context, request):
            keys = requests.workflow(request.namespace, request.workflow_id)
            requests.name("checkpoint_id", request.checkpoint_id, 256, required=False)
            accepted = requests.formats("accepted_formats", request.accepted_formats)
            if request.depth not in _DEPTHS:
                raise requests.invalid("depth", f"is {request.depth}, which is no depth")
            verdict = await validate(self._log, keys, request.checkpoint_id, _DEPTHS[request.depth], accepted)
            return api.ValidateResponse(
                resumable=verdict.resumable,
                findings=messages.some_findings(verdict.findings),
                checkpoint=_optional(verdict.entry),
                last_good=_optional(verdict.last_good),
            )

    async def GetCapabilities(  # noqa: N802
        self, request: api.GetCapabilitiesRequest, context: Context
    ) -> api.GetCapabilitiesResponse:
        """Tell what this server can do."""
        async with self._calls.enter("GetCapabilities", context, request):
            return api.GetCapabilitiesResponse(
                server_version=SERVER_VERSION,
                api_versions=["holdfast.v1"],
                layout_version=LAYOUT_VERSION,
                marker_version=MARKER_VERSION,
                features=["copy", "fallback", "fencing", "prune", "records", "replace", "streams"],
                limits=api.Limits(
                    unary_payload_bytes=requests.UNARY_PAYLOAD_BYTES,
                    chunk_bytes=requests.CHUNK_BYTES,
                    payload_bytes=self._payload_limit_bytes,
                    parts=requests.MAX_PARTS,
                    labels=requests.MAX_LABELS,
                    page_size=requests.MAX_PAGE_SIZE,
                    records_bytes=requests.RECORDS_BYTES,
                ),
            )

    async def GetUpload(self, request: api.GetUploadRequest, context: Context) -> api.GetUploadResponse:  # noqa: N802
        """Tell how much of a streamed save has arrived."""
        async with self._calls.enter("GetUpload", context, request):
            keys = requests.workflow(request.namespace, request.workflow_id)
            requests.name("request_id", request.request_id, 128)
            upload = (keys, request.request_id)
            incoming = await self._uploads.take(upload)
            if incoming is None:
                return api.GetUploadResponse()
            self._uploads.park(upload, incoming)
            part, offset = incoming.position
            return api.GetUploadResponse(found=True, part=part, offset=offset, size_bytes=incoming.size_bytes)

    @asynccontextmanager
    async def _incoming(self, context: Context, wanted: SaveRequest) -> AsyncIterator[Incoming]:
        """Open the upload of a streamed save: one that an earlier stream began if the caller goes on, else a new one.

        Raises:
            HoldfastError: UPLOAD_LOST: the caller goes on from another place than the one that was reached.

        """
        request = (wanted.request.keys, wanted.request.request_id)
        resumes, expected = resuming(context)
        found = await self._uploads.take(request) if resumes else None
        incoming = found or Incoming(
            self._log.store,
            wanted.request.keys,
            await self._log.known_revision(wanted.request.keys),
            inline_limit_bytes=self._inline_limit_bytes,
            payload_limit_bytes=self._payload_limit_bytes,
        )
        incoming.go_on()
        part, offset = incoming.position
        async with self._uploads.stream(request, incoming):
            if expected not in (None, (part, offset)):
                raise HoldfastError(
                    Reason.UPLOAD_LOST,
                    f"the stream goes on from part {expected[0]}, byte {expected[1]}; this server has received up to "
                    f"part {part}, byte {offset}",
                    part=part,
                    offset=offset,
                )
            await context.send_initial_metadata(((RECEIVED_KEY, f"{part}:{offset}"),))
            yield incoming

    async def _commit(self, call: Call, wanted: SaveRequest, parts: list[StoredPart]) -> Saved:
        blobs = sum(1 for part in parts if part.blob)
        try:
            saved = await save(self._log, wanted, parts, deadline=call.deadline)
        except BaseException:
            telemetry.ORPHANS.add(blobs)
            raise
        if saved.replayed:
            telemetry.ORPHANS.add(blobs)
        call.span.describe(checkpoint=saved.entry.marker.checkpoint_id, revision=saved.entry.revision)
        telemetry.PAYLOAD_BYTES.add(sum(part.size_bytes for part in parts), {"holdfast.direction": "saved"})
        return saved

    async def _find(self, call: Call, request: api.LoadRequest | api.LoadStreamRequest) -> load.Found:
        keys = requests.workflow(request.namespace, request.workflow_id)
        requests.name("checkpoint_id", request.checkpoint_id, 256, required=False)
        accepted = requests.formats("accepted_formats", request.accepted_formats)
        if request.fallback not in _FALLBACKS:
            raise requests.invalid("fallback", f"is {request.fallback}, which is no Fallback of this API")
        fallback = request.fallback == api.FALLBACK_LAST_GOOD
        found = await load.find(self._log, keys, request.checkpoint_id, accepted, fallback=fallback)
        call.span.describe(checkpoint=found.entry.marker.checkpoint_id, revision=found.entry.revision)
        if found.skipped:
            telemetry.FALLBACKS.add(1)
        return found

    async def _loaded(
        self, call: Call, keys: WorkflowKeys, request: api.LoadRequest, found: load.Found
    ) -> api.LoadResponse:
        response = api.LoadResponse(
            checkpoint=messages.checkpoint(found.entry),
            fell_back=bool(found.skipped),
            skipped=messages.some_skipped(found.skipped),
            head_revision=found.head_revision,
        )
        if request.include_records:
            checkpoint_id = found.entry.marker.checkpoint_id
            limit = requests.RECORDS_ANSWER_BYTES
            response.stamp = await self.add_records(call.place, response, keys, checkpoint_id, limit)
        if response.checkpoint.size_bytes <= requests.UNARY_PAYLOAD_BYTES:
            await self.add_payload(call.place, response, keys, found.entry)
        return response


def _optional(entry: Entry | None) -> checkpoint_pb2.Checkpoint | None:
    return None if entry is None else messages.checkpoint(entry)
