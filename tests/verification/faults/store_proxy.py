"""A proxy in front of an S3 server or Azurite that breaks requests and answers on the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from tests.verification.faults.faults import Fault, Faults, StoreRequest

_OF_ONE_HOP = frozenset({"connection", "expect", "keep-alive", "transfer-encoding", "content-length"})
_REFUSALS = {Fault.THROTTLED: (503, "SlowDown"), Fault.FORBIDDEN: (403, "AccessDenied")}


class StoreProxy:
    """A proxy that forwards requests to a server unless a fault strikes.

    Args:
        endpoint_url: the server.
        prefix: account, bucket and prefix; the faults see keys without it.
        faults: the faults.

    """

    def __init__(self, endpoint_url: str, prefix: str, faults: Faults) -> None:
        self._server_url = endpoint_url
        self._prefix = prefix
        self._faults = faults
        self._connections: set[asyncio.Transport] = set()
        self._session: aiohttp.ClientSession | None = None
        self.endpoint_url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["StoreProxy"]:
        # The signature covers the path as sent and the host name.
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, auto_decompress=False, access_log=None, shutdown_timeout=0.1)
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.endpoint_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                await runner.cleanup()

    def cut_idle_connections(self) -> None:
        """Close the idle connections that callers keep for their next request."""
        for connection in self._connections:
            connection.abort()
        self._connections.clear()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self._connections.add(request.transport)
        fault = self._faults.of(self._named(request))
        if fault is Fault.CUT_BEFORE:
            return _cut(request)
        if fault in _REFUSALS:
            status, code = _REFUSALS[fault]
            await request.read()
            text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"
            return web.Response(status=status, body=text.encode(), content_type="application/xml")
        try:
            status, headers, body = await self._passed_on(request)
        except aiohttp.ClientError:
            # The server is down.
            return _cut(request)
        if fault is Fault.CUT_AFTER:
            return _cut(request)
        if fault is Fault.SLOW:
            await asyncio.sleep(self._faults.slow_seconds)
        is_read = body and status in (200, 206)
        if fault is Fault.FLIPPED and is_read:
            body = self._faults.flipped(body)
        if fault is Fault.SHORT_BODY and is_read:
            body = self._faults.cut(body)
            if "Content-Range" in headers:
                start = int(headers["Content-Range"].removeprefix("bytes ").partition("-")[0])
                headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{start + len(body)}"
        answer = web.StreamResponse(status=status, headers=headers)
        answer.content_length = int(headers["Content-Length"]) if request.method == "HEAD" else len(body)
        await answer.prepare(request)
        if fault is Fault.CUT_BODY and is_read:
            await answer.write(body[: len(body) // 2])
            return _cut(request)
        await answer.write(body)
        await answer.write_eof()
        return answer

    async def _passed_on(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
        async with self._session.request(
            request.method,
            URL(self._server_url + request.raw_path, encoded=True),
            headers=headers,
            data=await request.read(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_HOP}
            if request.method == "HEAD":
                kept["Content-Length"] = answer.headers.get("Content-Length", "0")
            return answer.status, kept, body

    def _named(self, request: web.Request) -> StoreRequest:
        if "list-type" in request.query or request.query.get("comp") == "list":
            return StoreRequest("LIST", request.query.get("prefix", ""))
        # Azure's requests to delete name their blobs in the body.
        method = "DELETE" if request.query.get("comp") == "batch" else request.method
        return StoreRequest(method, request.path.removeprefix(f"/{self._prefix}/"))


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
