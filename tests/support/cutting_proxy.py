"""A TCP proxy that cuts its connections or goes silent when a test asks for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CuttingProxy:
    """A proxy that counts the bytes of each direction and cuts every connection at a chosen count."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._address = (host, int(port))
        self.port = 0
        self.cuts = 0
        self.cut_answers_after: list[int] = []
        self.cut_requests_after: list[int] = []
        # While this is cleared, nothing passes and no connection ends, as if a machine vanished from the network.
        self.speaks = asyncio.Event()
        self.speaks.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._address)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, server_writer, self.cut_requests_after))
                group.create_task(self._copy(server_reader, writer, self.cut_answers_after))
        except* (ConnectionError, _CutError):
            pass
        finally:
            for each in (writer, server_writer):
                each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cuts: list[int]) -> None:
        seen = 0
        while data := await reader.read(65536):
            await self.speaks.wait()
            seen += len(data)
            if cuts and seen >= cuts[0]:
                cuts.pop(0)
                self.cuts += 1
                raise _CutError
            writer.write(data)
            await writer.drain()
        raise ConnectionError

    @asynccontextmanager
    async def running(self) -> AsyncIterator["CuttingProxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


class _CutError(Exception):
    pass
