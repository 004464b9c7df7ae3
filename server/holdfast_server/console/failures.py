"""Errors as pages: the reason, the message, the next step, and the ids to look it up by."""

import grpc
from holdfast import HoldfastError, UnauthenticatedError
from starlette.responses import RedirectResponse, Response

from holdfast_server.console import links
from holdfast_server.console.visit import Exchange

_STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_TITLES = {
    "CHECKPOINT_NOT_FOUND": "No such checkpoint",
    "WORKFLOW_NOT_FOUND": "No such workflow",
    "CHECKPOINT_DELETED": "The checkpoint was deleted",
    "CHECKPOINT_CORRUPTED": "The checkpoint is damaged",
    "PERMISSION_DENIED": "You may not see this",
    "SERVER_UNAVAILABLE": "The server cannot be reached",
    "STORE_UNAVAILABLE": "The server cannot reach its store",
    "UNIMPLEMENTED": "The server is too old for this page",
    "UNAUTHENTICATED": "The server does not know you",
    "DEADLINE_EXCEEDED": "The server did not answer in time",
    "INVALID_REQUEST": "The server refuses the request",
    "OVERLOADED": "The server is overloaded",
}


def answer(exchange: Exchange, error: HoldfastError) -> Response:
    """Answer a request whose page failed. A caller who is not known is led to the sign-in first."""
    if isinstance(error, UnauthenticatedError) and not exchange.caller.is_proxied:
        if exchange.caller.is_signed_in:
            exchange.console.sessions.end(exchange.caller.browser_id)
        if exchange.is_fragment:
            # The browser loads the page again, which leads to the sign-in.
            return Response(status_code=204, headers={"hx-refresh": "true"})
        back = exchange.url if exchange.request.method == "GET" else links.NAMESPACES
        return RedirectResponse(links.with_query(links.SIGN_IN, {"next": "" if back == "/" else back}), 303)
    return exchange.render(
        "failure_fragment.html" if exchange.is_fragment else "failure.html",
        status=_STATUSES.get(error.code, 500),
        error=error,
        title=title(error),
    )


def title(error: HoldfastError) -> str:
    """Return an error in a few words."""
    return _TITLES.get(error.reason, "The request failed")
