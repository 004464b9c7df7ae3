"""A model of a disk that may lose power: what programs see, and what must survive.

As conservative as ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014): a program may count on
nothing but its own syncs. Until a file is synced, each change of its content is kept, torn or dropped, independently of
the others. Until a folder is synced, each name that came, went or changed in it is kept or dropped, likewise. A sync
covers only calls that had ended before it began. A failed sync has dropped the pages that it should have written, and
no later one makes them durable unless they are written again (Rebello et al., "Can Applications Recover from fsync
Failures?", ATC 2020), though the disk may have them all the same. Linux reports a failure once to every descriptor that
is open by then (errseq_t, since 4.13): if an open descriptor gets no error, no sync has failed since it was opened. An
injected error fails one descriptor alone. So a sync by another one that was open by then is believed if it succeeds.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

PAGE_BYTES = 4096


@dataclass(eq=False)
class Unsynced:
    """A change that is not durable yet.

    Attributes:
        has_ended: whether its system call has returned.
        failures: the failed syncs that should have covered it, each with its moment and descriptor.

    """

    has_ended: bool = field(default=False, kw_only=True)
    failures: list[tuple[float, "Descriptor"]] = field(default_factory=list, kw_only=True)

    def is_lost_on(self, descriptor: "Descriptor") -> bool:
        """Return whether a sync by a descriptor silently does not cover it."""
        return any(descriptor is other or descriptor.opened > moment for moment, other in self.failures)

    def outlive_process(self) -> None:
        """Note that the process has stopped: its calls have ended, and others open their descriptors after all that."""
        self.has_ended = True
        self.failures = [(-math.inf, other) for _, other in self.failures]


@dataclass(eq=False)
class Edit(Unsynced):
    """A change of a file's content.

    Attributes:
        position: where it begins.
        data: bytes within one page. None: the file ends at the position from now on.
        call: a number that the edits of one system call share.

    """

    position: int
    data: bytes | None
    call: int

    @property
    def page(self) -> int:
        return self.position // PAGE_BYTES

    def apply(self, content: bytearray) -> None:
        """Apply it to a content."""
        missing = self.position - len(content)
        if missing > 0:
            content.extend(bytes(missing))
        if self.data is None:
            del content[self.position :]
        else:
            content[self.position : self.position + len(self.data)] = self.data


def edited(content: bytes, edits: Iterable[Edit]) -> bytes:
    """Return a content with edits."""
    changed = bytearray(content)
    for edit in edits:
        edit.apply(changed)
    return bytes(changed)


@dataclass(eq=False)
class File:
    """A file.

    Attributes:
        mode: its permissions as programs see them; `kept_mode` is the durable value.
        now: its content as programs see it; `kept` is the durable value.
        edits: the changes since, in order.

    """

    mode: int
    kept_mode: int
    now: bytearray = field(default_factory=bytearray)
    kept: bytes = b""
    edits: list[Edit] = field(default_factory=list)


@dataclass(eq=False)
class Folder:
    """A folder: its names as programs see them, the durable names, and the changes since."""

    mode: int = 0o700
    kept_mode: int = 0o700
    now: dict[str, "Node"] = field(default_factory=dict)
    kept: dict[str, "Node"] = field(default_factory=dict)
    changes: list["Change"] = field(default_factory=list)


Node = File | Folder


@dataclass(eq=False)
class Descriptor:
    """An open file or folder.

    Attributes:
        node: the file or folder.
        opened: the moment when it was opened.
        position: the offset of the next write.
        appends: whether writes go to the end.

    """

    node: Node
    opened: float
    position: int = 0
    appends: bool = False


@dataclass(eq=False)
class Change(Unsynced):
    """A change of a name in a folder.

    Attributes:
        name: the name.
        node: the new file or folder, or None.

    """

    name: str
    node: Node | None


@dataclass(frozen=True)
class Sync:
    """The coverage of a sync, taken when it begins.

    Attributes:
        descriptor: what it syncs.
        content: the content of a file.
        edits: the changes of the content.
        changes: the changes of a folder's names.

    """

    descriptor: Descriptor
    content: bytes = b""
    edits: tuple[Edit, ...] = ()
    changes: tuple[Change, ...] = ()


# The part of a sync that a disk honours. Tests of the check itself honour less than all of it.
Hearing = Callable[[Sync], Sync]


class Disk:
    """A tree of folders and files.

    Args:
        root: the durable tree at the beginning.
        hearing: the part of a sync that it honours.

    """

    def __init__(self, root: Folder | None = None, hearing: Hearing = lambda sync: sync) -> None:
        self.root = root or Folder()
        self._hearing = hearing
        self._calls = 0

    def change(self, folder: Folder, name: str, node: Node | None) -> Change:
        """Add, remove or replace a name."""
        if node is None:
            del folder.now[name]
        else:
            folder.now[name] = node
        change = Change(name, node)
        folder.changes.append(change)
        return change

    def write(self, file: File, position: int, data: bytes) -> list[Edit]:
        """Write to a file. The pages may reach the disk one by one."""
        self._calls += 1
        edits: list[Edit] = []
        while data:
            end = PAGE_BYTES - position % PAGE_BYTES
            edits.append(Edit(position, data[:end], self._calls))
            position, data = position + end, data[end:]
        return self._edit(file, edits)

    def end_at(self, file: File, size: int) -> list[Edit]:
        """Cut a file off, or extend it by zeros."""
        self._calls += 1
        return self._edit(file, [Edit(size, None, self._calls)])

    def _edit(self, file: File, edits: list[Edit]) -> list[Edit]:
        for edit in edits:
            edit.apply(file.now)
        file.edits += edits
        return edits

    def begin_sync(self, descriptor: Descriptor) -> Sync:
        """Return the coverage of a sync that begins now."""
        node = descriptor.node
        if isinstance(node, File):
            return Sync(descriptor, bytes(node.now), tuple(each for each in node.edits if each.has_ended))
        return Sync(descriptor, changes=tuple(each for each in node.changes if each.has_ended))

    def end_sync(self, sync: Sync) -> None:
        """Apply a sync that has succeeded."""
        sync = self._hearing(sync)
        if isinstance(sync.descriptor.node, File):
            _end_sync_of_content(sync.descriptor.node, sync)
        else:
            _end_sync_of_names(sync.descriptor.node, sync)

    def fail_sync(self, sync: Sync, moment: float) -> None:
        """Note a sync that has failed."""
        for each in (*sync.edits, *sync.changes):
            each.failures.append((moment, sync.descriptor))


def _end_sync_of_content(file: File, sync: Sync) -> None:
    """Make the pages durable that were written since the last sync, whole: with what failed syncs left in them."""
    written = [each for each in sync.edits if not each.is_lost_on(sync.descriptor)]
    pages = {each.page for each in written if each.data is not None}
    content = bytearray(edited(file.kept, written))
    for page in pages:
        start = page * PAGE_BYTES
        written_out = sync.content[start : start + PAGE_BYTES]
        content[start : start + len(written_out)] = written_out
    durable = {*written, *(each for each in sync.edits if each.data is not None and each.page in pages)}
    file.kept = bytes(content)
    file.edits = [each for each in file.edits if each not in durable]


def _end_sync_of_names(folder: Folder, sync: Sync) -> None:
    able = [each for each in sync.changes if each in folder.changes and not each.is_lost_on(sync.descriptor)]
    # The last change of a name is durable. Earlier ones no longer matter.
    for name, change in {each.name: each for each in able}.items():
        if change.node is None:
            folder.kept.pop(name, None)
        else:
            folder.kept[name] = change.node
        position = folder.changes.index(change) + 1
        folder.changes[:position] = [each for each in folder.changes[:position] if each.name != name]
