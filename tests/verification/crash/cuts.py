"""The states that a power cut may leave on a disk: combinations of the outcomes that its syncs left open.

A question is whether a changed name was kept, or how much of an unsynced file. If there are too many combinations of
answers, the remaining ones are: everything kept, everything dropped, many that differ from one of these in one answer,
some that differ in two, and some at random. Random are whether changed permissions were kept, and the content of the
memory that SQLite's processes share, which is a file without meaning after a cut.
"""

import itertools
import math
import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.verification.crash.disk import Disk, Edit, File, Folder, Node, edited

_EXHAUSTIVE = 96
_SINGLE = 48
_PAIRS = 12
_BY_CHANCE = 12
_SUBSETS_OF_EDITS = 8
_SHARED_MEMORY = "-shm"

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
    chance = random.Random(seed)
    questions = _questions(disk, chance)
    for answers in _combinations(questions, chance):
        merged = _Answer()
        for question, answer in zip(questions, answers, strict=True):
            merged.merge(question[answer])
        yield _by_chance(list(_nodes(disk.root, merged)))


def as_seen(disk: Disk) -> Tree:
    """Return the tree that programs see before a cut."""
    merged = _Answer()
    for folder in _folders(disk.root):
        merged.names[folder] = {**dict.fromkeys(folder.kept), **folder.now}
        merged.contents.update({node: bytes(node.now) for node in folder.now.values() if isinstance(node, File)})
    return tuple((path, node.mode, content) for path, node, content in sorted(_nodes(disk.root, merged), key=_path))


def _questions(disk: Disk, chance: random.Random) -> list[_Question]:
    questions: list[_Question] = []
    files: dict[File, None] = {}
    for folder in _folders(disk.root):
        for name in dict.fromkeys(change.name for change in folder.changes):
            if not name.endswith(_SHARED_MEMORY):
                became = [change.node for change in folder.changes if change.name == name]
                nodes = dict.fromkeys([folder.kept.get(name), *became])
                questions.append([_Answer({folder: {name: node}}) for node in nodes])
        for name, node in _meanings(folder):
            if isinstance(node, File) and node.edits and not name.endswith(_SHARED_MEMORY):
                files[node] = None
    questions += [[_Answer(contents={file: content}) for content in _contents(file, chance)] for file in files]
    return questions


def _contents(file: File, chance: random.Random) -> list[bytes]:
    """Return possible contents of an unsynced file, from the durable one to the one that programs see.

    They have the first edits up to any one, the last of these whole or torn, with zeros instead of the others or
    without; all edits but one; one alone; and some edits at random.
    """
    edits, size = file.edits, len(file.now)
    found = [file.kept, _padded(file.kept, size)]
    for _, group in itertools.groupby(range(len(edits)), lambda at: edits[at].call):
        *_, last = group
        for content in (edited(file.kept, [*edits[:last], _torn(edits[last])]), edited(file.kept, edits[: last + 1])):
            found += [content, _padded(content, size)]
    for at, edit in enumerate(edits):
        found.append(edited(file.kept, [*edits[:at], *edits[at + 1 :]]))
        found.append(edited(file.kept, [edit]))
    for _ in range(_SUBSETS_OF_EDITS):
        found.append(edited(file.kept, [_torn(each) for each in edits if chance.random() < 0.5]))
    now = edited(file.kept, edits)
    return [*(content for content in dict.fromkeys(found) if content != now), now]


def _torn(edit: Edit) -> Edit:
    if edit.data is None:
        return edit
    return Edit(edit.position, edit.data[: (len(edit.data) + 1) // 2], edit.call)


def _padded(content: bytes, size: int) -> bytes:
    return content + bytes(max(0, size - len(content)))


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
        ones = [(place, answer) for place, size in enumerate(sizes) for answer in range(size)]
        for change in chance.sample(ones, min(len(ones), _SINGLE)):
            yield _changed(base, [change])
        for _ in range(_PAIRS):
            yield _changed(base, chance.sample(ones, 2))
    for _ in range(_BY_CHANCE):
        yield tuple(chance.randrange(size) for size in sizes)


def _changed(base: tuple[int, ...], changes: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    changed = list(base)
    for place, answer in changes:
        changed[place] = answer
    return tuple(changed)


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


def _by_chance(found: list[_Found]) -> Tree:
    """Return a tree, with the outcomes of permissions and shared memory. Equal states get equal ones."""
    found.sort(key=_path)
    seed = zlib.crc32(repr([_path(each) for each in found]).encode())
    tree: list[tuple[str, int, bytes | None]] = []
    for path, node, content in found:
        number = zlib.crc32(path.encode(), seed)
        mode = node.mode if number & 1 else node.kept_mode
        if path.endswith(_SHARED_MEMORY) and isinstance(node, File):
            size = len(node.now)
            if number & 2:
                tree.append((path, mode, bytes(size) if number & 4 else random.Random(number).randbytes(size)))
        else:
            tree.append((path, mode, content))
    return tuple(tree)


def _path(found: _Found) -> str:
    return found[0]
