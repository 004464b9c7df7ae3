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
        # The prefix lets a browser take the cookie by TLS only, and from this host alone.
        self._cookie = "__Host-holdfast-console" if settings.is_tls else "holdfast-console"
        self._sessions = sessions

    def of(self, request: Request) -> Caller:
        """Return the caller of a request."""
        given = request.cookies.get(self._cookie, "")
        browser_id = given if self._sessions.is_id(given) else ""
        authorization = request.headers.get("authorization", "")
        if authorization.lower().startswith(_SCHEME):
            return Caller(authorization[len(_SCHEME) :].strip(), browser_id, is_proxied=True)
        token = self._sessions.token(browser_id) if browser_id else None
        if token is not None:
            return Caller(token, browser_id, is_signed_in=True)
        return Caller(self._own, browser_id)

    def keep(self, response: Response, browser_id: str) -> None:
        """Let the browser keep an id."""
        response.set_cookie(self._cookie, browser_id, max_age=SESSION_SECONDS, **self._attributes())

    def forget(self, response: Response) -> None:
        """Let the browser forget its id."""
        response.delete_cookie(self._cookie, **self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {"path": "/", "secure": self._is_tls, "httponly": True, "samesite": "strict"}
