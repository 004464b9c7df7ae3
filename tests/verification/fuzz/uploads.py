"""Streamed saves over streams that break at any moment: the state of both sides, and the checks.

Each request has one payload. A caller that continues sends the rest, from the position that the server reported. Some
callers break the rules of the stream and are refused. A commit holds the payload byte for byte, and at the end no
upload is open.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from crc32c import crc32c
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api.grpc_methods import handlers
from holdfast_server.api.streaming.resume import RECEIVED_KEY, RESUME_KEY
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.reads import read_part
from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.memory import MemoryStore

from tests.support.context import Context
from tests.verification.fuzz.service import Service

KEYS = WorkflowKeys("n", "w")
PAYLOADS = {
    "small": {"": b"abc"},
    "large": {"": bytes(range(40)), "b": b"", "c": b"x" * 15},
    "many": {str(number): bytes([number]) * (number % 7) for number in range(12)},
}
INLINE_LIMIT = 8
_CHUNK = 10
# The errors of a correct caller: the store fails, or its own stream ends.
_MET = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INVALID_ARGUMENT)
_WRONG = (
    api.SaveStreamRequest(),
    api.SaveStreamRequest(header={"namespace": "n"}),
    api.SaveStreamRequest(chunk={"part": "zz", "offset": 7, "data": b"x", "crc32c": crc32c(b"x")}),
    api.SaveStreamRequest(chunk={"part": "a/b"}),
    api.SaveStreamRequest(chunk={"part": "zz", "data": b"x", "crc32c": 1}),
    api.SaveStreamRequest(finish={"size_bytes": -1}),
)


class SlowStore(MemoryStore):
    """A store that takes a few turns of the loop for each piece, fails on demand, and counts open uploads."""

    def __init__(self) -> None:
        super().__init__()
        self.open_uploads = 0
        self.fails_next = False

    @asynccontextmanager
    async def put(self, key):
        self.open_uploads += 1
        try:
            async with super().put(key) as writer:
                yield _SlowWriter(self, writer)
        finally:
            self.open_uploads -= 1

    async def step(self) -> None:
        await asyncio.sleep(0)
        if self.fails_next:
            self.fails_next = False
            raise StoreUnavailableError("fails on request")
        await asyncio.sleep(0)


class _SlowWriter:
    def __init__(self, store, writer) -> None:
        self._store = store
        self._writer = writer

    async def write(self, data):
        await self._store.step()
        await self._writer.write(data)

    async def finish(self):
        await self._store.step()
        await self._writer.finish()


@dataclass
class Stream:
    """One attempt of a request."""

    request: str
    context: Context
    messages: "asyncio.Queue[api.SaveStreamRequest | None]"
    task: "asyncio.Task[api.SaveStreamResponse]"
    is_honest: bool = True
    is_over: bool = False
    # The next piece: its part, counted from 0, and its first byte. None until the server has said so.
    position: tuple[int, int] | None = None


@dataclass
class Uploads:
    """A server and its callers."""

    store: SlowStore = field(default_factory=SlowStore)
    streams: list[Stream] = field(default_factory=list)
    committed: int = 0

    def __post_init__(self) -> None:
        self.served = Service(self.store, most_calls=1000, inline_limit_bytes=INLINE_LIMIT)
        self.save_stream = handlers(self.served.service, self.served.pipelines)["SaveStream"].stream_unary

    def begin(self, request: str, *, resumes: bool) -> None:
        """Open a stream and send its header."""
        context = Context(((RESUME_KEY, "1"),) if resumes else ())
        messages: asyncio.Queue[api.SaveStreamRequest | None] = asyncio.Queue()
        names = {"namespace": "n", "workflow_id": "w", "request_id": request, "checkpoint_id": request}
        messages.put_nowait(api.SaveStreamRequest(header={**names, "format": {"name": "f", "version": 1}}))
        task = asyncio.ensure_future(self.save_stream(_drain(messages), context))
        self.streams.append(Stream(request, context, messages, task))

    def send(self, stream: Stream) -> None:
        """Send the next piece if it is known: a chunk, or the end."""
        if stream.is_over or RECEIVED_KEY not in stream.context.initial:
            return
        if stream.position is None:
            received = stream.context.initial[RECEIVED_KEY]
            stream.position = tuple(map(int, received.split(":")))
        part, offset = stream.position
        payload = list(PAYLOADS[stream.request].items())
        if part < len(payload) and offset == len(payload[part][1]) > 0:
            part, offset = part + 1, 0
        if part >= len(payload):
            size = sum(len(data) for _, data in payload)
            stream.messages.put_nowait(api.SaveStreamRequest(finish={"size_bytes": size}))
            self.end(stream)
            return
        name, whole = payload[part]
        data = whole[offset : offset + _CHUNK]
        chunk = {"part": name, "offset": offset, "data": data, "crc32c": crc32c(data)}
        stream.messages.put_nowait(api.SaveStreamRequest(chunk=chunk))
        is_last = offset + len(data) >= len(whole)
        stream.position = (part + 1, 0) if is_last else (part, offset + len(data))

    def send_wrong(self, stream: Stream, which: int) -> None:
        """Send a message that breaks the rules of a stream."""
        if not stream.is_over:
            stream.is_honest = False
            stream.messages.put_nowait(_WRONG[which % len(_WRONG)])

    def end(self, stream: Stream) -> None:
        """End the stream from the caller's side."""
        stream.is_over = True
        stream.messages.put_nowait(None)

    def cancel(self, stream: Stream) -> None:
        """Cancel the stream, wherever its call is."""
        stream.is_over = True
        stream.task.cancel()

    async def turn(self, turns: int) -> None:
        """Let the server run, and check the calls that have ended."""
        for _ in range(turns):
            await asyncio.sleep(0)
        for stream in [each for each in self.streams if each.task.done()]:
            self.streams.remove(stream)
            await self._judge(stream)

    async def _judge(self, stream: Stream) -> None:
        (outcome,) = await asyncio.gather(stream.task, return_exceptions=True)
        if isinstance(outcome, asyncio.CancelledError):
            return
        if isinstance(outcome, grpc.aio.AbortError):
            assert stream.context.ended is not None
            code, message, _ = stream.context.ended
            assert code in _MET, message
            if code is grpc.StatusCode.INVALID_ARGUMENT and stream.is_honest:
                assert message.startswith("finish: the stream ended"), message
            return
        assert not isinstance(outcome, BaseException), repr(outcome)
        assert stream.is_honest, "a stream that broke the rules was committed"
        self.committed += 1
        await self._require_payload(stream.request, outcome.checkpoint.revision)

    async def _require_payload(self, request: str, revision: int) -> None:
        log = Log(self.store)
        head = await log.head(KEYS)
        assert head is not None
        entry = await log.read(KEYS, revision, head)
        assert entry is not None
        found = {
            part.name: b"".join([block async for block in read_part(self.store, KEYS, part)])
            for part in entry.marker.parts
        }
        assert found == PAYLOADS[request]
        assert [*found] == [*PAYLOADS[request]]
        assert sum(len(part.inline) for part in entry.marker.parts) <= INLINE_LIMIT

    async def close(self) -> None:
        """Cancel all streams and drop the kept uploads. Check that nothing stays open."""
        while self.streams:
            for stream in self.streams:
                self.cancel(stream)
            await self.turn(30)
        await self.served.close()
        assert self.store.open_uploads == 0


async def _drain(messages: "asyncio.Queue[api.SaveStreamRequest | None]") -> AsyncIterator[api.SaveStreamRequest]:
    while (message := await messages.get()) is not None:
        yield message
