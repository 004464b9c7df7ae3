"""Whose rights a request has: those of the token in its header, of its session, or else those of the console.

A proxy before the console may send the header `Authorization: Bearer TOKEN`. It precedes a session, which a browser
keeps in a cookie that scripts cannot read and other sites cannot send.
"""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdfast_server.console.clients import Token
from holdfast_server.console.sessions import SESSION_SECONDS, Sessions
from holdfast_server.console.settings import Settings

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a page.

    Attributes:
        token: the token; None for none.
        browser_id: the id in the browser's cookie, of a session or not; "" for none.
        is_signed_in: whether the token is that of a session.
        is_proxied: whether the token came in a header.

    """

    token: Token
    browser_id: str
    is_signed_in: bool = False
    is_proxied: bool = False


class Callers:
    """The callers of one console.

    Args:
        settings: those of the console.
        sessions: the sessions.

    """

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._own = settings.token
        self._is_tls = settings.is_tls
        self._sessions = sessions

    def of(self, request: Request) -> Caller:
        """Return the caller of a request."""
        given = request.cookies.get(self._cookie(request), "")
        browser_id = given if self._sessions.is_id(given) else ""
        authorization = request.headers.get("authorization", "")
        if authorization.lower().startswith(_SCHEME):
            return Caller(authorization[len(_SCHEME) :].strip(), browser_id, is_proxied=True)
        token = self._sessions.token(browser_id) if browser_id else None
        if token is not None:
            return Caller(token, browser_id, is_signed_in=True)
        return Caller(self._own, browser_id)

    def keep(self, request: Request, response: Response, browser_id: str) -> None:
        """Let the browser that has sent a request keep an id."""
        response.set_cookie(self._cookie(request), browser_id, max_age=SESSION_SECONDS, **self._attributes(request))

    def forget(self, request: Request, response: Response) -> None:
        """Let the browser that has sent a request forget its id."""
        response.delete_cookie(self._cookie(request), **self._attributes(request))

    def _cookie(self, request: Request) -> str:
        """Return the name of the cookie.

        It has the port, because a browser sends a cookie to all ports of a host: two consoles on a machine would take
        each other's. The prefix lets a browser take it by TLS only, and from this host alone.
        """
        port = request.headers.get("host", "").rpartition(":")[2]
        name = f"holdfast-console-{port}" if port.isdecimal() else "holdfast-console"
        return f"__Host-{name}" if self._is_https(request) else name

    def _is_https(self, request: Request) -> bool:
        """Return whether the browser uses TLS, to this console or to a proxy before it.

        A caller who names TLS in the header without using it only loses its own cookie.
        """
        return self._is_tls or request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower() == "https"

    def _attributes(self, request: Request) -> dict[str, Any]:
        return {"path": "/", "secure": self._is_https(request), "httponly": True, "samesite": "strict"}
