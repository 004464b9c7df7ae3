"""Messages of a pipeline: any bytes get one answer for each call, or a status that names the field."""

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api.errors import CallFailedError

from tests.support.bounded_store import BoundedStore
from tests.support.inline_loop import run
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader
from tests.verification.fuzz.service import Service
from tests.verification.fuzz.statuses import require_told

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_CANCELLED = grpc.StatusCode.CANCELLED.value[0]

logging.getLogger("holdfast.server").addHandler(logging.NullHandler())
logging.getLogger("holdfast.server").propagate = False


def check(data: bytes) -> None:
    run(_check(Reader(data)))


class _Stream:
    """A stream without a connection, whose caller reads everything."""

    peer = "ipv4:127.0.0.1:1"

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.answers: dict[int, api.PipelineAnswer] = {}

    def certificate(self) -> dict[str, list[bytes]]:
        return {}

    def time_remaining(self) -> float | None:
        return None

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        pass

    async def write(self, message: bytes) -> None:
        for answer in api.PipelineResponse.FromString(message).answers:
            self.answers[answer.call_id] = answer


async def _check(reader: Reader) -> None:
    store = BoundedStore()
    served = Service(store, most_calls=8, inline_limit_bytes=20)
    stream = _Stream({"traceparent": reader.text()} if reader.below(4) == 1 else {})
    messages = [_raw(reader) for _ in range(reader.below(3) + 1)]

    async def received() -> AsyncIterator[bytes]:
        for message in messages:
            store.requests = 0
            yield message

    try:
        async with asyncio.timeout(20):
            await served.pipelines.serve(received(), stream)
    except CallFailedError as failed:
        require_told(failed.code, failed.status.message, {"grpc-status-details-bin": failed.status.SerializeToString()})
    else:
        _require_answers(messages, stream.answers)
    for call_id, answer in stream.answers.items():
        assert call_id >= 1
        if answer.WhichOneof("outcome") == "status":
            status = status_pb2.Status.FromString(answer.status)
            if status.code != _CANCELLED:
                require_told(_CODES[status.code], status.message, {"grpc-status-details-bin": answer.status})
    await served.close()


def _require_answers(messages: list[bytes], answers: dict[int, api.PipelineAnswer]) -> None:
    """Check that the calls of each message that the library can read are answered as what they are."""
    for message in messages:
        try:
            request = api.PipelineRequest.FromString(message)
        except DecodeError:
            continue
        for call in request.calls:
            asked, outcome = call.WhichOneof("request"), answers[call.call_id].WhichOneof("outcome")
            # A later message may use the id again.
            assert outcome is not None
            assert outcome in ("status", asked) or len(messages) > 1


def _raw(reader: Reader) -> bytes:
    kind = reader.below(4)
    if kind == 0:
        return reader.raw()
    request = fill(api.PipelineRequest(), reader)
    if kind > 1:
        for number, call in enumerate(request.calls, 1):
            call.call_id = number
    return request.SerializeToString() + (reader.raw() if kind == 3 else b"")
