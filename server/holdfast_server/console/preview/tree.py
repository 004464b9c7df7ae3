"""The tree of a decoded payload, and the limits within which it is built."""

from collections.abc import Iterator
from dataclasses import dataclass

# The most values that a tree has, and the most levels. Deeper values, and those after the last one, are left out.
MAX_NODES = 2_000
MAX_DEPTH = 100
# The most characters of one value that a page shows.
SHOWN_CHARACTERS = 2_000

MAP, LIST, OBJECT = "map", "list", "object"
TEXT, NUMBER, CONSTANT, BYTES, TIME = "text", "number", "constant", "bytes", "time"


@dataclass(frozen=True, slots=True)
class Node:
    """A value, or a container of values.

    Attributes:
        kind: one of the constants of this module.
        text: a scalar as text, bytes as hexadecimal digits; the type's name of an object.
        children: the values inside, each with its label: a key, or an index in brackets.
        is_cut: whether more follows inside that was left out.

    """

    kind: str
    text: str = ""
    children: tuple[tuple[str, "Node"], ...] = ()
    is_cut: bool = False

    @property
    def is_container(self) -> bool:
        """Whether it may have values inside."""
        return self.kind in (MAP, LIST, OBJECT)

    @property
    def shown(self) -> str:
        """Its text, cut to what a page shows."""
        if self.kind == BYTES:
            digits = self.text[:128]
            return " ".join(digits[start : start + 2] for start in range(0, len(digits), 2))
        return self.text[:SHOWN_CHARACTERS]

    @property
    def note(self) -> str:
        """What a reader must know beside the text: its size, or what was left out."""
        if self.is_container:
            count = f"{len(self.children)}{' or more' if self.is_cut else ''}"
            if self.kind == MAP:
                return f"{count} {'key' if count == '1' else 'keys'}"
            return f"{count} {'value' if count == '1' else 'values'}"
        if self.kind == BYTES:
            return f"{'at least ' if self.is_cut else ''}{len(self.text) // 2} bytes"
        if self.is_cut:
            return "cut"
        return f"{len(self.text)} characters" if len(self.text) > SHOWN_CHARACTERS else ""


@dataclass(frozen=True, slots=True)
class Row:
    """One step through a tree, for templates without recursion.

    Attributes:
        step: "open" and "close" for a container with values, "leaf" for any other value.
        label: its label; "" for the root.
        node: the value.
        depth: its level; 0 for the root.

    """

    step: str
    label: str
    node: Node
    depth: int


def rows(root: Node) -> Iterator[Row]:
    """Yield the rows of a tree, in the order of the document."""
    yield from _rows("", root, 0)


def _rows(label: str, node: Node, depth: int) -> Iterator[Row]:
    if not node.children:
        yield Row("leaf", label, node, depth)
        return
    yield Row("open", label, node, depth)
    for name, child in node.children:
        yield from _rows(name, child, depth + 1)
    yield Row("close", label, node, depth)


class Limits:
    """What is left of the limits of one tree.

    Attributes:
        cut: why the tree ends early; "" if it does not.

    """

    def __init__(self, max_nodes: int = MAX_NODES) -> None:
        self._left = max_nodes
        self._max_nodes = max_nodes
        self.cut = ""

    def admits(self, depth: int) -> bool:
        """Count a value. Return False, and set `cut`, if it is one too many."""
        if self.cut:
            return False
        if depth > MAX_DEPTH:
            self.cut = f"values nested deeper than {MAX_DEPTH} levels, and everything after them"
        elif self._left <= 0:
            self.cut = f"values after the first {self._max_nodes}"
        self._left -= 1
        return not self.cut
