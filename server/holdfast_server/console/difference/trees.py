"""The difference between two trees: which values were added, removed or changed, each with its path.

Items of two lists are aligned by their common beginning and end. Those between are compared one by one, in order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from holdfast_server.console.difference.ends import common_ends
from holdfast_server.console.preview.brief import brief
from holdfast_server.console.preview.tree import LIST, OBJECT, TEXT, Node

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
MAX_CHANGES = 200
# Characters of a value that a change shows, and those before the first difference of two texts.
_SHOWN = 240
_CONTEXT = 40


@dataclass(frozen=True, slots=True)
class Change:
    """A value that differs.

    Attributes:
        kind: `ADDED`, `REMOVED` or `CHANGED`.
        path: where it is, such as `values.messages[3]`; "" for the whole payload.
        before: the older value, shortened; "" if it was added.
        after: the newer value, shortened; "" if it was removed.

    """

    kind: str
    path: str
    before: str
    after: str


def tree_changes(before: Node, after: Node, limit: int = MAX_CHANGES) -> tuple[Sequence[Change], bool]:
    """Return the first differences between two trees, and whether there are more."""
    found = list(islice(_changes("", before, after), limit + 1))
    return found[:limit], len(found) > limit


def _changes(path: str, before: Node, after: Node) -> Iterator[Change]:
    if before == after:
        return
    if not before.is_container or (before.kind, before.text) != (after.kind, after.text):
        yield _changed(path, before, after)
        return
    if before.kind == LIST:
        yield from _list_changes(path, before, after)
        return
    old, new = _by_key(before), _by_key(after)
    for (key, again), inner in old.items():
        inside = _inside(path, key, again, is_index=before.kind == OBJECT and key.startswith("["))
        if (key, again) not in new:
            yield Change(REMOVED, inside, brief(inner), "")
        else:
            yield from _changes(inside, inner, new[key, again])
    for (key, again), inner in new.items():
        if (key, again) not in old:
            yield Change(ADDED, _inside(path, key, again, is_index=False), "", brief(inner))


def _by_key(node: Node) -> dict[tuple[str, int], Node]:
    """Return the values of a map by their keys, each with how often the key has come before: a map may repeat one."""
    found: dict[tuple[str, int], Node] = {}
    counts: dict[str, int] = {}
    for key, inner in node.children:
        again = counts.get(key, 0)
        counts[key] = again + 1
        found[key, again] = inner
    return found


def _inside(path: str, key: str, again: int, *, is_index: bool) -> str:
    inside = step(path, key, is_index=is_index)
    return f"{inside} (number {again + 1} of this key)" if again else inside


def _list_changes(path: str, before: Node, after: Node) -> Iterator[Change]:
    old, new = [node for _, node in before.children], [node for _, node in after.children]
    start, end = common_ends(old, new)
    old_middle, new_middle = old[start : len(old) - end], new[start : len(new) - end]
    both = min(len(old_middle), len(new_middle))
    for index in range(both):
        yield from _changes(f"{path}[{start + index}]", old_middle[index], new_middle[index])
    for index in range(both, len(old_middle)):
        yield Change(REMOVED, f"{path}[{start + index}]", brief(old_middle[index]), "")
    for index in range(both, len(new_middle)):
        yield Change(ADDED, f"{path}[{start + index}]", "", brief(new_middle[index]))


def _changed(path: str, before: Node, after: Node) -> Change:
    """Return a change of a value. Of two long texts it shows where they begin to differ."""
    if before.kind == after.kind == TEXT and max(len(before.text), len(after.text)) > _SHOWN:
        pairs = zip(before.text, after.text, strict=False)
        same = next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(before.text), len(after.text)))
        start = max(0, same - _CONTEXT)
        return Change(CHANGED, path, _stretch(before.text, start), _stretch(after.text, start))
    return Change(CHANGED, path, brief(before), brief(after))


def _stretch(text: str, start: int) -> str:
    shown = text[start : start + _SHOWN]
    return f"{'…' if start else ''}{shown}{'…' if start + _SHOWN < len(text) else ''}"


def step(path: str, key: str, *, is_index: bool) -> str:
    """Return the path of a value inside another one."""
    if is_index:
        return f"{path}{key}"
    if key.isidentifier():
        return f"{path}.{key}" if path else key
    return f"{path}[{key!r}]"
