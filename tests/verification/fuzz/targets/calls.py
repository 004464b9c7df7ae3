"""Calls of the API: any request bytes and metadata get an answer, or a status that names the field."""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api.grpc_methods import handlers

from tests.support.bounded_store import BoundedStore
from tests.support.context import Context
from tests.support.inline_loop import run
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader
from tests.verification.fuzz.service import Service
from tests.verification.fuzz.statuses import require_told

_SERVICE = api.DESCRIPTOR.services_by_name["CheckpointService"]
# Append new methods: the kept inputs select a method by its position.
_METHODS = (
    "Save",
    "SaveStream",
    "Load",
    "LoadStream",
    "List",
    "ListWorkflows",
    "Validate",
    "Delete",
    "DeleteWorkflow",
    "DeleteWorkflows",
    "AcquireWriter",
    "DeleteCheckpoints",
    "Prune",
    "CopyWorkflow",
    "AttachRecords",
    "ListRecords",
    "GetCapabilities",
    "GetUpload",
    "ListLog",
    "ListNamespaces",
    "GetUsage",
    "GetStoreStatus",
    "WatchWorkflow",
)
# Pipelines have a target of their own.
assert {*_METHODS, "Pipeline"} == {method.name for method in _SERVICE.methods}
_NAMES = {"namespace": "n", "workflow_id": "w", "request_id": "r"}
logging.getLogger("holdfast.server").addHandler(logging.NullHandler())
logging.getLogger("holdfast.server").propagate = False


def check(data: bytes) -> None:
    run(_check(Reader(data)))


async def _check(reader: Reader) -> None:
    store = BoundedStore()
    served = Service(store, most_calls=8, inline_limit_bytes=20)
    methods = handlers(served.service, served.pipelines)
    for number in range(3):
        request = api.SaveRequest(header=_header(number), parts=[{"data": b"0123456789"}])
        await methods["Save"].unary_unary(request, Context())
    for _ in range(reader.below(3) + 1):
        store.requests = 0
        await _call(methods, reader.choice(_METHODS), reader)
    await served.close()


def _header(number: int) -> dict[str, Any]:
    named = {"namespace": "n", "workflow_id": "w", "request_id": f"r{number}", "checkpoint_id": f"c{number}"}
    return {**named, "format": {"name": "f", "version": 1}, "labels": {"k": "v"}}


async def _call(methods: Mapping[str, Any], name: str, reader: Reader) -> None:
    handler = methods[name]
    metadata = [(reader.choice(("traceparent", "holdfast-resume", "tracestate", "x")), reader.text())] * reader.below(3)
    if reader.below(8) == 1:
        metadata.append(("x-bin", reader.raw()))
    # A watch lasts until its deadline.
    context = Context(tuple(metadata), seconds=0.01 if name == "WatchWorkflow" else 60.0)
    requests = [handler.request_deserializer(_raw(name, reader)) for _ in range(reader.below(4) + 1)]
    try:
        if handler.stream_unary:
            await handler.stream_unary(_each(requests), context)
        elif handler.unary_stream:
            await handler.unary_stream(requests[0], context)
        else:
            (await handler.unary_unary(requests[0], context)).SerializeToString()
    except grpc.aio.AbortError:
        assert context.ended is not None
        require_told(*context.ended)


def _raw(name: str, reader: Reader) -> bytes:
    request = getattr(api, _SERVICE.methods_by_name[name].input_type.name)()
    kind = reader.below(4)
    if kind == 0:
        return reader.raw()
    if kind > 1:
        _name(request)
    fill(request, reader)
    return request.SerializeToString() + (reader.raw() if kind == 3 else b"")


def _name(request: Any) -> None:
    """Set the workflow, so that the other fields of the request are checked."""
    named = request.header if "header" in request.DESCRIPTOR.fields_by_name else request
    for field in named.DESCRIPTOR.fields_by_name:
        if field in _NAMES:
            setattr(named, field, _NAMES[field])
    if "format" in named.DESCRIPTOR.fields_by_name:
        named.format.name, named.format.version = "f", 1


async def _each(requests: list[Any]) -> AsyncIterator[Any]:
    for request in requests:
        yield request
