"""A replay of recorded system calls on the model of a disk.

A call takes effect when it begins, or as soon as it can before its end, since others may see it from then on. Its
caller knows of the effect, and a sync covers it, once the call has ended. An unknown call that touches a path below
the folder fails the replay.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.verification.crash.disk import Change, Descriptor, Disk, Edit, File, Folder, Node, Sync
from tests.verification.crash.record import Call, data, text

# Calls without a descriptor before each path, with the positions of their paths.
_TWINS = {
    "open": ("openat", (0,)),
    "mkdir": ("mkdirat", (0,)),
    "link": ("linkat", (0, 1)),
    "rename": ("renameat", (0, 1)),
    "unlink": ("unlinkat", (0,)),
    "rmdir": ("unlinkat", (0,)),
    "chmod": ("fchmodat", (0,)),
}
# Make the content of a file or the names of a folder durable.
SYNCS = ("fsync", "fdatasync")
_FORKS = ("clone", "clone3", "fork", "vfork")
# Only the effect of these on descriptors matters.
_OF_DESCRIPTORS = {"close", "dup", "dup2", "dup3", "fcntl", "execve", *_FORKS}


class Replay:
    """A replay of calls on a disk.

    Args:
        disk: the disk.
        path: the absolute path of the folder that it models.
        notes: the name of the file with notes in it, which is not a part of the disk.

    Attributes:
        disk: the disk.
        notes: the notes so far.

    """

    def __init__(self, disk: Disk, path: str, notes: str) -> None:
        self.disk = disk
        self.notes: list[dict[str, Any]] = []
        self._path = path
        self._notes_path = f"{path}/{notes}"
        self._notes_file = File(0, 0)
        # Threads of a process share a table of descriptors. A process begins with a copy of its parent's table.
        self._tables: dict[int, dict[int, Descriptor]] = {}
        self._parents: dict[int, tuple[int, bool]] = {}
        self._changes: dict[float, list[Change] | list[Edit]] = {}
        self._syncs: dict[float, Sync] = {}
        self._late: set[float] = set()

    def play(self, calls: Sequence[Call]) -> Iterator[Call]:
        """Play calls. Yield each call that changes the disk, syncs or writes a note.

        A call that may succeed in a sync, or that writes a note, is yielded before its effect: until then the disk had
        the most that a cut could lose. Any other one is yielded after its effect.
        """
        for call in calls:
            if call.name in _FORKS and call.result:
                self._parents[call.result] = call.thread, any("CLONE_FILES" in each for each in call.arguments)
        moments = [(call.began, 0, call) for call in calls] + [(call.ended, 1, call) for call in calls]
        for _, is_end, original in sorted(moments, key=lambda moment: moment[:2]):
            call = _twin(original)
            if call.began in self._syncs if is_end else self._is_note(call):
                yield original
                (self._end if is_end else self._begin)(call)
            elif (self._end if is_end else self._begin)(call):
                yield original

    def _begin(self, call: Call) -> bool:
        if call.name in SYNCS:
            opened = self._opened(call, 0)
            if opened is not None:
                self._syncs[call.began] = self.disk.begin_sync(opened)
            return False
        if call.name == "close":
            # Another thread may get the same number before this call returns.
            self._table(call.thread).pop(int(call.arguments[0]), None)
        if call.error or call.name in _OF_DESCRIPTORS:
            return False
        if self._is_to_come(call):
            self._late.add(call.began)
            return False
        return self._perform(call)

    def _is_note(self, call: Call) -> bool:
        opened = self._opened(call, 0) if call.name == "write" else None
        return opened is not None and opened.node is self._notes_file

    def _perform(self, call: Call) -> bool:
        perform: Callable[[Call], list[Change] | list[Edit] | None] = getattr(self, f"_{call.name}", self._unknown)
        changes = perform(call)
        if changes is None:
            return False
        assert call.result is not None, f"{call.name} was cut off, so its effect is unknown"
        self._changes[call.began] = changes
        return True

    def _end(self, call: Call) -> bool:
        sync = self._syncs.pop(call.began, None)
        if sync is not None and call.result is not None:
            if call.error:
                self.disk.fail_sync(sync, call.ended)
            else:
                self.disk.end_sync(sync)
            return True
        is_late = call.began in self._late
        if is_late:
            self._late.remove(call.began)
            self._perform(call)
        for change in self._changes.pop(call.began, ()):
            change.has_ended = True
        if not call.error and call.result is not None:
            self._end_of_descriptors(call, call.result)
        return is_late

    def _is_to_come(self, call: Call) -> bool:
        """Return whether a call that succeeds cannot have happened yet, because another one must come first."""
        if call.name == "unlinkat":
            place = self._place(call, 0)
            return place is not None and place[1] not in place[0].now
        if call.name in ("mkdirat", "linkat"):
            place = self._place(call, 2 if call.name == "linkat" else 0)
            return place is not None and place[1] in place[0].now
        return False

    # Descriptors.

    def _table(self, thread: int) -> dict[int, Descriptor]:
        if thread not in self._tables:
            parent, is_shared = self._parents.get(thread, (None, False))
            inherited = {} if parent is None else self._table(parent)
            self._tables[thread] = inherited if is_shared else dict(inherited)
        return self._tables[thread]

    def _opened(self, call: Call, at: int) -> Descriptor | None:
        argument = call.arguments[at]
        return self._table(call.thread).get(int(argument)) if argument.lstrip("-").isdigit() else None

    def _end_of_descriptors(self, call: Call, result: int) -> None:
        table = self._table(call.thread)
        match call.name:
            case "openat":
                self._end_openat(call, table, result)
            case "dup" | "dup2" | "dup3" | "fcntl":
                opened = self._opened(call, 0)
                if opened is not None and (call.name != "fcntl" or "F_DUPFD" in call.arguments[1]):
                    table[result] = opened
            case "execve":
                # The store opens no files for programs that it starts.
                self._tables[call.thread] = {}

    def _end_openat(self, call: Call, table: dict[int, Descriptor], result: int) -> None:
        flags = call.arguments[2]
        node = self._find(call, 0)
        if node is None:
            return
        assert "O_TRUNC" not in flags, "the model does not know truncation"
        table[result] = Descriptor(node, call.ended, appends="O_APPEND" in flags)

    # Names.

    def _path_of(self, call: Call, at: int) -> str | None:
        """Return the path in the folder that a descriptor and a path mean; None if it is outside."""
        path = text(call.arguments[at + 1])
        return path[len(self._path) + 1 :] if f"{path}/".startswith(f"{self._path}/") else None

    def _place(self, call: Call, at: int) -> tuple[Folder, str] | None:
        """Return the folder and the name that a descriptor and a path mean."""
        path = text(call.arguments[at + 1])
        opened = self._opened(call, at)
        below = self._path_of(call, at)
        node: Node | None
        if below is not None:
            node = self.disk.root
        elif opened is not None and not path.startswith("/"):
            node, below = opened.node, path
        else:
            return None
        *above, name = below.split("/")
        for step in above:
            if not isinstance(node, Folder):
                return None
            node = node.now.get(step)
        return (node, name) if isinstance(node, Folder) else None

    def _find(self, call: Call, at: int) -> Node | None:
        path = text(call.arguments[at + 1])
        if path == self._notes_path:
            return self._notes_file
        place = self._place(call, at)
        if place is None:
            return None
        folder, name = place
        return folder if name in ("", ".") else folder.now.get(name)

    def _openat(self, call: Call) -> list[Change] | None:
        place = self._place(call, 0)
        makes = "O_CREAT" in call.arguments[2]
        if place is None or not makes or self._find(call, 0) is not None:
            return None
        return [self.disk.change(*place, File(_mode(call, 3), _mode(call, 3)))]

    def _mkdirat(self, call: Call) -> list[Change] | None:
        place = self._place(call, 0)
        if place is None:
            return None
        return [self.disk.change(*place, Folder(_mode(call, 2), _mode(call, 2)))]

    def _linkat(self, call: Call) -> list[Change] | None:
        place = self._place(call, 2)
        if place is None:
            return None
        node = self._find(call, 0)
        assert isinstance(node, File)
        assert place[1] not in place[0].now, "a name was given twice"
        return [self.disk.change(*place, node)]

    def _renameat(self, call: Call) -> list[Change] | None:
        source, target = self._place(call, 0), self._place(call, 2)
        if source is None or target is None:
            return None
        node = source[0].now[source[1]]
        # Two changes: two folders need not keep both or neither.
        return [self.disk.change(*target, node), self.disk.change(*source, None)]

    _renameat2 = _renameat

    def _unlinkat(self, call: Call) -> list[Change] | None:
        place = self._place(call, 0)
        return None if place is None else [self.disk.change(*place, None)]

    # Content.

    def _write(self, call: Call) -> list[Edit] | None:
        opened = self._opened(call, 0)
        if opened is None or call.result is None:
            return None
        assert isinstance(opened.node, File)
        written = data(call.arguments[1])[: call.result]
        if opened.node is self._notes_file:
            self.notes.append(json.loads(written))
            return []
        if opened.appends:
            opened.position = len(opened.node.now)
        opened.position += len(written)
        return self.disk.write(opened.node, opened.position - len(written), written)

    def _pwrite64(self, call: Call) -> list[Edit] | None:
        opened = self._opened(call, 0)
        if opened is None or call.result is None:
            return None
        assert isinstance(opened.node, File)
        return self.disk.write(opened.node, int(call.arguments[3]), data(call.arguments[1])[: call.result])

    def _ftruncate(self, call: Call) -> list[Edit] | None:
        opened = self._opened(call, 0)
        if opened is None:
            return None
        assert isinstance(opened.node, File)
        return self.disk.end_at(opened.node, int(call.arguments[1]))

    def _fallocate(self, call: Call) -> list[Edit] | None:
        opened = self._opened(call, 0)
        if opened is None:
            return None
        assert isinstance(opened.node, File)
        assert call.arguments[1] == "0"
        return self.disk.end_at(opened.node, max(len(opened.node.now), int(call.arguments[2]) + int(call.arguments[3])))

    def _fchmod(self, call: Call) -> list[Change] | None:
        opened = self._opened(call, 0)
        if opened is None:
            return None
        opened.node.mode = _mode(call, 1)
        return []

    def _fchmodat(self, call: Call) -> list[Change] | None:
        node = self._find(call, 0)
        if node is None:
            return None
        node.mode = _mode(call, 2)
        return []

    def _unknown(self, call: Call) -> None:
        touched = any(self._opened(call, at) is not None for at in range(len(call.arguments)))
        paths = any(argument.startswith('"') and self._path in text(argument) for argument in call.arguments)
        assert not touched, f"the model does not know {call.name}"
        assert not paths, f"the model does not know {call.name}"


def _twin(call: Call) -> Call:
    if call.name not in _TWINS:
        return call
    name, paths = _TWINS[call.name]
    arguments: list[str] = []
    for index, argument in enumerate(call.arguments):
        arguments += ["AT_FDCWD", argument] if index in paths else [argument]
    return replace(call, name=name, arguments=tuple(arguments))


def _mode(call: Call, at: int) -> int:
    return int(call.arguments[at], 8)
