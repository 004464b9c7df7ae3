"""The files that pages link to. Their URLs have digests, so that browsers keep them for good."""

from hashlib import sha256
from importlib.resources import files
from typing import Any

from starlette.responses import PlainTextResponse, Response

_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_YEAR_SECONDS = 31_536_000


class StaticFiles:
    """The static files of the console, all in memory."""

    def __init__(self) -> None:
        folder = files("holdfast_server.console") / "static"
        self._contents = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
        self._digests = {name: sha256(content).hexdigest()[:16] for name, content in self._contents.items()}

    def url(self, name: str) -> str:
        """Return the URL of a file."""
        return f"/static/{self._digests[name]}/{name}"

    def answer(self, request: Any) -> Response:
        """Answer a request of a file by its digest and name."""
        name = request.path_params["name"]
        # A digest of another version would be kept as this one's.
        if self._digests.get(name) != request.path_params["digest"]:
            return PlainTextResponse("not found\n", 404)
        kind = next((kind for suffix, kind in _KINDS.items() if name.endswith(suffix)), "application/octet-stream")
        kept = {"cache-control": f"public, max-age={_YEAR_SECONDS}, immutable"}
        return Response(self._contents[name], headers=kept, media_type=kind)
