"""The page of a namespace: its workflows, a page at a time, with a search by prefix.

The page itself takes one call. What needs a call for each workflow, sizes and health, comes with a second request of
the browser, and is left out where scripts do not run.
"""

import asyncio
from dataclasses import dataclass
from hashlib import sha256

from holdfast import AsyncClient, HoldfastError, WorkflowInfo
from starlette.responses import Response

from holdfast_server.console import links
from holdfast_server.console.paging import Place
from holdfast_server.console.visit import Paths, Visit

_ROWS = 50
# Calls at a time, and seconds for each: one large workflow must not hold up the page.
_CALLS = 8
_CALL_SECONDS = 5.0
# A longer log costs too many requests to the store to measure it for a row of a page.
_MEASURED_REVISIONS = 50


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
    """Show sizes and health of the workflows of a page."""
    namespace, prefix, place = visit.name("namespace"), visit.query("prefix"), Place.of(visit)
    page = await visit.client.workflows_page(namespace, prefix=prefix, page_size=_ROWS, page_token=place.token)
    slots = asyncio.Semaphore(_CALLS)

    async def detail(info: WorkflowInfo) -> Detail:
        async with slots:
            return Detail(Row(info), await _size(visit.client, info), await _health(visit.client, info))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(detail(each)) for each in page.items]
    return visit.render("workflow_details.html", details=[task.result() for task in tasks])


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
    """What a workflow takes.

    Attributes:
        logical_bytes: the payloads of its checkpoints; None if they were not counted.
        stored_bytes: its objects.
        is_whole: whether everything was counted; else it takes at least as much.

    """

    logical_bytes: int | None
    stored_bytes: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Detail:
    """What the second request shows of a workflow.

    Attributes:
        row: the workflow.
        size: what it takes; None if that is not known.
        health: the kind of its badge and the text.

    """

    row: Row
    size: Size | None
    health: tuple[str, str]


async def _size(client: AsyncClient, info: WorkflowInfo) -> Size | None:
    if info.head_revision > _MEASURED_REVISIONS:
        return None
    try:
        page = await client.usage_page(info.namespace, info.workflow_id, page_size=1, timeout=_CALL_SECONDS)
    except HoldfastError:
        # An older server, or a caller who may not: the page does without.
        return None
    found = page.unfinished or next(iter(page.items), None)
    return Size(found.size_bytes, found.stored_bytes, page.unfinished is None) if found is not None else None


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
}
