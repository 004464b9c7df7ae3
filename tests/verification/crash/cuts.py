"""The states that a power cut may leave on a disk: every combination of the outcomes that its syncs left open.

A question is whether a changed name was kept, or how much of an unsynced file. If there are too many combinations of
answers, the remaining ones are: everything kept, everything dropped, all that differ from one of these in one answer,
many that differ in two, and some at random. Whether changed permissions were kept is random.
"""

import itertools
import math
import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.verification.crash.disk import Disk, File, Folder, Node

_EXHAUSTIVE = 128
_BY_CHANCE = 32
_PAIRS = 40
# Objects here are never read, so they are kept or dropped together.
_UNREAD = ".tmp"

# Paths in order, each with its mode and its content, which is None for a folder.
Tree = tuple[tuple[str, int, bytes | None], ...]


@dataclass
class _Answer:
    """One or more outcomes: the nodes of names, and the contents of files."""

    names: dict[Folder, dict[str, Node | None]] = field(default_factory=dict)
    contents: dict[File, bytes] = field(default_factory=dict)

    def merge(self, other: "_Answer") -> None:
        for folder, names in other.names.items():
            self.names.setdefault(folder, {}).update(names)
        self.contents.update(other.contents)


# In the first outcome the change is lost, in the last it is kept.
_Question = list[_Answer]


def states(disk: Disk, seed: int = 0) -> Iterator[Tree]:
    """Yield the states that a power cut may leave, some of them more than once."""
    questions = _questions(disk)
    for answers in _combinations(questions, random.Random(seed)):
        merged = _Answer()
        for question, answer in zip(questions, answers, strict=True):
            merged.merge(question[answer])
        yield _with_modes_by_chance(list(_nodes(disk.root, merged)))


def as_seen(disk: Disk) -> Tree:
    """Return the tree that programs see before a cut."""
    merged = _Answer()
    for folder in _folders(disk.root):
        merged.names[folder] = {**dict.fromkeys(folder.kept), **folder.now}
        merged.contents.update({node: bytes(node.now) for node in folder.now.values() if isinstance(node, File)})
    return tuple((path, node.mode, content) for path, node, content in sorted(_nodes(disk.root, merged), key=_path))


def _questions(disk: Disk) -> list[_Question]:
    folders = list(_folders(disk.root))
    questions: list[_Question] = []
    unread: tuple[_Answer, _Answer] = _Answer(), _Answer()
    files: dict[File, None] = {}
    for folder in folders:
        is_unread = disk.root is not folder and any(
            name == _UNREAD and node is folder for above in folders for name, node in _meanings(above)
        )
        for name in dict.fromkeys(change.name for change in folder.changes):
            kept = folder.kept.get(name)
            became = [change.node for change in folder.changes if change.name == name]
            if is_unread:
                unread[0].names.setdefault(folder, {})[name] = kept
                unread[1].names.setdefault(folder, {})[name] = next(filter(None, reversed(became)), None)
            else:
                questions.append([_Answer({folder: {name: node}}) for node in dict.fromkeys([kept, *became])])
        for _, node in _meanings(folder):
            if isinstance(node, File) and node.is_dirty and not is_unread:
                files[node] = None
    questions += [[_Answer(contents={file: content}) for content in _contents(file)] for file in files]
    if unread[0].names:
        questions.append(list(unread))
    return questions


def _contents(file: File) -> list[bytes]:
    """Return the possible contents of an unsynced file: the old one, zeros, half of the new one, all of it."""
    now = bytes(file.now)
    torn = now[: (len(file.kept) + len(now)) // 2]
    zeros = file.kept + bytes(max(0, len(now) - len(file.kept)))
    return list(dict.fromkeys([file.kept, zeros, torn, torn + bytes(len(now) - len(torn)), now]))


def _meanings(folder: Folder) -> Iterator[tuple[str, Node]]:
    """Return the possible nodes of a folder's names after a cut."""
    yield from folder.kept.items()
    for change in folder.changes:
        if change.node is not None:
            yield change.name, change.node


def _folders(root: Folder) -> Iterator[Folder]:
    """Return all folders that may exist after a cut."""
    found = {root: None}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        yield folder
        for _, node in _meanings(folder):
            if isinstance(node, Folder) and node not in found:
                found[node] = None
                waiting.append(node)


def _combinations(questions: list[_Question], chance: random.Random) -> Iterator[tuple[int, ...]]:
    sizes = [len(question) for question in questions]
    if math.prod(sizes) <= _EXHAUSTIVE:
        yield from itertools.product(*map(range, sizes))
        return
    dropped, kept = (0,) * len(sizes), tuple(size - 1 for size in sizes)
    for base in (kept, dropped):
        yield base
        yield from _differing(base, sizes, itertools.combinations(range(len(sizes)), 1))
        pairs = list(itertools.combinations(range(len(sizes)), 2))
        yield from _differing(base, sizes, chance.sample(pairs, min(len(pairs), _PAIRS)))
    for _ in range(_BY_CHANCE):
        yield tuple(chance.randrange(size) for size in sizes)


def _differing(
    base: tuple[int, ...], sizes: list[int], several_places: Iterable[tuple[int, ...]]
) -> Iterator[tuple[int, ...]]:
    for places in several_places:
        for answers in itertools.product(*(range(sizes[place]) for place in places)):
            changed = list(base)
            for place, answer in zip(places, answers, strict=True):
                changed[place] = answer
            yield tuple(changed)


_Found = tuple[str, Node, bytes | None]


def _nodes(root: Folder, answer: _Answer) -> Iterator[_Found]:
    """Yield the paths that are left, with the contents of files."""
    waiting = [("", root)]
    while waiting:
        prefix, folder = waiting.pop()
        for name, node in (folder.kept | answer.names.get(folder, {})).items():
            if isinstance(node, Folder):
                yield prefix + name, node, None
                waiting.append((f"{prefix}{name}/", node))
            elif node is not None:
                yield prefix + name, node, answer.contents.get(node, node.kept)


def _with_modes_by_chance(found: list[_Found]) -> Tree:
    found.sort(key=_path)
    # Equal states get equal modes.
    seed = zlib.crc32(repr([_path(each) for each in found]).encode())
    return tuple(
        (path, node.mode if zlib.crc32(path.encode(), seed) & 1 else node.kept_mode, content)
        for path, node, content in found
    )


def _path(found: _Found) -> str:
    return found[0]
