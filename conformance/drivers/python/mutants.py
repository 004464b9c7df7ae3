"""Wrong behaviour, one kind for each name, put between the client and its connection."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import grpc
from crc32c import crc32c
from google.rpc import error_details_pb2, status_pb2
from holdfast._core.pipeline_calls import CallError
from holdfast.v1 import checkpoint_service_pb2 as api

MUTANTS = (
    "always_falls_back",
    "believes_answers",
    "drops_accepted_formats",
    "drops_attempt",
    "drops_deadline",
    "drops_epoch",
    "drops_expected_revision",
    "drops_heads",
    "drops_stamp",
    "drops_token",
    "drops_traceparent",
    "first_address_only",
    "first_attempt_always",
    "forgets_ranges",
    "forgets_upload",
    "ignores_budget",
    "ignores_finish",
    "ignores_retry_info",
    "ignores_tls",
    "never_retries",
    "new_request_id_per_attempt",
    "reads_one_page",
    "receives_4_mib",
    "renews_deadline",
    "repairs_digests",
    "retries_final_errors",
    "reuses_request_id",
    "reuses_writer_request_id",
    "rounds_int64",
    "stops_at_empty_page",
    "strips_details",
    "trusts_included",
)
_DETAILS = "grpc-status-details-bin"
_LONGEST_SECONDS = 3600.0
_DEFAULT_SECONDS = 10.0


def options(mutant: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a client, as a mutant changes them."""
    retry = given.get("retry", {})
    match mutant:
        case "never_retries":
            return given | {"retry": retry | {"burst": 0}}
        case "ignores_budget":
            return given | {"retry": retry | {"burst": 10_000, "per_second": 10_000}}
        case "ignores_tls":
            return {name: value for name, value in given.items() if name != "tls"}
        case "first_address_only":
            return given | {"targets": given["targets"][:1]}
    return given


class Mutated:
    """The methods of the service, with requests, answers and metadata changed as a mutant does.

    Args:
        methods: the methods.
        mutant: the name of the mutant; "" for none.
        timeout_seconds: the client's timeout; None for its default.

    """

    def __init__(self, methods: Any, mutant: str, timeout_seconds: float | None) -> None:
        self._methods = methods
        self._mutant = mutant
        self._timeout_seconds = timeout_seconds

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._methods, name)
        if not self._mutant:
            return method
        if name == "SaveStream":
            return lambda messages, **known: method(self._sent(messages), **self._called(known))
        if name == "LoadStream":
            return lambda request, **known: _Received(
                method(self._request(request), **self._called(known)), self._mutant
            )

        async def call(request: Any, **known: Any) -> Any:
            if self._mutant == "forgets_upload" and name == "GetUpload":
                return api.GetUploadResponse()
            sent = self._request(request)
            try:
                response = await method(sent, **self._called(known))
            except grpc.RpcError as error:
                if self._mutant != "retries_final_errors" or error.code() is grpc.StatusCode.UNAVAILABLE:
                    raise changed_error(self._mutant, error) from None
                response = await method(sent, **self._called(known))
            return changed_answer(self._mutant, sent, response)

        return call

    async def _sent(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            yield self._request(message) if message.WhichOneof("message") == "header" else message

    def _request(self, request: Any) -> Any:
        copy = type(request)()
        copy.CopyFrom(request)
        _REQUESTS.get(self._mutant, _as_it_is)(copy)
        for name in ("header",):
            if name in copy.DESCRIPTOR.fields_by_name and copy.HasField(name):
                _REQUESTS.get(self._mutant, _as_it_is)(getattr(copy, name))
        return copy

    def _called(self, known: dict[str, Any]) -> dict[str, Any]:
        dropped = {"drops_traceparent": "traceparent", "drops_token": "authorization"}
        dropped["forgets_upload"] = "holdfast-resume"
        metadata = known.get("metadata", ())
        known["metadata"] = tuple(pair for pair in metadata if pair[0] != dropped.get(self._mutant))
        if self._mutant == "drops_deadline":
            known["timeout"] = _LONGEST_SECONDS
        if self._mutant == "renews_deadline":
            known["timeout"] = self._timeout_seconds or _DEFAULT_SECONDS
        return known


class _Received:
    """The stream of a load, as a mutant changes it."""

    def __init__(self, stream: Any, mutant: str) -> None:
        self._stream = stream
        self._mutant = mutant

    async def __aiter__(self) -> AsyncIterator[Any]:
        size = 0
        kind: str | None = ""
        try:
            async for message in self._stream:
                kind = message.WhichOneof("message")
                size += len(message.chunk.data)
                yield message
        except grpc.RpcError as error:
            raise changed_error(self._mutant, error) from None
        except asyncio.CancelledError:
            raise
        if self._mutant == "ignores_finish" and kind != "finish":
            yield api.LoadStreamResponse(finish=api.LoadStreamFinish(size_bytes=size))

    def cancel(self) -> None:
        self._stream.cancel()


def changed_error(mutant: str, error: Any) -> Any:
    """Return the failure of a call, as a mutant changes it."""
    if mutant not in ("strips_details", "ignores_retry_info", "drops_heads"):
        return error
    trailing = dict(error.trailing_metadata() or ())
    raw = trailing.pop(_DETAILS, None)
    trailing.pop("grpc-retry-pushback-ms", None)
    if mutant == "ignores_retry_info" and raw is not None:
        status = status_pb2.Status.FromString(raw)
        kept = [each for each in status.details if not each.Is(error_details_pb2.RetryInfo.DESCRIPTOR)]
        del status.details[:]
        status.details.extend(kept)
        trailing[_DETAILS] = status.SerializeToString()
    if mutant == "drops_heads" and raw is not None:
        status = status_pb2.Status.FromString(raw)
        info = error_details_pb2.ErrorInfo()
        if status.details and status.details[0].Unpack(info):
            for name in ("head_revision", "head_digest"):
                info.metadata.pop(name, None)
            status.details[0].Pack(info)
        trailing[_DETAILS] = status.SerializeToString()
    return CallError(error.code(), error.details(), tuple(trailing.items()))


def changed_answer(mutant: str, request: Any, response: Any) -> Any:
    """Return the answer of a call, as a mutant changes it.

    Raises:
        RpcError: the mutant refuses it.

    """
    if mutant == "receives_4_mib" and response.ByteSize() > 4 << 20:
        raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "a message larger than 4 MiB")
    fields = response.DESCRIPTOR.fields_by_name
    if mutant == "drops_heads" and "head" in fields:
        response.ClearField("head")
    if mutant == "trusts_included":
        for name in ("payload_included", "records_included"):
            if name in fields:
                setattr(response, name, True)
    if mutant == "repairs_digests" and isinstance(response, api.LoadResponse):
        data = {part.name: part.data for part in response.parts}
        for part in response.checkpoint.parts:
            part.sha256 = hashlib.sha256(data.get(part.name, b"")).digest()
            part.crc32c = crc32c(data.get(part.name, b""))
    if mutant == "believes_answers" and "checkpoint" in fields:
        named = request.header if "header" in request.DESCRIPTOR.fields_by_name else request
        response.checkpoint.namespace, response.checkpoint.workflow_id = named.namespace, named.workflow_id
        response.checkpoint.checkpoint_id = named.checkpoint_id or response.checkpoint.checkpoint_id
    if mutant == "rounds_int64" and "epoch" in fields:
        response.epoch = int(float(response.epoch))
    if "next_page_token" in fields:
        items = [field for field, _ in response.ListFields() if field.name in ("checkpoints", "records")]
        if mutant == "reads_one_page" or (mutant == "stops_at_empty_page" and not items):
            response.next_page_token = ""
    return response


def _as_it_is(request: Any) -> None:
    """Leave a request as it is."""


def _cleared(*names: str) -> Callable[[Any], None]:
    def clear(request: Any) -> None:
        for name in names:
            if name in request.DESCRIPTOR.fields_by_name:
                request.ClearField(name)

    return clear


def _with(name: str, value: Callable[[], Any], only: str = "") -> Callable[[Any], None]:
    def change(request: Any) -> None:
        if name in request.DESCRIPTOR.fields_by_name and only in request.DESCRIPTOR.name:
            setattr(request, name, value())

    return change


def _first_attempt(request: Any) -> None:
    if "attempt" in request.DESCRIPTOR.fields_by_name:
        request.attempt.number = 1
        request.attempt.ClearField("elapsed")


def _rounded(request: Any) -> None:
    for name in ("epoch", "expected_revision"):
        if name in request.DESCRIPTOR.fields_by_name and request.HasField(name):
            setattr(request, name, int(float(getattr(request, name))))


_REQUESTS: dict[str, Callable[[Any], None]] = {
    "always_falls_back": _with("fallback", lambda: api.FALLBACK_LAST_GOOD),
    "drops_accepted_formats": _cleared("accepted_formats"),
    "drops_attempt": _cleared("attempt"),
    "drops_epoch": _cleared("epoch"),
    "drops_expected_revision": _cleared("expected_revision"),
    "drops_stamp": _cleared("observed_stamp"),
    "first_attempt_always": _first_attempt,
    "forgets_ranges": _cleared("ranges"),
    "new_request_id_per_attempt": _with("request_id", lambda: uuid4().hex),
    "reuses_request_id": _with("request_id", lambda: "same"),
    "reuses_writer_request_id": _with("request_id", lambda: "same", "AcquireWriter"),
    "rounds_int64": _rounded,
}
