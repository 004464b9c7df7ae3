"""A value of a tree as one line of bounded length."""

from collections.abc import Iterator
from itertools import islice

from holdfast_server.console.preview.tree import LIST, TEXT, Node

_DEPTH = 4


def brief(node: Node, characters: int = 240) -> str:
    """Return a value as one line of bounded length."""
    text = "".join(islice(_brief(node, 0, characters), characters + 1))
    return text if len(text) <= characters else f"{text[:characters]}…"


def _brief(node: Node, depth: int, characters: int) -> Iterator[str]:
    """Yield the characters of a value."""
    if not node.is_container:
        yield from (f'"{node.text[:characters]}"' if node.kind == TEXT else node.shown) + ("…" if node.is_cut else "")
        return
    opening, closing = "[]" if node.kind == LIST else "{}"
    yield from node.text
    yield opening
    if depth >= _DEPTH and node.children:
        yield "…"
    else:
        for index, (label, child) in enumerate(node.children):
            yield from ", " if index else ""
            yield from "" if node.kind == LIST else f"{label[:characters]}: "
            yield from _brief(child, depth + 1, characters)
    yield closing
