"""Forms that change something. Each must come from a page of this console that this browser was given.

Two signs are checked: the header Origin, which a browser sets and scripts of other sites cannot; and the mark of the
form, which only this browser's pages have.
"""

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from holdfast_server.console.callers import Caller
from holdfast_server.console.sessions import Sessions

MARK = "form_mark"
_FIELDS = 16
_PORTS = {"http": ":80", "https": ":443"}


async def read(request: Request, caller: Caller, sessions: Sessions) -> FormData:
    """Read a form.

    Raises:
        HTTPException: it did not come from a page of this console.

    """
    if not _is_own(request.headers.get("origin", ""), request.headers.get("host", "")):
        raise HTTPException(
            403,
            "The form came from another site, or from a program that does not say where from. A proxy before the "
            "console must pass the header Host on as the browser sent it.",
        )
    form = await request.form(max_files=0, max_fields=_FIELDS)
    if not caller.browser_id or not sessions.is_mark(caller.browser_id, text(form, MARK)):
        raise HTTPException(403, "The form is too old, or the browser keeps no cookies. Go back, reload and try again.")
    return form


def _is_own(origin: str, host: str) -> bool:
    """Return whether an origin is this console, by the name that the request was sent to.

    The scheme is not compared: a proxy may add TLS. The scheme's own port may be named or not.
    """
    scheme, separator, authority = origin.lower().partition("://")
    port = _PORTS.get(scheme)
    if not separator or not authority or port is None:
        return False
    return authority.removesuffix(port) == host.lower().removesuffix(port)


def text(form: FormData, name: str) -> str:
    """Return a field of a form; "" if it is not given."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
