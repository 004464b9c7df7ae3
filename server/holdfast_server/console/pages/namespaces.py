"""The first page: the namespaces that the caller may see."""

from holdfast import UnimplementedError
from starlette.responses import Response

from holdfast_server.console import links
from holdfast_server.console.paging import Place
from holdfast_server.console.visit import Paths, Visit

_ROWS = 100


async def show(visit: Visit) -> Response:
    """Show the page, or go to the namespace that its form names."""
    if visit.query("namespace"):
        return visit.redirect(links.namespace(visit.query("namespace")))
    place, prefix = Place.of(visit), visit.query("prefix")
    try:
        page = await visit.client.namespaces_page(prefix, page_size=_ROWS, page_token=place.token)
    except UnimplementedError:
        # An older server. A name can be entered.
        return visit.render("namespaces.html", is_listed=False, prefix="", names=(), pager=None)
    pager = place.pager(links.NAMESPACES, {"prefix": prefix}, page.next_page_token)
    return visit.render("namespaces.html", is_listed=True, prefix=prefix, names=page.items, pager=pager)


PATHS: Paths = {"GET /": show}
