"""The payload of a checkpoint: previews of its parts, and downloads."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from holdfast_server.console.decoding import in_worker
from holdfast_server.console.found import beginning
from holdfast_server.console.pages.checkpoint import found_by
from holdfast_server.console.preview import preview_of
from holdfast_server.console.visit import Paths, Visit

_PATH = "/n/{namespace:name}/w/{workflow:name}/c/{checkpoint:name}"


async def preview(visit: Visit) -> Response:
    """Show the beginning of a part."""
    found = await found_by(visit)
    part = visit.query("part")
    if found.checkpoint is None or part not in (each.name for each in found.checkpoint.parts):
        raise HTTPException(404, "The checkpoint has no such part.")
    info = next(each for each in found.checkpoint.parts if each.name == part)
    data = await beginning(visit.client, found.checkpoint, part)
    shown = await in_worker(preview_of, data, info.size_bytes, format_name=found.checkpoint.format.name, part=part)
    # A page of a large tree takes a while to make, too.
    return await in_worker(
        visit.render,
        "preview.html" if visit.is_fragment else "checkpoint_detail.html",
        fragment="preview.html",
        heading=part or "Default part",
        namespace=visit.name("namespace"),
        workflow_id=visit.name("workflow"),
        checkpoint_id=visit.name("checkpoint"),
        part=part,
        info=info,
        preview=shown,
    )


async def download(visit: Visit) -> Response:
    """Send a part as a file. No browser shows it or runs it."""
    if visit.console.downloads.locked():
        return PlainTextResponse("Too many downloads at a time: try again later.\n", 503, {"retry-after": "5"})
    namespace, workflow_id, checkpoint_id = (visit.name(name) for name in ("namespace", "workflow", "checkpoint"))
    found = await found_by(visit)
    part = visit.query("part")
    info = next((each for each in found.checkpoint.parts if each.name == part), None) if found.checkpoint else None
    if info is None:
        raise HTTPException(404, "The checkpoint has no such part.")
    pieces = visit.client.read_part(namespace, workflow_id, checkpoint_id, part=part)
    # The first piece is read before the answer begins, so that damage is an error page.
    first = await anext(pieces, b"")
    return _Download(
        visit,
        _joined(first, pieces),
        {
            "content-disposition": disposition(f"{checkpoint_id}-{part}" if part else checkpoint_id),
            "content-length": str(info.size_bytes),
            "content-security-policy": "sandbox; default-src 'none'",
        },
    )


class _Download(StreamingResponse):
    """A part that is sent in pieces. While it is sent it counts as a download, and its client stays open."""

    def __init__(self, visit: Visit, pieces: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(pieces, headers=headers, media_type="application/octet-stream")
        self._visit = visit
        self._pieces = pieces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        console = self._visit.console
        async with console.downloads, console.clients.lent(self._visit.caller.token), aclosing(self._pieces):
            await super().__call__(scope, receive, send)


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
