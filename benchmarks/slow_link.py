"""A link to a store that holds back each request for a while, and records them: how many, of what kind, in what order.

It forwards HTTP/1.1 as it is. A connection carries one request after the other.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_HEAD_BYTES = 1 << 16


@dataclass(slots=True)
class Request:
    """A request.

    Attributes:
        method: the method.
        path: the path, with its query.
        began: when it arrived, in seconds of the performance counter.
        ended: when the last byte of the answer passed.

    """

    method: str
    path: str
    began: float
    ended: float


def in_a_row(requests: Iterable[Request]) -> int:
    """Return how many requests followed one another: the most of which no two overlap."""
    count, last = 0, 0.0
    for each in sorted(requests, key=lambda request: request.ended):
        if each.began >= last:
            count, last = count + 1, each.ended
    return count


class SlowLink:
    """A link that is open.

    Attributes:
        url: where it listens.
        latency_seconds: for how long it holds back a request.
        requests: those that have passed, in the order of their arrival.

    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self.url = ""
        self.latency_seconds = 0.0
        self.requests: list[Request] = []

    @classmethod
    @contextmanager
    def to(cls, upstream: str) -> Iterator["SlowLink"]:
        """Open a link to the server at a URL, in a thread of its own."""
        link = cls(upstream)
        loop = asyncio.new_event_loop()
        ends = asyncio.Event()
        is_open = threading.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(link._serve(is_open, ends)))
        thread.start()
        is_open.wait()
        try:
            yield link
        finally:
            loop.call_soon_threadsafe(ends.set)
            thread.join()
            loop.close()

    async def _serve(self, is_open: threading.Event, ends: asyncio.Event) -> None:
        connections: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._carry(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=_HEAD_BYTES)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        is_open.set()
        await ends.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        sent: list[Request] = []
        answers = asyncio.create_task(_answers(upstream_reader, writer, sent))
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                    now = time.perf_counter()
                    sent.append(Request(method, path, now, now))
                    self.requests.append(sent[-1])
                    await asyncio.sleep(self.latency_seconds)
                    upstream_writer.write(head)
                    await _forward(reader, upstream_writer, _body_bytes(head))
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            upstream_writer.close()
            writer.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> None:
    await writer.drain()
    while count:
        data = await reader.read(count)
        if not data:
            raise asyncio.IncompleteReadError(b"", count)
        count -= len(data)
        writer.write(data)
        await writer.drain()


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: list[Request]) -> None:
    while data := await reader.read(_HEAD_BYTES):
        sent[-1].ended = time.perf_counter()
        writer.write(data)
        await writer.drain()
    writer.close()


def _body_bytes(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
        if name.lower() == b"transfer-encoding":
            raise ValueError(f"expected a body of known length: {line.decode()}")
    return 0
