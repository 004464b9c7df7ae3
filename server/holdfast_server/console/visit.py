"""One request of a page: its arguments, its caller's client, and the answers that it can get."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast import AsyncClient
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from holdfast_server.console import rendering
from holdfast_server.console.callers import Caller, Callers
from holdfast_server.console.clients import Clients
from holdfast_server.console.sessions import Sessions
from holdfast_server.console.settings import Settings

# Downloads at a time: each holds a few MiB.
_DOWNLOADS = 8


@dataclass(frozen=True, slots=True)
class Console:
    """What all requests of one console share.

    `downloads` bounds the downloads that run at a time, `large_reads` the pages that read many records.
    """

    settings: Settings
    clients: Clients
    sessions: Sessions
    callers: Callers
    templates: Environment
    downloads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_DOWNLOADS))
    large_reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and the answers that it can get without the server.

    Attributes:
        console: what all requests share.
        request: the request.
        caller: the caller.

    """

    console: Console
    request: Request
    caller: Caller

    def name(self, parameter: str) -> str:
        """Return a name from the path: a namespace, a workflow's id, a checkpoint's id."""
        value: str = self.request.path_params[parameter]
        return value

    def query(self, parameter: str) -> str:
        """Return an argument of the query; "" if it is not given."""
        value: str = self.request.query_params.get(parameter, "")
        return value

    @property
    def is_fragment(self) -> bool:
        """Whether htmx requests a part of a page."""
        return bool(self.request.headers.get("hx-request") == "true")

    @property
    def url(self) -> str:
        """The path and query of the page that the browser shows."""
        path, query = str(self.request.scope["path"]), self.request.scope["query_string"].decode("latin-1")
        return f"{path}?{query}" if query else path

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Answer with a template, and with a cookie if the page has forms and the browser has none.

        Args:
            template: the template's name.
            status: the status of HTTP.
            values: what the template uses, besides `visit`, `form_mark` and the globals of `rendering`.

        """
        browser_id = self.caller.browser_id or self.console.sessions.new_id()
        values |= {"visit": self, "form_mark": self.console.sessions.mark(browser_id)}
        response = HTMLResponse(rendering.rendered(self.console.templates, template, values), status)
        if browser_id != self.caller.browser_id:
            self.console.callers.keep(self.request, response, browser_id)
        return response

    def redirect(self, path: str) -> Response:
        """Answer that the browser shall show another page of the console."""
        return RedirectResponse(path, 303)


@dataclass(frozen=True, slots=True)
class Visit(Exchange):
    """One request of a page.

    Attributes:
        client: the client, with the caller's rights.

    """

    client: AsyncClient


Page = Callable[[Visit], Awaitable[Response]]
# The pages of a module by method and path, such as "GET /n/{namespace:name}". `{…:name}` is a segment of the path.
Paths = Mapping[str, Page]
