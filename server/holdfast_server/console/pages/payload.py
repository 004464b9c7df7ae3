"""The payload of a checkpoint: previews of its parts, and downloads."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import quote

from holdfast import Checkpoint, HoldfastError, PartInfo
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from holdfast_server.console import byte_range, failures
from holdfast_server.console.decoding import in_worker
from holdfast_server.console.found import beginning
from holdfast_server.console.pages.checkpoint import found_by
from holdfast_server.console.preview import preview_of
from holdfast_server.console.resuming import words_of
from holdfast_server.console.visit import Paths, Visit

_PATH = "/n/{namespace:name}/w/{workflow:name}/c/{checkpoint:name}"
_NO_PART = "The checkpoint has no such part."


async def preview(visit: Visit) -> Response:
    """Show the beginning of a part."""
    found, info = await _part(visit)
    data = await beginning(visit.client, found, info.name)
    shown = await in_worker(preview_of, data, info.size_bytes, format_name=found.format.name, part=info.name)
    # A page of a large tree takes a while to make, too.
    return await in_worker(
        visit.render,
        "preview.html" if visit.is_fragment else "checkpoint_detail.html",
        fragment="preview.html",
        heading=info.name or "Default part",
        namespace=visit.name("namespace"),
        workflow_id=visit.name("workflow"),
        checkpoint_id=visit.name("checkpoint"),
        part=info.name,
        info=info,
        preview=shown,
    )


async def download(visit: Visit) -> Response:
    """Send a part, or a range of its bytes, as a file. No browser shows it or runs it."""
    found, info = await _part(visit)
    name = f"{found.checkpoint_id}-{info.name}" if info.name else found.checkpoint_id
    headers = {
        "content-disposition": disposition(name),
        "content-security-policy": "sandbox; default-src 'none'",
        "accept-ranges": "bytes",
        "etag": f'"{info.sha256.hex()}"',
    }
    whole = range(info.size_bytes)
    try:
        # A range of other content than the browser has would not fit to it.
        is_same = visit.request.headers.get("if-range", headers["etag"]) == headers["etag"]
        named = byte_range.requested(visit.request.headers.get("range", "") if is_same else "", info.size_bytes)
    except byte_range.UnsatisfiableError:
        return Response(None, 416, {**headers, "content-range": f"bytes */{info.size_bytes}"})
    if named is not None:
        headers["content-range"] = f"bytes {named.start}-{named.stop - 1}/{info.size_bytes}"
    return _Download(visit, info.name, whole if named is None else named, 200 if named is None else 206, headers)


async def _part(visit: Visit) -> tuple[Checkpoint, PartInfo]:
    """Return the checkpoint and the part that a request names.

    Raises:
        HTTPException: there is no such part, or its checkpoint cannot be loaded.

    """
    found, name = await found_by(visit), visit.query("part")
    if found.checkpoint is not None and found.is_loadable:
        for info in found.checkpoint.parts:
            if info.name == name:
                return found.checkpoint, info
    reasons = ", ".join(words_of(each.reason).title for each in found.findings)
    raise HTTPException(404, f"The checkpoint cannot be loaded: {reasons}." if reasons else _NO_PART)


class _Download(Response):
    """A part that is sent in pieces. While it is sent it counts as a download, and its client stays open."""

    def __init__(self, visit: Visit, part: str, sent: range, status: int, headers: dict[str, str]) -> None:
        headers = {**headers, "content-length": str(len(sent))}
        super().__init__(None, status, headers, media_type="application/octet-stream")
        self._visit = visit
        self._part = part
        self._sent = sent

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        visit, console = self._visit, self._visit.console
        if visit.request.method == "HEAD":
            # Without a byte of it.
            await super().__call__(scope, receive, send)
            return
        if console.downloads.locked():
            text = "Too many downloads at a time: try again later.\n"
            await PlainTextResponse(text, 503, {"retry-after": "5"})(scope, receive, send)
            return
        async with console.downloads, console.clients.lent(visit.caller.token) as client:
            names = (visit.name(name) for name in ("namespace", "workflow", "checkpoint"))
            # Without a length the digest of the whole part is checked before its last piece is sent.
            length = None if self.status_code == 200 else len(self._sent)
            pieces = client.read_part(*names, part=self._part, offset=self._sent.start, length=length)
            async with aclosing(cast("AsyncGenerator[bytes, None]", pieces)):
                await (await self._answer(pieces))(scope, receive, send)

    async def _answer(self, pieces: AsyncIterator[bytes]) -> Response:
        """Return the answer once the first piece is there: damage that it shows is a page."""
        try:
            first = await anext(pieces, b"")
        except HoldfastError as error:
            return failures.answer(self._visit, error)
        return StreamingResponse(_joined(first, pieces), self.status_code, self.headers)


async def _joined(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in pieces:
        yield piece


def disposition(name: str) -> str:
    """Return the header that lets a browser save a file under a name. Characters that a folder does not allow go."""
    kept = "".join(each if each.isalnum() or each in " ._-" else "_" for each in name).strip(" .")[:120] or "part"
    plain = kept.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(kept, safe='')}"


PATHS: Paths = {f"GET {_PATH}/preview": preview, f"GET {_PATH}/download": download}
