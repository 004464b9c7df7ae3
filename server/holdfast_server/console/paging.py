"""Pages of a list: where one is, and the links to those around it.

The API leads forward only. A page's URL has the tokens of the pages before it, so that it can lead back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast_server.console import links
from holdfast_server.console.visit import Exchange

# Characters of the tokens of earlier pages. A URL has no room for all.
_BACK_CHARACTERS = 4000
# In place of the tokens that were left out.
_CUT = "-"


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
        tokens: the tokens of the pages before it and its own; empty on the first page. The oldest ones may be left out,
            with a dash in their place.

    """

    tokens: Sequence[str]

    @classmethod
    def of(cls, exchange: Exchange) -> "Place":
        """Return the place that a request names."""
        return cls(tuple(each for each in exchange.request.query_params.getlist("t") if each))

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
            previous=at(self.tokens[:-1]) if self.tokens and self.tokens[:-1] != (_CUT,) else "",
            next=at(_kept((*self.tokens, next_page_token))) if next_page_token else "",
        )


def _kept(tokens: Sequence[str]) -> Sequence[str]:
    """Return the newest tokens for which a URL has room, at least the last one."""
    left = _BACK_CHARACTERS - len(tokens[-1])
    first = len(tokens) - 1
    while first and len(tokens[first - 1]) <= left:
        first -= 1
        left -= len(tokens[first])
    return (_CUT, *tokens[first:]) if first else tokens
