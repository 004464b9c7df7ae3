"""The first page: the namespaces that the caller may see."""

from starlette.responses import Response

from holdfast_server.console import links
from holdfast_server.console.visit import Paths, Visit


async def show(visit: Visit) -> Response:
    """Show the page, or go to the namespace that its form names."""
    if visit.query("namespace"):
        return visit.redirect(links.namespace(visit.query("namespace")))
    await visit.client.capabilities()
    return visit.render("namespaces.html")


PATHS: Paths = {"GET /": show}
