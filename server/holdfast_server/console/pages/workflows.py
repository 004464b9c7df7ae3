"""The page of a namespace: its workflows, a page at a time, with a search by prefix."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast import WorkflowInfo
from starlette.responses import Response

from holdfast_server.console import links
from holdfast_server.console.visit import Paths, Visit

_ROWS = 50
# Characters of the tokens of earlier pages, with which a page leads back to them. A URL has no room for all.
_BACK_CHARACTERS = 4000


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


@dataclass(frozen=True, slots=True)
class Pager:
    """The links of one page of a list to others; "" for none."""

    first: str
    previous: str
    next: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is in its list.

    Attributes:
        tokens: the tokens of the pages before it, as far as they are known, and its own. Empty on the first page.

    """

    tokens: Sequence[str]

    @classmethod
    def of(cls, visit: Visit) -> "Place":
        """Return the place that a request names."""
        return cls(tuple(each for each in visit.request.query_params.getlist("t") if each))

    @property
    def token(self) -> str:
        """The token of the page; "" for the first one."""
        return self.tokens[-1] if self.tokens else ""

    def pager(self, path: str, query: dict[str, str], next_page_token: str) -> Pager:
        """Return the links to the pages around it.

        Args:
            path: the path of the list.
            query: what else its URL has.
            next_page_token: the token of the next page; "" on the last page.

        """

        def at(tokens: Sequence[str]) -> str:
            return links.with_query(path, {**query, "t": list(tokens)})

        return Pager(
            first=at(()) if len(self.tokens) > 1 else "",
            previous=at(self.tokens[:-1]) if self.tokens else "",
            next=at(_kept((*self.tokens, next_page_token))) if next_page_token else "",
        )


def _kept(tokens: Sequence[str]) -> Sequence[str]:
    """Return the newest tokens for which a URL has room, at least the last one."""
    left = _BACK_CHARACTERS - len(tokens[-1])
    first = len(tokens) - 1
    while first and len(tokens[first - 1]) <= left:
        first -= 1
        left -= len(tokens[first])
    return tokens[first:]


PATHS: Paths = {"GET /n/{namespace:name}": show}
