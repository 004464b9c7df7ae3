"""The page of a namespace: its workflows, a page at a time, with a search by prefix.

The page itself takes one call. A second request of the browser brings what costs more: the health of each workflow, by
a call for each, and one bounded page of their usage. Whatever that leaves unmeasured, the user measures with a button,
again a bounded page at a time. Neither is there where scripts do not run.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from holdfast import AsyncClient, HoldfastError, UnimplementedError, WorkflowInfo
from starlette.responses import Response

from holdfast_server.console import links
from holdfast_server.console.paging import Place
from holdfast_server.console.visit import Paths, Visit

_ROWS = 50
# Calls at a time, and seconds for each: one large workflow must not hold up the page.
_CALLS = 8
_CALL_SECONDS = 5.0
# For a page of usage. The server ends it after some 10,000 objects, and after 2,000 markers if it reads any.
_USAGE_SECONDS = 20.0


async def show(visit: Visit) -> Response:
    """Show a page of the workflows."""
    namespace, prefix, place = visit.name("namespace"), visit.query("prefix"), Place.of(visit)
    page = await visit.client.workflows_page(namespace, prefix=prefix, page_size=_ROWS, page_token=place.token)
    return visit.render(
        "workflows.html",
        namespace=namespace,
        prefix=prefix,
        rows=[Row(each) for each in page.items],
        details=links.with_query(
            f"{links.namespace(namespace)}/details", {"prefix": prefix, "t": [place.token] if place.token else []}
        ),
        pager=place.pager(links.namespace(namespace), {"prefix": prefix}, page.next_page_token),
    )


async def show_details(visit: Visit) -> Response:
    """Show the health of the workflows of a page, and what one page of usage says that they store."""
    rows, query = await _rows(visit)
    slots = asyncio.Semaphore(_CALLS)

    async def health(row: Row) -> tuple[str, str]:
        async with slots:
            return await _health(visit.client, row.info)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(health(each)) for each in rows]
        measuring = group.create_task(_measure(visit, rows, reads_markers=False))
    return visit.render(
        "workflow_details.html",
        health=[(row, task.result()) for row, task in zip(rows, tasks, strict=True)],
        **_shown(visit, rows, measuring.result(), query, shows_all=True),
    )


async def show_usage(visit: Visit) -> Response:
    """Measure the workflows of a page, or measure further."""
    rows, query = await _rows(visit)
    found = await _measure(visit, rows, reads_markers=bool(visit.query("markers")))
    return visit.render("workflow_usage.html", **_shown(visit, rows, found, query))


@dataclass(frozen=True, slots=True)
class Row:
    """One workflow of the page."""

    info: WorkflowInfo

    @property
    def key(self) -> str:
        """What names its cells in the page."""
        return sha256(self.info.workflow_id.encode()).hexdigest()[:16]

    @property
    def health(self) -> tuple[str, str]:
        """The kind of its badge and the text, as far as the head shows it."""
        if self.info.head is None:
            return "bad", "newest entry damaged"
        if not self.info.checkpoint_revision:
            return "muted", "no checkpoint"
        return "ok", "has a checkpoint"


@dataclass(frozen=True, slots=True)
class Size:
    """What a workflow takes, as far as it is measured.

    Attributes:
        logical_bytes: the payloads of its checkpoints; None if they were not counted.
        stored_bytes: its objects.
        is_whole: whether everything was counted; else it takes at least as much.

    """

    logical_bytes: int | None
    stored_bytes: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """One page of usage.

    Attributes:
        sizes: what each workflow takes, by its id.
        next_token: where a measurement goes on; "" if no row is left.
        problem: why nothing was measured, in words; "" if something was.

    """

    sizes: Mapping[str, Size]
    next_token: str = ""
    problem: str = ""


async def _rows(visit: Visit) -> tuple[Sequence[Row], dict[str, str | list[str]]]:
    """Return the rows of the page that a request is about, and the query that names it."""
    prefix, place = visit.query("prefix"), Place.of(visit)
    page = await visit.client.workflows_page(
        visit.name("namespace"), prefix=prefix, page_size=_ROWS, page_token=place.token
    )
    return [Row(each) for each in page.items], {"prefix": prefix, "t": [place.token] if place.token else []}


async def _measure(visit: Visit, rows: Sequence[Row], *, reads_markers: bool) -> Measured:
    try:
        page = await visit.client.usage_page(
            visit.name("namespace"),
            prefix=visit.query("prefix"),
            stored_only=not reads_markers,
            page_size=_ROWS,
            page_token=visit.query("after") or Place.of(visit).token,
            timeout=_USAGE_SECONDS,
        )
    except UnimplementedError:
        return Measured({}, problem="The server is too old to measure sizes.")
    except HoldfastError as error:
        return Measured({}, problem=f"Sizes are not measured. {error.message}")
    sizes = {each.workflow_id: Size(each.size_bytes, each.stored_bytes, True) for each in page.items}
    is_done = not rows or rows[-1].info.workflow_id in sizes
    if page.unfinished is not None:
        found = page.unfinished
        sizes[found.workflow_id] = Size(found.size_bytes, found.stored_bytes, False)
    return Measured(sizes, "" if is_done else page.next_page_token)


def _shown(
    visit: Visit, rows: Sequence[Row], found: Measured, query: dict[str, str | list[str]], *, shows_all: bool = False
) -> dict[str, Any]:
    """Return what the template of usage shows: all rows, or those that are measured now; others stay as they are."""
    path, markers = f"{links.namespace(visit.name('namespace'))}/usage", visit.query("markers")
    further = {**query, "after": found.next_token, "markers": markers}
    return {
        "sizes": [
            (row, found.sizes.get(row.info.workflow_id))
            for row in rows
            if shows_all or row.info.workflow_id in found.sizes
        ],
        "problem": found.problem,
        "unfinished": next((key for key, size in found.sizes.items() if not size.is_whole), ""),
        "further": links.with_query(path, further) if found.next_token else "",
        "logical": "" if markers or found.problem else links.with_query(path, {**query, "markers": "1"}),
    }


async def _health(client: AsyncClient, info: WorkflowInfo) -> tuple[str, str]:
    if info.head is not None and not info.checkpoint_revision:
        return Row(info).health
    try:
        found = await client.validate(info.namespace, info.workflow_id, depth="presence", timeout=_CALL_SECONDS)
    except HoldfastError:
        return Row(info).health
    if found.resumable:
        return "ok", "resumable"
    reason = found.findings[0].reason.removeprefix("CHECKPOINT_").lower().replace("_", " ") if found.findings else ""
    return ("warn" if found.last_good is not None else "bad"), reason or "not resumable"


PATHS: Paths = {
    "GET /n/{namespace:name}": show,
    "GET /n/{namespace:name}/details": show_details,
    "GET /n/{namespace:name}/usage": show_usage,
}
