"""The scripted server: one gRPC server for all cases of a run. The namespace of a call names its case."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
from crc32c import crc32c
from google.rpc import status_pb2
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import add_CheckpointServiceServicer_to_server

from conformance.scripted import answers
from conformance.scripted.script import RefusedError, Script, Upload, obey, refused

_DETAILS = "grpc-status-details-bin"
_RESUME = "holdfast-resume"
_RECEIVED = "holdfast-received"
_OPTIONS = [("grpc.max_send_message_length", 8 << 20), ("grpc.max_receive_message_length", 8 << 20)]
_FIELDS = {
    field.message_type.name.removesuffix("Request"): field.name
    for field in api.PipelineCall.DESCRIPTOR.oneofs_by_name["request"].fields
    if field.message_type is not None
}
_NAMES = {name: method for method, name in _FIELDS.items()}


class Scripted:
    """The scripted server.

    Attributes:
        target: host:port, once it runs.

    """

    def __init__(self) -> None:
        self.target = ""
        self._scripts: dict[str, Script] = {}

    @contextmanager
    def playing(self, namespace: str, script: Script) -> Any:
        """Follow a script for a namespace while the block lasts."""
        self._scripts[namespace] = script
        try:
            yield script
        finally:
            del self._scripts[namespace]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Scripted"]:
        """Serve while the block lasts."""
        server = grpc.aio.server(options=_OPTIONS)
        servicer: Any = self
        add_CheckpointServiceServicer_to_server(servicer, server)
        self.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(0)

    async def GetCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        return api.GetCapabilitiesResponse(api_versions=["holdfast.v1"])

    async def GetUpload(self, request: Any, context: Any) -> Any:  # noqa: N802
        script = self._script(request.namespace)
        script.see("GetUpload", request, dict(context.invocation_metadata()), context.time_remaining())
        upload = script.uploads.get(request.request_id)
        if upload is None:
            return api.GetUploadResponse()
        part, offset = map(int, upload.position.split(":"))
        return api.GetUploadResponse(found=True, part=part, offset=offset)

    async def LoadStream(self, request: Any, context: Any) -> Any:  # noqa: N802
        script = self._script(request.namespace)
        metadata = dict(context.invocation_metadata())
        call = script.see("LoadStream", request, metadata, context.time_remaining())
        entry = script.entry("LoadStream")
        kinds = entry.get("stream", ["header", "chunks", "finish"])
        size = 0
        coming = answers.chunks(script.stored, request.ranges)
        for kind in kinds:
            if kind == "header":
                await context.write(answers.header(script, request, entry))
            elif kind.startswith("finish"):
                lie = int(kind.partition(":")[2] or 0)
                await context.write(api.LoadStreamResponse(finish=api.LoadStreamFinish(size_bytes=size + lie)))
            else:
                for chunk in _chunks_of(kind, coming):
                    size += len(chunk.data)
                    await context.write(api.LoadStreamResponse(chunk=chunk))
        await self._end(entry, call, context)

    async def SaveStream(self, requests: Any, context: Any) -> Any:  # noqa: N802
        incoming = aiter(requests)
        first = await anext(incoming)
        header = first.header
        script = self._script(header.namespace)
        metadata = dict(context.invocation_metadata())
        call = script.see("SaveStream", first, metadata, context.time_remaining())
        entry = script.entry("SaveStream")
        upload = script.uploads.setdefault(header.request_id, Upload())
        resume = metadata.get(_RESUME, "")
        if not resume:
            upload.parts.clear()
        elif resume == "1":
            await context.send_initial_metadata(((_RECEIVED, entry.get("received", upload.position)),))
        elif resume != upload.position:
            raise await _abort(context, refused({"code": "UNAVAILABLE", "reason": "UPLOAD_LOST"}))
        call["chunks"] = 0
        finish = None
        while call["chunks"] < entry.get("receive", 1 << 30):
            message = await anext(incoming, None)
            if message is None or message.HasField("finish"):
                finish = None if message is None else message.finish
                break
            call["chunks"] += 1
            problem = _received(upload, message.chunk)
            if problem:
                failure = {"code": "INVALID_ARGUMENT", "reason": "INVALID_REQUEST", "message": problem}
                raise await _abort(context, refused(failure))
        await self._end(entry, call, context)
        size = sum(len(data) for _, data in upload.parts)
        if finish is None or finish.size_bytes != size:
            failure = {"code": "INVALID_ARGUMENT", "reason": "INVALID_REQUEST", "message": "finish is absent or wrong"}
            raise await _abort(context, refused(failure))
        script.revision += 1
        del script.uploads[header.request_id]
        return api.SaveStreamResponse(checkpoint=answers.checkpoint(header, upload.parts, script.revision))

    async def Pipeline(self, requests: Any, context: Any) -> None:  # noqa: N802
        writing = asyncio.Lock()
        is_open = False
        async with asyncio.TaskGroup() as group:
            async for message in requests:
                for call in message.calls:
                    name = call.WhichOneof("request")
                    script = self._script(_namespace(getattr(call, name)))
                    if not script.has_pipeline:
                        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no pipelines here")
                    entry = script.entry("Pipeline")
                    if not is_open:
                        is_open = True
                        script.see("Pipeline", message, dict(context.invocation_metadata()), None)
                        limits = api.PipelineLimits(calls=entry.get("calls", 100), bytes=4 << 20)
                        async with writing:
                            await context.write(api.PipelineResponse(limits=limits))
                    if "fail" in entry:
                        raise await _abort(context, refused(entry["fail"]))
                    if entry.get("going_away"):
                        async with writing:
                            notice = api.PipelineGoingAway()
                            notice.grace.FromSeconds(30)
                            await context.write(api.PipelineResponse(going_away=notice))
                    group.create_task(self._carried(call, name, context, writing))

    async def _carried(self, call: Any, name: str, context: Any, writing: asyncio.Lock) -> None:
        metadata = {**dict(context.invocation_metadata()), "traceparent": call.traceparent}
        left = call.timeout.ToNanoseconds() / 1e9 if call.HasField("timeout") else None
        answer = api.PipelineAnswer(call_id=call.call_id)
        try:
            response = await self._answered(_NAMES[name], getattr(call, name), metadata, left)
            getattr(answer, name).CopyFrom(response)
        except RefusedError as error:
            plain = status_pb2.Status(code=error.code.value[0], message=error.message).SerializeToString()
            answer.status = error.details or plain
        async with writing:
            await context.write(api.PipelineResponse(answers=[answer]))

    async def unary(self, method: str, request: Any, context: Any) -> Any:
        """Answer a unary call."""
        try:
            return await self._answered(method, request, dict(context.invocation_metadata()), context.time_remaining())
        except RefusedError as error:
            raise await _abort(context, error) from None

    async def _answered(self, method: str, request: Any, metadata: Mapping[str, Any], left: float | None) -> Any:
        script = self._script(_namespace(request))
        call = script.see(method, request, metadata, left)
        entry = script.entry(method)
        await obey(entry, call)
        return answers.answer(method, script, request, entry)

    async def _end(self, entry: Mapping[str, Any], call: Mapping[str, Any], context: Any) -> None:
        try:
            await obey(entry, call)
        except RefusedError as error:
            raise await _abort(context, error) from None

    def _script(self, namespace: str) -> Script:
        if namespace not in self._scripts:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"no case has the namespace {namespace!r}", None)
        return self._scripts[namespace]


def _namespace(request: Any) -> str:
    return str(getattr(request, "header", request).namespace)


def _chunks_of(kind: str, coming: Any) -> Sequence[checkpoint_pb2.Chunk]:
    """Return the chunks that a word of a stream stands for."""
    if kind == "chunks":
        return list(coming)
    chunk = next(coming)
    if kind in ("bad-crc", "bad-data"):
        chunk.data = answers.flipped(chunk.data)
    if kind == "bad-data":
        chunk.crc32c = crc32c(chunk.data)
    if kind == "gap":
        chunk = next(coming)
    if kind == "strange":
        chunk.part = "strange"
    if kind == "twice":
        return [chunk, chunk]
    if kind == "endless":
        longer = checkpoint_pb2.Chunk(part=chunk.part, offset=chunk.offset + len(chunk.data), data=chunk.data)
        longer.crc32c = chunk.crc32c
        return [chunk, longer]
    return [chunk]


def _received(upload: Upload, chunk: checkpoint_pb2.Chunk) -> str:
    """Take a chunk of a streamed save. Return what is wrong with it, or ""."""
    if crc32c(chunk.data) != chunk.crc32c:
        return "a chunk does not match its crc32c"
    if not upload.parts or upload.parts[-1][0] != chunk.part:
        upload.parts.append((chunk.part, bytearray()))
    data = upload.parts[-1][1]
    if chunk.offset != len(data):
        return f"a chunk begins at {chunk.offset}, not at {len(data)}"
    data += chunk.data
    return ""


async def _abort(context: Any, error: RefusedError) -> Exception:
    trailing = () if error.details is None else ((_DETAILS, error.details),)
    await context.abort(error.code, error.message, trailing)
    return error


def _unary(method: str) -> Callable[..., Any]:
    async def call(self: Scripted, request: Any, context: Any) -> Any:
        return await self.unary(method, request, context)

    return call


async def _unimplemented(self: Scripted, request: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no case needs this call")


for _method in api.DESCRIPTOR.services_by_name["CheckpointService"].methods_by_name:
    if not hasattr(Scripted, _method):
        setattr(Scripted, _method, _unary(_method) if _method in answers.METHODS else _unimplemented)
