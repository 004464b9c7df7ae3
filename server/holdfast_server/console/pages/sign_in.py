"""Signing in with a token, and out again."""

from holdfast import HoldfastError, InvalidRequestError, UnauthenticatedError
from starlette.responses import Response

from holdfast_server.console import forms, links
from holdfast_server.console.visit import Paths, Visit


async def show(visit: Visit) -> Response:
    """Show the form."""
    return visit.render("sign_in.html", next=_next(visit.query("next")), problem="")


async def sign_in(visit: Visit) -> Response:
    """Begin a session if the server knows the token."""
    console = visit.console
    form = await forms.read(visit.request, visit.caller, console.sessions)
    token, back = forms.text(form, "token").strip(), _next(forms.text(form, "next"))
    try:
        async with console.clients.made(token) as client:
            await client.capabilities()
    except UnauthenticatedError as error:
        return visit.render("sign_in.html", status=401, next=back, problem=error.message)
    except InvalidRequestError:
        problem = "This is not a token. Paste the whole line that holdfast-server token create has printed."
        return visit.render("sign_in.html", status=400, next=back, problem=problem)
    except HoldfastError as error:
        return visit.render("sign_in.html", status=503, next=back, problem=str(error))
    console.sessions.end(visit.caller.browser_id)
    response = visit.redirect(back)
    # An id that was known before the sign-in never becomes that of a session.
    console.callers.keep(visit.request, response, console.sessions.begin(token))
    return response


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    console = visit.console
    await forms.read(visit.request, visit.caller, console.sessions)
    console.sessions.end(visit.caller.browser_id)
    response = visit.redirect(links.SIGN_IN)
    console.callers.forget(visit.request, response)
    return response


def _next(url: str) -> str:
    return url if links.is_local(url) else links.NAMESPACES


PATHS: Paths = {
    "GET /sign-in": show,
    "POST /sign-in": sign_in,
    "POST /sign-out": sign_out,
}
