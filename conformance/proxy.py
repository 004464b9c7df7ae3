"""A TCP proxy that cuts connections, delays, goes silent, and loses answers of gRPC calls.

It reads the frames of HTTP/2 that a server sends, so that it can lose an answer after the server has made it: the call
took effect, and its caller does not know.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

# https://www.rfc-editor.org/rfc/rfc9113#section-4.1
_FRAME_HEADER_BYTES = 9
# Headers may come long before an answer, and only an answer has data.
_DATA = 0x0
_READ_BYTES = 65536


class Proxy:
    """A proxy before one server.

    Args:
        target: the server, host:port.
        does_harm: whether it does what it is called for; otherwise it lets everything pass.

    Attributes:
        port: the port that it listens on.
        cuts: how many connections it has cut, and answers it has lost.
        held: set while it holds back an answer.
        has_cut: set once it has cut a connection, or let one go silent.

    """

    def __init__(self, target: str, *, does_harm: bool = True) -> None:
        self._does_harm = does_harm
        host, _, port = target.rpartition(":")
        self._address = (host, int(port))
        self._connections: set[_Connection] = set()
        self._answers = _Limit()
        self._requests = _Limit()
        self._holds = 0
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._delay_seconds = 0.0
        self.port = 0
        self.cuts = 0
        self.held = asyncio.Event()
        self.has_cut = asyncio.Event()

    def stop_answers(self, after: int, *, silent: bool = False) -> None:
        """Cut the connection that carries the byte of an answer after so many more, or let it go silent."""
        self._answers = _Limit(after if self._does_harm else None, silent)

    def stop_requests(self, after: int, *, silent: bool = False) -> None:
        """Cut the connection that carries the byte of a request after so many more, or let it go silent."""
        self._requests = _Limit(after if self._does_harm else None, silent)

    def hold_answer(self) -> None:
        """Hold back the next answer, and all that follows on its connection, until `cut`."""
        self._holds = int(self._does_harm)
        self.held.clear()

    def cut(self) -> None:
        """Cut every connection."""
        for connection in list(self._connections):
            connection.cut()
            self.cuts += 1

    def set_silent(self, silent: bool) -> None:
        """Let nothing pass, and end no connection, as if a machine vanished from the network; or pass all again."""
        (self._speaks.clear if silent and self._does_harm else self._speaks.set)()

    def delay(self, seconds: float) -> None:
        """Delay each piece of an answer."""
        self._delay_seconds = seconds if self._does_harm else 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen while the block lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in list(self._connections):
                connection.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._address)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, server_writer)
        self._connections.add(connection)
        try:
            await connection.run(
                _copied(reader, server_writer, self._passes_request),
                _copied(server_reader, writer, _Answers(self._holds_answer, self._passes_answer).passes),
            )
        finally:
            self._connections.discard(connection)

    async def _passes_request(self, data: bytes) -> bool:
        await self._speaks.wait()
        return await self._passes(self._requests, data)

    async def _passes_answer(self, data: bytes) -> bool:
        await asyncio.sleep(self._delay_seconds)
        await self._speaks.wait()
        return await self._passes(self._answers, data)

    async def _passes(self, limit: "_Limit", data: bytes) -> bool:
        if not limit.reached(len(data)):
            return True
        self.cuts += 1
        self.has_cut.set()
        if limit.is_silent:
            await asyncio.Event().wait()
        return False

    def _holds_answer(self) -> bool:
        if not self._holds:
            return False
        self._holds -= 1
        self.held.set()
        return True


class _Limit:
    """How many bytes may pass before a connection is cut or goes silent; None for any number."""

    def __init__(self, left: int | None = None, is_silent: bool = False) -> None:
        self._left = left
        self.is_silent = is_silent

    def reached(self, size: int) -> bool:
        """Count bytes. Return True once, when there are too many."""
        if self._left is None:
            return False
        self._left -= size
        if self._left > 0:
            return False
        self._left = None
        return True


class _Connection:
    """One connection of a client and the one to the server that belongs to it."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self._copying: list[asyncio.Task[None]] = []

    async def run(self, *directions: Coroutine[Any, Any, None]) -> None:
        """Copy both directions until one ends."""
        self._copying = [asyncio.ensure_future(each) for each in directions]
        try:
            await asyncio.wait(self._copying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            await asyncio.gather(*self._copying, return_exceptions=True)

    def cut(self) -> None:
        """End it at once."""
        for writer in self._writers:
            writer.transport.abort()
        for each in self._copying:
            each.cancel()


class _Answers:
    """What a server sends on one connection, frame by frame.

    Args:
        holds: returns whether to hold back an answer that comes now.
        passes: decides about bytes that are not held back.

    """

    def __init__(self, holds: Callable[[], bool], passes: Callable[[bytes], Coroutine[Any, Any, bool]]) -> None:
        self._holds = holds
        self._passes = passes
        self._header = b""
        self._missing = 0
        self._is_held = False

    async def passes(self, data: bytes) -> bool:
        """Return whether to go on; a connection whose answer is held back stays open without a word."""
        if self._is_held or self._has_answer(data):
            self._is_held = True
            await asyncio.Event().wait()
        return await self._passes(data)

    def _has_answer(self, data: bytes) -> bool:
        found = False
        position = 0
        while position < len(data):
            if self._missing:
                step = min(self._missing, len(data) - position)
                self._missing -= step
                position += step
                continue
            step = min(_FRAME_HEADER_BYTES - len(self._header), len(data) - position)
            self._header += data[position : position + step]
            position += step
            if len(self._header) == _FRAME_HEADER_BYTES:
                self._missing = int.from_bytes(self._header[:3], "big")
                found = found or (self._header[3] == _DATA and self._holds())
                self._header = b""
        return found


async def _copied(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    passes: Callable[[bytes], Coroutine[Any, Any, bool]],
) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(_READ_BYTES):
            if not await passes(data):
                return
            writer.write(data)
            await writer.drain()
