"""The page of a namespace: its workflows, a page at a time, with a search by prefix."""

from dataclasses import dataclass

from holdfast import WorkflowInfo
from starlette.responses import Response

from holdfast_server.console import links
from holdfast_server.console.paging import Place
from holdfast_server.console.visit import Paths, Visit

_ROWS = 50


async def show(visit: Visit) -> Response:
    """Show a page of the workflows."""
    namespace, prefix = visit.name("namespace"), visit.query("prefix")
    place = Place.of(visit)
    page = await visit.client.workflows_page(namespace, prefix=prefix, page_size=_ROWS, page_token=place.token)
    return visit.render(
        "workflows.html",
        namespace=namespace,
        prefix=prefix,
        rows=[Row(each) for each in page.items],
        pager=place.pager(links.namespace(namespace), {"prefix": prefix}, page.next_page_token),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One workflow of the page."""

    info: WorkflowInfo

    @property
    def health(self) -> tuple[str, str]:
        """The kind of its badge, and the text."""
        if self.info.head is None:
            return "bad", "newest entry damaged"
        if not self.info.checkpoint_revision:
            return "muted", "no checkpoint"
        return "ok", "has a checkpoint"


PATHS: Paths = {"GET /n/{namespace:name}": show}
