"""S3 servers that break one promise of S3, as some clones do. They have enough of the protocol for a probe."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aiohttp import web

LISTING = """<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
<KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"""
CONTENT = "<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"


# The connection of a request for this key is cut before an answer.
CUT = "cut"


class Clone:
    """An S3 server with one bucket in memory.

    Attributes:
        breaks: the broken promise. "": none, but it never encrypts; "ignores": ignores If-None-Match; "lacks":
            refuses it with 501; "races": checks first and writes later; "foreign": belongs to
            another account than a request expects.

    """

    def __init__(self, breaks: str) -> None:
        self.breaks = breaks
        self._objects: dict[str, bytes] = {}

    async def put(self, request: web.Request) -> web.Response:
        key, data = request.match_info["key"], await request.read()
        if key == CUT:
            return cut(request)
        if self.breaks == "foreign" and "x-amz-expected-bucket-owner" in request.headers:
            return _error(403, "AccessDenied")
        if "If-None-Match" in request.headers and self.breaks != "ignores":
            if self.breaks == "lacks":
                return _error(501, "NotImplemented")
            if key in self._objects:
                return _error(412, "PreconditionFailed")
            if self.breaks == "races":
                await asyncio.sleep(0.05)
        self._objects[key] = data
        return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    async def get(self, request: web.Request) -> web.Response:
        if request.match_info["key"] == CUT:
            return cut(request)
        found = self._objects.get(request.match_info["key"])
        return _error(404, "NoSuchKey") if found is None else web.Response(body=found)

    async def list(self, request: web.Request) -> web.Response:
        found = sorted(key for key in self._objects if key.startswith(request.query["prefix"]))
        contents = "".join(CONTENT.format(key=key) for key in found)
        return web.Response(text=LISTING.format(count=len(found), contents=contents), content_type="application/xml")

    async def delete(self, request: web.Request) -> web.Response:
        self._objects.pop(request.match_info["key"], None)
        return web.Response(status=204)


def cut(request: web.Request) -> web.Response:
    """Cut the connection of a request."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _error(status: int, code: str) -> web.Response:
    text = f"<Error><Code>{code}</Code><Message>what the server says of {code}</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")


def running(breaks: str) -> AbstractAsyncContextManager[str]:
    """Run a clone and yield its URL."""
    clone = Clone(breaks)
    app = web.Application()
    app.add_routes(
        [
            web.get("/b", clone.list),
            web.get("/b/{key:.+}", clone.get, allow_head=True),
            web.put("/b/{key:.+}", clone.put),
            web.delete("/b/{key:.+}", clone.delete),
        ]
    )
    return served(app)


@asynccontextmanager
async def served(
    app: web.Application, scheme: str = "http", ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve an application on loopback and yield its URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context).start()
    try:
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
