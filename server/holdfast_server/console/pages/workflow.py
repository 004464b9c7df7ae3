"""The page of a workflow: its log as a timeline with the lineage beside it, its writers, and whether it can resume."""

from starlette.responses import Response

from holdfast_server.console import links
from holdfast_server.console.decoding import in_worker
from holdfast_server.console.paging import Place
from holdfast_server.console.timeline import read_timeline
from holdfast_server.console.visit import Paths, Visit

_PATH = "/n/{namespace:name}/w/{workflow:name}"


async def show(visit: Visit) -> Response:
    """Show a page of the log."""
    namespace, workflow_id = visit.name("namespace"), visit.name("workflow")
    place = Place.of(visit)
    timeline = await read_timeline(visit.client, namespace, workflow_id, place.token)
    head = visit.client.head(namespace, workflow_id)
    return await in_worker(
        visit.render,
        "workflow.html",
        namespace=namespace,
        workflow_id=workflow_id,
        timeline=timeline,
        is_first=not place.token,
        head=head,
        pager=place.pager(links.workflow(namespace, workflow_id), {}, timeline.next_page_token),
    )


async def news(visit: Visit) -> Response:
    """Say whether the log has grown since a page was made."""
    namespace, workflow_id = visit.name("namespace"), visit.name("workflow")
    after = visit.query("after")
    newer = 0
    if after.isdecimal() and len(after) < 19:
        page = await visit.client.log_page(namespace, workflow_id, after_revision=int(after), page_size=1)
        newer = page.items[0].revision - int(after) if page.items else 0
    return visit.render("workflow_news.html", namespace=namespace, workflow_id=workflow_id, newer=newer)


async def size(visit: Visit) -> Response:
    """Measure what the workflow takes in the store. It takes many requests if the log is long."""
    namespace, workflow_id = visit.name("namespace"), visit.name("workflow")
    measured = [each async for each in visit.client.usage(namespace, workflow_id)]
    return visit.render(
        "workflow_size.html" if visit.is_fragment else "workflow_detail.html",
        fragment="workflow_size.html",
        heading="Size",
        namespace=namespace,
        workflow_id=workflow_id,
        usage=measured[0],
    )


PATHS: Paths = {f"GET {_PATH}": show, f"GET {_PATH}/news": news, f"GET {_PATH}/size": size}
