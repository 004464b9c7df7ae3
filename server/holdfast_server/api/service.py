"""The service of one store, without a transport: admits each call and passes its request to the handler of its subject.

Transports: gRPC (`grpc_methods`), pipelines on gRPC (`pipeline`), and the process itself (`holdfast_server.embedded`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

from google.protobuf.message import Message
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import page_tokens
from holdfast_server.api.call import Call
from holdfast_server.api.call_context import CallContext, StreamContext
from holdfast_server.api.calls import Calls
from holdfast_server.api.context import ServiceContext, StoreFacts
from holdfast_server.api.handlers import (
    bulk_deleting,
    capabilities,
    copying,
    deleting,
    fencing,
    listing,
    loading,
    logs,
    namespaces,
    records,
    saving,
    store_status,
    usage,
    validating,
    watching,
)
from holdfast_server.api.stored import Stored
from holdfast_server.api.streaming.uploads import Uploads
from holdfast_server.api.watching.feed import DEFAULT_PACE, Pace
from holdfast_server.api.watching.watches import Watches
from holdfast_server.protocol.checkpoints.records import Room, Stamps
from holdfast_server.protocol.log.indexer import Indexer
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.encoding import PartEncoder
from holdfast_server.stores.base import freeing_space
from holdfast_server.trust.quotas import Quotas

Handler = Callable[[ServiceContext, Call, Any], Awaitable[Message]]


def _frees_space(handler: Handler) -> Handler:
    """Let a handler use the store's reserve when a full disk refuses every save."""

    async def handle(context: ServiceContext, call: Call, request: Any) -> Message:
        with freeing_space():
            return await handler(context, call, request)

    return handle


def _paged(handler: Handler) -> Handler:
    """Bind the page tokens of a handler to the namespace: one that was issued for another namespace is refused."""

    async def handle(context: ServiceContext, call: Call, request: Any) -> Message:
        if request.page_token:
            inner = type(request)()
            # The caller of an embedded service sends the same object again.
            inner.CopyFrom(request)
            inner.page_token = page_tokens.unbind(request.namespace, request.page_token)
            request = inner
        response: Any = await handler(context, call, request)
        if response.next_page_token:
            response.next_page_token = page_tokens.bind(request.namespace, response.next_page_token)
        return cast("Message", response)

    return handle


# The handlers of the calls with one request and one response.
UNARY: Mapping[str, Handler] = {
    "Save": saving.save,
    "GetUpload": saving.get_upload,
    "Load": loading.load,
    "List": _paged(listing.list_checkpoints),
    "ListWorkflows": _paged(listing.list_workflows),
    "Validate": validating.validate,
    "Delete": _frees_space(deleting.delete),
    "DeleteWorkflow": _frees_space(deleting.delete_workflow),
    "DeleteWorkflows": _frees_space(_paged(bulk_deleting.delete_workflows)),
    "DeleteCheckpoints": _frees_space(_paged(bulk_deleting.delete_checkpoints)),
    "Prune": _frees_space(deleting.prune),
    "AcquireWriter": fencing.acquire_writer,
    "CopyWorkflow": copying.copy_workflow,
    "AttachRecords": records.attach_records,
    "ListRecords": _paged(records.list_records),
    "GetCapabilities": capabilities.get_capabilities,
    "ListLog": _paged(logs.list_log),
    "ListNamespaces": namespaces.list_namespaces,
    "GetUsage": _paged(usage.get_usage),
    "GetStoreStatus": store_status.get_store_status,
}


class CheckpointService:
    """The service of one store.

    Each method raises CallFailedError if its call fails.

    Args:
        log: the commit log of the store.
        calls: admits calls.
        encoder: stores the parts of saves.
        payload_limit_bytes: how many bytes a streamed payload may have.
        stored: counts and limits what each namespace has in the store; None to do neither.
        facts: what administrators may know of the store and the server; None for nothing.
        pace: how often watched workflows are looked at for commits of other processes.
        watch_seconds: time after which a watch ends, and its caller begins another one.

    """

    def __init__(
        self,
        log: Log,
        calls: Calls,
        encoder: PartEncoder,
        *,
        payload_limit_bytes: int,
        stored: Stored | None = None,
        facts: StoreFacts | None = None,
        pace: Pace = DEFAULT_PACE,
        watch_seconds: float = 1800.0,
    ) -> None:
        self._calls = calls
        uploads = Uploads()
        calls.admission.reclaim = uploads.reclaim
        self._context = ServiceContext(
            log=log,
            indexer=Indexer(log),
            encoder=encoder,
            payload_limit_bytes=payload_limit_bytes,
            uploads=uploads,
            stamps=Stamps(),
            records_room=Room(log.store),
            stored=stored or Stored(Quotas),
            facts=facts or StoreFacts(),
            watches=Watches(log, calls.admission, pace),
            watch_seconds=watch_seconds,
        )

    async def close(self) -> None:
        """End the writing of indexes and the feeds of watches, and discard uploads whose stream broke."""
        await self._context.watches.close()
        await self._context.indexer.close()
        await self._context.uploads.close()

    def drain(self) -> None:
        """Let watches end with SHUTTING_DOWN. Call it after `Calls.drain`, by which all other calls end."""
        self._context.watches.drain()

    async def unary(self, name: str, request: object, context: CallContext) -> Message:
        """Serve a call with one request and one response.

        Args:
            name: the method's name, one of UNARY.
            request: the request, `Unparsed`, or `Malformed` in place of bytes that are not one.
            context: the call, as its transport knows it.

        """
        handler = UNARY[name]
        return await self._calls.run(name, context, request, lambda call: handler(self._context, call, call.request))

    async def save_stream(
        self, messages: AsyncIterator[api.SaveStreamRequest], stream: StreamContext
    ) -> api.SaveStreamResponse:
        """Save a checkpoint of any size."""

        async def save(call: Call) -> api.SaveStreamResponse:
            return await saving.save_stream(self._context, call, messages, stream)

        return await self._calls.run("SaveStream", stream, None, save, is_stream=True, messages=messages)

    async def load_stream(self, request: object, stream: StreamContext) -> None:
        """Load a checkpoint of any size."""

        async def load(call: Call) -> None:
            await loading.load_stream(self._context, call, call.request, stream)

        await self._calls.run("LoadStream", stream, request, load, is_stream=True)

    async def watch_workflow(self, request: object, stream: StreamContext) -> None:
        """Send the entries of a log as they are committed."""

        async def watch(call: Call) -> None:
            await watching.watch_workflow(self._context, call, call.request, stream)

        await self._calls.run("WatchWorkflow", stream, request, watch, is_watch=True)
