"""A model of a disk that may lose power: what programs have made of it, and which of that it must have kept.

As conservative as ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014): a program may count on
nothing but its own syncs. What was written to a file is kept, torn or dropped until the file is synced; a name that
came, went or changed in a folder is kept or dropped, independently of every other, until the folder is synced; and a
sync covers only what had ended before it began. A sync that failed has dropped what it should have written, and no
later one makes it durable (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020), though the disk
may have it all the same. Linux tells every descriptor that is open by then of a failure, once (errseq_t, since 4.13):
if one that was open is not told, there was nothing to be told of.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class File:
    """A file.

    Attributes:
        mode: its permissions as programs see them, and `kept_mode` as the disk has them for sure.
        now: its content as programs see it, and `kept` as the disk has it for sure.
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
    """A folder: its names as programs see them, those the disk has for sure, and what became of them since."""

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
        opened: since which moment it is open.
        position: where in the file the next bytes go.
        appends: whether they go to its end.

    """

    node: Node
    opened: float
    position: int = 0
    appends: bool = False


@dataclass(eq=False)
class Change:
    """What a name in a folder became: a file, a folder or nothing.

    Attributes:
        name: the name.
        node: what it stands for since.
        maker: the process that did it.
        has_ended: whether the call that did it has returned.
        failures: the syncs that should have covered it and failed: when, and by which descriptor.

    """

    name: str
    node: Node | None
    maker: int
    has_ended: bool = False
    failures: list[tuple[float, Descriptor]] = field(default_factory=list)

    def is_lost_on(self, descriptor: Descriptor) -> bool:
        """Whether a sync by a descriptor does nothing for it, and does not say so."""
        return any(descriptor is other or descriptor.opened > moment for moment, other in self.failures)


@dataclass(frozen=True)
class Sync:
    """What a sync covers, taken when it begins: all that a file holds, or the changes of a folder's names."""

    process: int
    descriptor: Descriptor
    content: bytes | None = None
    changes: tuple[Change, ...] = ()


# What a disk hears of a sync; something else than all of it is for checking the check.
Hearing = Callable[[Sync], Sync]


class Disk:
    """A tree of folders and files.

    Args:
        root: what is there, and durable, at the beginning.
        hearing: what it hears of a sync.

    """

    def __init__(self, root: Folder | None = None, hearing: Hearing = lambda sync: sync) -> None:
        self.root = root or Folder()
        self._hearing = hearing

    def change(self, process: int, folder: Folder, name: str, node: Node | None) -> Change:
        """Have a name come, go or change its meaning."""
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
        """What a sync that begins now will cover."""
        node = descriptor.node
        if isinstance(node, File):
            return Sync(process, descriptor, content=bytes(node.now))
        return Sync(process, descriptor, changes=tuple(each for each in node.changes if each.has_ended))

    def end_sync(self, sync: Sync) -> None:
        """A sync has succeeded."""
        sync = self._hearing(sync)
        node = sync.descriptor.node
        if isinstance(node, File):
            if not node.is_forsaken and sync.content is not None:
                node.kept, node.is_dirty = sync.content, sync.content != node.now
            return
        able = [each for each in sync.changes if each in node.changes and not each.is_lost_on(sync.descriptor)]
        # The last change of a name is durable, and what came before it is history.
        for name, change in {each.name: each for each in able}.items():
            if change.node is None:
                node.kept.pop(name, None)
            else:
                node.kept[name] = change.node
            position = node.changes.index(change) + 1
            node.changes[:position] = [each for each in node.changes[:position] if each.name != name]

    def fail_sync(self, sync: Sync, moment: float) -> None:
        """A sync has failed."""
        if isinstance(sync.descriptor.node, File):
            sync.descriptor.node.is_forsaken = True
        for change in sync.changes:
            change.failures.append((moment, sync.descriptor))
