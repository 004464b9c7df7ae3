"""The runs to record and cut: a run of one server, or a run that stops anywhere and that another server continues."""

import asyncio
import copy
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.stores.memory import MemoryStore

from tests.verification.crash import cuts, recovery
from tests.verification.crash.cuts import Tree
from tests.verification.crash.disk import Disk, File, Folder, Hearing
from tests.verification.crash.mounts import WITHOUT_PROC
from tests.verification.crash.player import GRACE_SECONDS, Note, Player, workflow
from tests.verification.crash.record import Call, data, recorded, text
from tests.verification.crash.recovery import State
from tests.verification.crash.replay import Replay
from tests.verification.crash.scripts import NOTES, STORE

# The last revision of a folder of the log.
_LAST_OF_FOLDER = 4095
# The share of one process.
_STATES_AT_ONCE = 32


@dataclass
class Cuts:
    """The distinct states that power cuts may leave in one or more runs, with the promises at those moments.

    Attributes:
        moments: the number of moments at which the power was cut.
        states: the number of states, including equal ones.

    """

    moments: int = 0
    states: int = 0
    _runs: list[list[Note]] = field(default_factory=list)
    _found: dict[Tree, dict[int, set[int]]] = field(default_factory=dict)

    @property
    def distinct(self) -> int:
        """The number of distinct states."""
        return len(self._found)

    def begin(self, notes: list[Note]) -> None:
        """Begin a run, which appends to these notes."""
        self._runs.append(notes)

    def cut(self, disk: Disk) -> None:
        """Cut the power now."""
        run, promised = len(self._runs) - 1, len(self._runs[-1])
        self.moments += 1
        for tree in cuts.states(disk, self.moments):
            self.states += 1
            self._found.setdefault(tree, {}).setdefault(run, set()).add(promised)

    def broken(self, folder: Path) -> Iterator[str]:
        """Recover from every state in a folder. Yield each broken promise as soon as it is found."""
        for number, notes in enumerate(self._runs):
            yield from recovery.broken_in(self._states_of(number), notes, folder)

    def all_broken(self, processes: Executor, folder: Path) -> list[str]:
        """Recover from every state in several processes. Return the broken promises."""
        tasks: list[Future[list[str]]] = []
        for number, notes in enumerate(self._runs):
            states = self._states_of(number)
            for start in range(0, len(states), _STATES_AT_ONCE):
                share = states[start : start + _STATES_AT_ONCE]
                tasks.append(processes.submit(_all_broken_in, share, notes, folder / str(len(tasks))))
        return [what for task in tasks for what in task.result()]

    def _states_of(self, run: int) -> list[State]:
        return [(tree, frozenset(runs[run])) for tree, runs in self._found.items() if run in runs]


def _all_broken_in(states: list[State], notes: Sequence[Note], folder: Path) -> list[str]:
    found = list(recovery.broken_in(states, notes, folder))
    shutil.rmtree(folder)
    return found


@dataclass(frozen=True)
class Before:
    """The durable tree of a folder before a recording, and the promises so far."""

    tree: Tree = ()
    notes: Sequence[Note] = ()


@dataclass(frozen=True)
class Recording:
    """A run: its folder, the tree before it, and its calls."""

    folder: Path
    before: Before
    calls: Sequence[Call]

    def replay(self, hearing: Hearing) -> tuple[Replay, Iterator[Call]]:
        """Replay the run on a model of its disk. Return the replay, and its calls one by one."""
        replay = Replay(Disk(_durable(self.before.tree), hearing), str(self.folder), NOTES)
        replay.notes.extend(self.before.notes)
        return replay, replay.play(self.calls)

    def cut_everywhere(self, hearing: Hearing = lambda sync: sync) -> Cuts:
        """Cut the power after every call that changes the disk."""
        found = Cuts()
        replay, calls = self.replay(hearing)
        found.begin(replay.notes)
        found.cut(replay.disk)
        for _ in calls:
            found.cut(replay.disk)
        return found

    def with_early_notes(self) -> "Recording":
        """Return the run with the note of each checkpoint moved before the call that names its file."""
        calls: list[Call] = []
        last_link = 0.0
        for call in self.calls:
            moved = call
            if call.name == "linkat":
                last_link = call.began
            if call.name == "write" and b'"held"' in data(call.arguments[1]):
                moved = replace(call, began=last_link - 0.5, ended=last_link - 0.5)
            calls.append(moved)
        return replace(self, calls=calls)


@dataclass(frozen=True)
class Surroundings:
    """The conditions under which a script is played.

    Attributes:
        faults: the faults that strace injects.
        has_proc: whether /proc is mounted. Without it, nameless files cannot be linked.
        is_alone: whether the store does everything in one thread.
        planted: the rule to break in the code, or "".

    """

    faults: Sequence[str] = ()
    has_proc: bool = True
    is_alone: bool = False
    planted: str = ""

    def record(self, script: str, *folders: Path) -> list[Call]:
        """Play a script in existing folders. Return its calls."""
        program = [sys.executable, "-m", "tests.verification.crash.scripts", script, *map(str, folders)]
        program += ["--alone"] if self.is_alone else []
        program += ["--planted", self.planted] if self.planted else []
        if not self.has_proc:
            program = [*WITHOUT_PROC, *program]
        return recorded(program, folders[0].with_suffix(".strace"), *self.faults)


PLAIN = Surroundings()


def record(script: str, folder: Path, under: Surroundings = PLAIN, before: Before | None = None) -> Recording:
    """Play a script in a new folder. Return the recording."""
    before = before or Before()
    recovery.materialise(before.tree, folder)
    return Recording(folder, before, under.record(script, folder))


def gone_on_from(
    first: Recording,
    script: str,
    folder: Path,
    under: Surroundings = PLAIN,
    hearing: Hearing = lambda sync: sync,
) -> Cuts:
    """Stop a first server after each of its calls, let another one continue, and cut the power at its notes.

    Args:
        first: the run of the first server.
        script: the script of the other one.
        folder: the folder for its stores.
        under: the conditions of the other one.
        hearing: the part of a sync that the disk honours.

    """
    replay, calls = first.replay(hearing)
    stops: list[tuple[Disk, list[Note], Path]] = []
    for number, call in enumerate(calls):
        if call.name == "write":
            continue  # invisible before the file has a name
        disk = copy.deepcopy(replay.disk)
        stops.append((disk, list(replay.notes), folder / str(number)))
        recovery.materialise(cuts.as_seen(disk), stops[-1][2])
    second = replace(under, is_alone=True).record(script, *(path for _, _, path in stops))
    found = Cuts()
    for (disk, notes, path), going_on in zip(stops, _by_play(second), strict=True):
        _let_calls_end(disk.root)
        replay = Replay(disk, str(path), NOTES)
        replay.notes.extend(notes)
        found.begin(replay.notes)
        count = len(notes)
        for _ in replay.play(going_on):
            is_promise = len(replay.notes) > count and "begins" not in replay.notes[-1]
            count = len(replay.notes)
            if is_promise:
                found.cut(disk)
    return found


def near_the_end_of_a_folder() -> Before:
    """Return a store whose workflow "w" has a log that enters its next folder after two more revisions."""

    async def made() -> tuple[dict[str, bytes], list[Note]]:
        store = MemoryStore()
        await open_layout(store, grace_seconds=GRACE_SECONDS)
        notes: list[Note] = []
        player = Player(store, notes.append)
        for number in range(_LAST_OF_FOLDER - 2):
            await player.save("w", f"old{number}")
        log = Log(store, grace_seconds=GRACE_SECONDS)
        for graces in (2, 4):
            await collect(log, workflow("w"), Retention(keep_last=1), time.time() + graces * GRACE_SECONDS)
        return {each.key: (await store.get(each.key)).data for each in await store.list("")}, notes[-2:]

    objects, notes = asyncio.run(made())
    paths = {f"{STORE}/{key}": content for key, content in objects.items()}
    folders = {path[:at] for path in paths for at in range(len(path)) if path[at] == "/"}
    tree = [(path, 0o755, None) for path in folders] + [(path, 0o644, content) for path, content in paths.items()]
    return Before(tuple(sorted(tree)), notes)


def _by_play(calls: Sequence[Call]) -> list[Sequence[Call]]:
    """Split the calls of a program that plays on several stores in turn. Each play begins by opening its notes."""
    starts = [at for at, call in enumerate(calls) if call.name == "openat" and text(call.arguments[1]).endswith(NOTES)]
    return [calls[start:end] for start, end in zip(starts, [*starts[1:], len(calls)], strict=True)]


def _durable(tree: Tree) -> Folder:
    root = Folder()
    folders = {"": root}
    for path, mode, content in tree:
        above, _, name = path.rpartition("/")
        node = Folder(mode, mode) if content is None else File(mode, mode, bytearray(content), content)
        if isinstance(node, Folder):
            folders[path] = node
        folders[above].now[name] = folders[above].kept[name] = node
    return root


def _let_calls_end(folder: Folder) -> None:
    """Mark all changes as ended: calls of a stopped process have ended before others continue."""
    for change in folder.changes:
        change.has_ended = True
    for node in folder.now.values():
        if isinstance(node, Folder):
            _let_calls_end(node)
