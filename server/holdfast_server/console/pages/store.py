"""The page of the store: the server, its settings and maintenance, and what each namespace takes."""

import asyncio
from typing import Any

from holdfast import (
    AsyncClient,
    HoldfastError,
    NamespaceUsage,
    PermissionDeniedError,
    StoreStatus,
    UnimplementedError,
)
from starlette.responses import Response

from holdfast_server.console import links
from holdfast_server.console.paging import Place
from holdfast_server.console.visit import Paths, Visit

_ROWS = 50
_CALLS = 8
_CALL_SECONDS = 5.0


async def show(visit: Visit) -> Response:
    """Show the page. What the namespaces take comes with a second request."""
    capabilities = await visit.client.capabilities()
    state, no_state = await _state(visit.client)
    about: dict[str, Any] = {"capabilities": capabilities, "state": state, "no_state": no_state}
    place = Place.of(visit)
    try:
        page = await visit.client.namespaces_page("", page_size=_ROWS, page_token=place.token)
    except UnimplementedError:
        return visit.render("store.html", **about, is_listed=False, names=(), pager=None, usage="")
    return visit.render(
        "store.html",
        **about,
        is_listed=True,
        names=page.items,
        pager=place.pager(links.STORE, {}, page.next_page_token),
        usage=links.with_query(f"{links.STORE}/usage", {"t": [place.token] if place.token else []}),
    )


async def show_usage(visit: Visit) -> Response:
    """Show what the namespaces of a page take, as the server's last collection counted it."""
    page = await visit.client.namespaces_page("", page_size=_ROWS, page_token=Place.of(visit).token)
    slots = asyncio.Semaphore(_CALLS)

    async def total(namespace: str) -> NamespaceUsage | None:
        async with slots:
            return await _total(visit.client, namespace)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(total(each)) for each in page.items]
    found = [(name, task.result()) for name, task in zip(page.items, tasks, strict=True)]
    return visit.render("store_usage.html", found=found)


async def _state(client: AsyncClient) -> tuple[StoreStatus | None, str]:
    """Return the state of the store, or None and in words why it is not shown."""
    try:
        return await client.store_status(), ""
    except UnimplementedError:
        return None, "The server is too old to report its settings and its maintenance."
    except PermissionDeniedError:
        return None, "Settings and maintenance are shown to callers who have the right to admin in every namespace."


async def _total(client: AsyncClient, namespace: str) -> NamespaceUsage | None:
    try:
        return (await client.usage_page(namespace, stored_only=True, page_size=1, timeout=_CALL_SECONDS)).total
    except HoldfastError:
        # An older server, or a caller who may not.
        return None


PATHS: Paths = {"GET /store": show, "GET /store/usage": show_usage}
