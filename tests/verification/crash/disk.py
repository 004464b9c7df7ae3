"""A model of a disk that may lose power: what programs see, and what must survive.

As conservative as ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014): a program may count on
nothing but its own syncs. Until a file is synced, written bytes are kept, torn or dropped. Until a folder is synced,
each name that came, went or changed in it is kept or dropped, independently of the others. A sync covers only calls
that had ended before it began. A failed sync has dropped the data that it should have written, and no
later one makes it durable (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020), though the disk
may have it all the same. Linux reports a failure once to every descriptor that is open by then (errseq_t, since 4.13):
if an open descriptor gets no error, no sync has failed since it was opened.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class File:
    """A file.

    Attributes:
        mode: its permissions as programs see them; `kept_mode` is the durable value.
        now: its content as programs see it; `kept` is the durable value.
        is_dirty: whether the two differ.
        is_forsaken: whether a sync of it has failed.

    """

    mode: int
    kept_mode: int
    now: bytearray = field(default_factory=bytearray)
    kept: bytes = b""
    is_dirty: bool = False
    is_forsaken: bool = False


@dataclass(eq=False)
class Folder:
    """A folder: its names as programs see them, the durable names, and the changes since."""

    mode: int = 0o755
    kept_mode: int = 0o755
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
class Change:
    """A change of a name in a folder.

    Attributes:
        name: the name.
        node: the new file or folder, or None.
        maker: the process that changed it.
        has_ended: whether its system call has returned.
        failures: the failed syncs that should have covered it, each with its moment and descriptor.

    """

    name: str
    node: Node | None
    maker: int
    has_ended: bool = False
    failures: list[tuple[float, Descriptor]] = field(default_factory=list)

    def is_lost_on(self, descriptor: Descriptor) -> bool:
        """Return whether a sync by a descriptor silently does not cover it."""
        return any(descriptor is other or descriptor.opened > moment for moment, other in self.failures)


@dataclass(frozen=True)
class Sync:
    """The coverage of a sync, taken when it begins: the content of a file, or the changes of a folder's names."""

    process: int
    descriptor: Descriptor
    content: bytes | None = None
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

    def change(self, process: int, folder: Folder, name: str, node: Node | None) -> Change:
        """Add, remove or replace a name."""
        if node is None:
            del folder.now[name]
        else:
            folder.now[name] = node
        change = Change(name, node, process)
        folder.changes.append(change)
        return change

    def write(self, file: File, position: int, data: bytes) -> None:
        """Write to a file."""
        file.now[position : position + len(data)] = data
        file.is_dirty = True

    def begin_sync(self, process: int, descriptor: Descriptor) -> Sync:
        """Return the coverage of a sync that begins now."""
        node = descriptor.node
        if isinstance(node, File):
            return Sync(process, descriptor, content=bytes(node.now))
        return Sync(process, descriptor, changes=tuple(each for each in node.changes if each.has_ended))

    def end_sync(self, sync: Sync) -> None:
        """Apply a sync that has succeeded."""
        sync = self._hearing(sync)
        node = sync.descriptor.node
        if isinstance(node, File):
            if not node.is_forsaken and sync.content is not None:
                node.kept, node.is_dirty = sync.content, sync.content != node.now
            return
        able = [each for each in sync.changes if each in node.changes and not each.is_lost_on(sync.descriptor)]
        # The last change of a name is durable. Earlier ones no longer matter.
        for name, change in {each.name: each for each in able}.items():
            if change.node is None:
                node.kept.pop(name, None)
            else:
                node.kept[name] = change.node
            position = node.changes.index(change) + 1
            node.changes[:position] = [each for each in node.changes[:position] if each.name != name]

    def fail_sync(self, sync: Sync, moment: float) -> None:
        """Note a sync that has failed."""
        if isinstance(sync.descriptor.node, File):
            sync.descriptor.node.is_forsaken = True
        for change in sync.changes:
            change.failures.append((moment, sync.descriptor))
