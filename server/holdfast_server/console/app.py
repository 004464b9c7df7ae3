"""The application: the routes, and what is around each page."""

from collections.abc import Awaitable, Callable, Sequence
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
        *(_route(console, key, page) for paths in _PAGES for key, page in paths.items()),
        Route("/static/{digest:name}/{name:name}", static.answer),
        Route("/favicon.ico", lambda request: RedirectResponse(static.url("icon.svg"))),
        Route("/robots.txt", lambda request: PlainTextResponse("User-agent: *\nDisallow: /\n")),
    ]
    handlers: dict[Any, Any] = {
        HTTPException: _not_a_page(console),
        TooLargeError: _too_large,
        Exception: _failed(console),
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), settings)


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


def _route(console: Console, key: str, page: Page) -> Route:
    method, path = key.split()
    return Route(path, _endpoint(console, page), methods=[method])


def _endpoint(console: Console, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        caller = console.callers.of(request)
        try:
            async with console.clients.lent(caller.token) as client:
                return await page(Visit(console, request, caller, client))
        except HoldfastError as error:
            return failures.answer(Exchange(console, request, caller), error)

    return serve


def _not_a_page(console: Console) -> Callable[[Request, HTTPException], Awaitable[Response]]:
    async def answer(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        detail = "" if error.detail == status.phrase else str(error.detail)
        return _problem(console, request, error.status_code, status.phrase, detail)

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
