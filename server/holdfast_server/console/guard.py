"""The bounds of every request, whatever its page: its host, its time and its size; and the headers of every answer.

No page has inline scripts or styles, and nothing comes from other hosts, so that the policy for the content can forbid
all of it: markup in an id that a page failed to escape would still not run.
"""

import asyncio
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any

from starlette.responses import PlainTextResponse

from holdfast_server.console.settings import Settings
from holdfast_server.listen_address import is_loopback

# For a page, and for each piece of its answer.
REQUEST_SECONDS = 60.0
BODY_BYTES = 64 << 10
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        # htmx requests parts of pages.
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    # Stricter, "no-referrer", a browser would send forms without their origin.
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"x-frame-options": b"DENY",
}
_NO_STORE = (b"cache-control", b"no-store")
_HSTS = (b"strict-transport-security", b"max-age=31536000")


# A name or an address of version 4, or one of version 6 in brackets; and a port.
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[^\s:/?#@\[\]]+))(?::[0-9]*)?")


class TooLargeError(Exception):
    """The body of a request is too large."""


class Guard:
    """An application around another one.

    Args:
        app: the application.
        settings: those of the console.

    """

    def __init__(self, app: Any, settings: Settings) -> None:
        self._app = app
        self._hosts = frozenset(name.lower() for name in settings.hosts)
        self._is_local = is_loopback(settings.listen)
        self._is_tls = settings.is_tls
        self._running: set[_Answer] = set()
        self._ends_at = math.inf

    def end_within(self, seconds: float) -> None:
        """Let no request run for longer than this from now on. Those that do are answered with 503, or cut off."""
        self._ends_at = min(self._ends_at, asyncio.get_running_loop().time() + seconds)
        for answer in self._running:
            answer.ends_at = self._ends_at
            answer.extend()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            return
        answer = _Answer(send, self._ends_at, is_tls=self._is_tls)
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        # Another site's name may lead a browser to this machine, whose pages its scripts could then read.
        if not self._is_host(host):
            refusal = PlainTextResponse(
                f"The console is not known as {host!r}. Use localhost, or start it with --host and this name.\n", 421
            )
            await refusal(scope, receive, answer.send)
            return
        # Routes see the path as it was sent: a slash in a name is not one of the path.
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        scope = {**scope, "path": raw.decode("ascii", "replace")}
        try:
            async with asyncio.timeout(None) as limit:
                answer.limit = limit
                answer.extend()
                self._running.add(answer)
                await self._app(scope, _bounded(receive), answer.send)
        except TimeoutError:
            if not limit.expired():
                raise
            # An answer that has begun is cut off: its connection is closed.
            if not answer.has_begun:
                await self._late()(scope, receive, answer.send)
        finally:
            self._running.discard(answer)

    def _late(self) -> PlainTextResponse:
        if asyncio.get_running_loop().time() >= self._ends_at:
            return PlainTextResponse("The console is stopping.\n", 503, {"retry-after": "5"})
        return PlainTextResponse(f"The page took longer than {REQUEST_SECONDS:g} s.\n", 504)

    def _is_host(self, host: str) -> bool:
        """Return whether a Host header names this console."""
        if not self._hosts and not self._is_local:
            return True
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = (found["address"] or found["name"]).lower()
        return name in self._hosts or (self._is_local and _is_this_machine(name))


class _Answer:
    """The answer to one request, to which headers are added."""

    def __init__(self, send: Any, ends_at: float, *, is_tls: bool) -> None:
        self._send = send
        self.ends_at = ends_at
        self._is_tls = is_tls
        self.has_begun = False
        self.limit: asyncio.Timeout | None = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            given = {name for name, _ in message["headers"]}
            more = [(name, value) for name, value in _HEADERS.items() if name not in given]
            more += [_NO_STORE] if b"cache-control" not in given else []
            more += [_HSTS] if self._is_tls else []
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)
        # A download may take longer as a whole, as long as its reader takes each piece in time.
        self.extend()

    def extend(self) -> None:
        """Begin the time for the page, or for the next piece of its answer."""
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(min(asyncio.get_running_loop().time() + REQUEST_SECONDS, self.ends_at))


def _bounded(receive: Any) -> Callable[[], Any]:
    """Return a function that receives a body of a bounded size."""
    left = BODY_BYTES

    async def bounded() -> Any:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLargeError
        return message

    return bounded


def _is_this_machine(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
