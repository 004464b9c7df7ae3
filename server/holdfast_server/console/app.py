"""The application: the routes, and what is around each page."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from holdfast import HoldfastError
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from holdfast_server.console import failures, links, rendering
from holdfast_server.console.callers import Callers
from holdfast_server.console.clients import Clients
from holdfast_server.console.guard import BODY_BYTES, Guard, TooLargeError
from holdfast_server.console.pages import (
    changes,
    checkpoint,
    difference,
    namespaces,
    payload,
    resume,
    sign_in,
    store,
    workflow,
    workflows,
)
from holdfast_server.console.sessions import Sessions
from holdfast_server.console.settings import Settings
from holdfast_server.console.static_files import StaticFiles
from holdfast_server.console.visit import Console, Exchange, Page, Paths, Visit

_PAGES: Sequence[Paths] = (
    namespaces.PATHS,
    workflows.PATHS,
    workflow.PATHS,
    resume.PATHS,
    checkpoint.PATHS,
    payload.PATHS,
    difference.PATHS,
    changes.PATHS,
    store.PATHS,
    sign_in.PATHS,
)


def create_app(settings: Settings, clients: Clients) -> Guard:
    """Return the application of a console.

    Args:
        settings: the settings.
        clients: the clients of the callers, which the caller of this function closes.

    """
    static = StaticFiles()
    sessions = Sessions()
    console = Console(
        settings,
        clients,
        sessions,
        Callers(settings, sessions),
        rendering.environment(settings, static),
    )
    routes = [
        *(_route(console, path, pages) for path, pages in _by_path().items()),
        Route("/static/{digest:name}/{name:name}", static.answer),
        Route("/favicon.ico", lambda request: RedirectResponse(static.url("icon.svg"))),
        Route("/robots.txt", lambda request: PlainTextResponse("User-agent: *\nDisallow: /\n")),
    ]
    handlers: dict[Any, Any] = {
        HTTPException: _not_a_page(console),
        TooLargeError: _too_large,
        Exception: _failed(console),
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    # It would redirect to a whole URL, whose scheme is another one behind a proxy with TLS.
    app.router.redirect_slashes = False
    return Guard(app, settings)


class _Name(Convertor):
    """A name in a path, in the encoding of `links`."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        try:
            return links.name_of(value)
        except ValueError:
            raise HTTPException(404) from None

    def to_string(self, value: str) -> str:
        return links.segment(value)


register_url_convertor("name", _Name())


def _by_path() -> Mapping[str, Mapping[str, Page]]:
    """Return the pages of each path by their methods."""
    found: dict[str, dict[str, Page]] = {}
    for paths in _PAGES:
        for key, page in paths.items():
            method, path = key.split()
            found.setdefault(path, {})[method] = page
    return found


def _route(console: Console, path: str, pages: Mapping[str, Page]) -> Route:
    # One route for all methods of a path, so that a refusal of another method names them all.
    return Route(path, _endpoint(console, pages), methods=[*pages])


def _endpoint(console: Console, pages: Mapping[str, Page]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        caller = console.callers.of(request)
        page = pages["GET" if request.method == "HEAD" else request.method]
        try:
            async with console.clients.lent(caller.token) as client:
                return await page(Visit(console, request, caller, client))
        except HoldfastError as error:
            return failures.answer(Exchange(console, request, caller), error)

    return serve


def _not_a_page(console: Console) -> Callable[[Request, HTTPException], Awaitable[Response]]:
    async def answer(request: Request, error: HTTPException) -> Response:
        path, mark, query = Exchange(console, request, console.callers.of(request)).url.partition("?")
        shorter = path.rstrip("/")
        if error.status_code == HTTPStatus.NOT_FOUND and shorter != path and links.is_local(shorter):
            return RedirectResponse(f"{shorter}{mark}{query}", 307)
        status = HTTPStatus(error.status_code)
        detail = "" if error.detail == status.phrase else str(error.detail)
        answered = _problem(console, request, error.status_code, status.phrase, detail)
        answered.headers.update(error.headers or {})
        return answered

    return answer


def _failed(console: Console) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return _problem(console, request, 500, "The page failed", "The log of the console has the cause.")

    return answer


def _problem(console: Console, request: Request, status: int, title: str, message: str) -> Response:
    """Answer with a page about a problem that has nothing to do with the server."""
    exchange = Exchange(console, request, console.callers.of(request))
    return exchange.render("problem.html", status=status, title=title, message=message)


async def _too_large(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"A request may have {BODY_BYTES} bytes.\n", 413)
