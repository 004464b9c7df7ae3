"""The answers of a server of Holdfast that has one checkpoint, before a script changes them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from crc32c import crc32c
from google.protobuf import any_pb2, json_format
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from conformance.scripted.script import Script

_UNARY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
STORED_ID = "stored"
_CREATED_SECONDS = 1_800_000_000


def checkpoint(named: Any, parts: Iterable[tuple[str, bytes | bytearray]], revision: int) -> checkpoint_pb2.Checkpoint:
    """Return a checkpoint, which has the names of a request or of a header."""
    described = [
        checkpoint_pb2.PartInfo(
            name=name, size_bytes=len(data), sha256=hashlib.sha256(data).digest(), crc32c=crc32c(bytes(data))
        )
        for name, data in parts
    ]
    found = checkpoint_pb2.Checkpoint(
        namespace=named.namespace,
        workflow_id=named.workflow_id,
        checkpoint_id=getattr(named, "checkpoint_id", "") or STORED_ID,
        revision=revision,
        format=getattr(named, "format", None) or checkpoint_pb2.Format(name="kit", version=1),
        parts=described,
        size_bytes=sum(part.size_bytes for part in described),
        request_id=getattr(named, "request_id", ""),
        epoch=getattr(named, "epoch", 0),
        labels=getattr(named, "labels", None),
    )
    found.create_time.FromSeconds(_CREATED_SECONDS)
    return found


def answer(method: str, script: Script, request: Any, entry: Mapping[str, Any]) -> Any:
    """Return the answer to a unary call, with what the entry changes."""
    response = _ANSWERS[method](script, request)
    json_format.ParseDict(entry.get("answer", {}), response)
    if "flip" in entry:
        flip(response, entry["flip"])
    if "padding" in entry:
        response.MergeFromString(_unknown_field(entry["padding"]))
    return response


def flip(response: Any, what: str) -> None:
    """Flip a bit of the data, or of the digest, of the first part of an answer."""
    if what == "data":
        part = response.parts[0]
        part.data = flipped(part.data)
        part.crc32c = crc32c(part.data)
    else:
        info = response.checkpoint.parts[0]
        info.sha256 = flipped(info.sha256)


def _unknown_field(size: int) -> bytes:
    """Return the bytes of a field that no client knows, as a newer server may send it."""
    longer = any_pb2.Any(value=bytes(size)).SerializeToString()
    # The tag of field 2 of Any is one byte; that of field 15,000 is three.
    return b"\xc2\xa9\x07" + longer[1:]


def flipped(data: bytes) -> bytes:
    """Return bytes with one bit flipped."""
    return bytes([data[0] ^ 1]) + data[1:]


def header(script: Script, request: Any, entry: Mapping[str, Any]) -> api.LoadStreamResponse:
    """Return the header of a streamed load."""
    found = api.LoadStreamHeader(
        checkpoint=checkpoint(request, script.stored, script.revision), head_revision=script.revision
    )
    json_format.ParseDict(entry.get("answer", {}), found)
    return api.LoadStreamResponse(header=found)


def chunks(parts: Sequence[tuple[str, bytes]], ranges: Sequence[Any]) -> Iterator[checkpoint_pb2.Chunk]:
    """Iterate over the chunks of the ranges; over every part if there are none."""
    known = dict(parts)
    wanted = [(one.part, one.offset, one.length) for one in ranges] or [(name, 0, 0) for name, _ in parts]
    for name, begin, length in wanted:
        end = begin + length if length else len(known[name])
        for offset in range(begin, max(end, begin + 1), CHUNK_BYTES):
            data = known[name][offset : min(offset + CHUNK_BYTES, end)]
            yield checkpoint_pb2.Chunk(part=name, offset=offset, data=data, crc32c=crc32c(data))


def _saved(script: Script, request: api.SaveRequest) -> api.SaveResponse:
    script.revision += 1
    parts = [(part.name, part.data) for part in request.parts]
    return api.SaveResponse(checkpoint=checkpoint(request.header, parts, script.revision))


def _loaded(script: Script, request: api.LoadRequest) -> api.LoadResponse:
    size = sum(len(data) for _, data in script.stored)
    response = api.LoadResponse(
        checkpoint=checkpoint(request, script.stored, script.revision), head_revision=script.revision
    )
    if size <= _UNARY_BYTES:
        response.payload_included = True
        for name, data in script.stored:
            response.parts.add(name=name, data=data, crc32c=crc32c(data))
    response.records_included = request.view == api.CHECKPOINT_VIEW_FULL
    return response


def _listed(script: Script, request: api.ListRequest) -> api.ListResponse:
    return api.ListResponse(checkpoints=[checkpoint(request, script.stored, script.revision)])


def _validated(script: Script, request: api.ValidateRequest) -> api.ValidateResponse:
    found = checkpoint(request, script.stored, script.revision)
    return api.ValidateResponse(resumable=True, checkpoint=found, last_good=found)


_ANSWERS: dict[str, Callable[[Script, Any], Any]] = {
    "Save": _saved,
    "Load": _loaded,
    "List": _listed,
    "Validate": _validated,
    "AcquireWriter": lambda script, request: api.AcquireWriterResponse(epoch=1, revision=1),
    "AttachRecords": lambda script, request: api.AttachRecordsResponse(stamp=1),
    "ListRecords": lambda script, request: api.ListRecordsResponse(),
    "Delete": lambda script, request: api.DeleteResponse(revision=2),
    "DeleteWorkflow": lambda script, request: api.DeleteWorkflowResponse(revision=2),
}
METHODS = tuple(_ANSWERS)
