"""The runs to record and cut: a run of one server, or a run that stops anywhere and that another server continues."""

import copy
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.budget import amount
from tests.verification.crash import cuts, recovery
from tests.verification.crash.cuts import Tree
from tests.verification.crash.disk import Disk, File, Folder, Hearing
from tests.verification.crash.player import Note
from tests.verification.crash.record import Call, data, recorded, text
from tests.verification.crash.recovery import State
from tests.verification.crash.replay import SYNCS, Replay
from tests.verification.crash.scripts import NOTES

# The first bytes of SQLite's write-ahead log, for either order of bytes in its checksums.
LOG_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
# The share of one process.
_STATES_AT_ONCE = 32
_SCATTER = 50
# A store recovers from one of so many states.
_STRIDE = amount(small=4, full=1)
# A server stops after one of so many calls.
_STOPS_STRIDE = amount(small=3, full=1)


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
            # States near each other break the same promises: visit every part of the run soon.
            states = self._states_of(number)
            scattered = [state for start in range(_SCATTER) for state in states[start::_SCATTER]]
            yield from recovery.broken_in(scattered, notes, folder)

    def all_broken(self, processes: Executor, folder: Path) -> list[str]:
        """Recover from every state, or one of four with the small budget, in several processes.

        Returns:
            The broken promises.

        """
        tasks: list[Future[list[str]]] = []
        for number, notes in enumerate(self._runs):
            states = self._states_of(number)[number % _STRIDE :: _STRIDE]
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
        """Cut the power at any moment.

        A cut has every outcome of an earlier one that had the same durable tree, and more promises to keep. So it is
        enough to cut before each sync ends, before a deletion begins, which withdraws a promise, and at the end.
        """
        found = Cuts()
        replay, calls = self.replay(hearing)
        found.begin(replay.notes)
        for call in calls:
            if call.name in SYNCS or _begins_a_deletion(call):
                found.cut(replay.disk)
        found.cut(replay.disk)
        return found

    def resets_of_the_log(self) -> int:
        """Return how often the write-ahead log began again."""
        headers = (call for call in self.calls if call.name == "pwrite64" and call.arguments[2:] == ("32", "0"))
        return sum(data(call.arguments[1]).startswith(LOG_MAGIC) for call in headers)

    def with_early_notes(self) -> "Recording":
        """Return the run with the note of each checkpoint moved before the last sync."""
        calls: list[Call] = []
        last_sync = 0.0
        for call in self.calls:
            moved = call
            if call.name in SYNCS:
                last_sync = call.began
            if call.name == "write" and b'"held"' in data(call.arguments[1]):
                moved = replace(call, began=last_sync - 0.5, ended=last_sync - 0.5)
            calls.append(moved)
        return replace(self, calls=calls)


@dataclass(frozen=True)
class Surroundings:
    """The conditions under which a script is played.

    Attributes:
        faults: the faults that strace injects.
        is_alone: whether the store does everything in one thread.
        planted: the rule to break in the code, or "".

    """

    faults: Sequence[str] = ()
    is_alone: bool = False
    planted: str = ""

    def record(self, script: str, *folders: Path) -> list[Call]:
        """Play a script in existing folders. Return its calls."""
        program = [sys.executable, "-m", "tests.verification.crash.scripts", script, *map(str, folders)]
        program += ["--alone"] if self.is_alone else []
        program += ["--planted", self.planted] if self.planted else []
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

    With the small budget it stops after one of three calls.

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
        # The next sync comes after writes.
        if call.name in ("write", "pwrite64") or number % _STOPS_STRIDE:
            continue
        disk = copy.deepcopy(replay.disk)
        stops.append((disk, list(replay.notes), folder / str(number)))
        recovery.materialise(cuts.as_seen(disk), stops[-1][2])
    second = replace(under, is_alone=True).record(script, *(path for _, _, path in stops))
    found = Cuts()
    for (disk, notes, path), going_on in zip(stops, _by_play(second), strict=True):
        _outlive_process(disk.root)
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


def _begins_a_deletion(call: Call) -> bool:
    return call.name == "write" and b'"begins": "delete"' in data(call.arguments[1])


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


def _outlive_process(folder: Folder) -> None:
    """Let all changes outlive the process that made them: its moments come before those of the next record."""
    for change in folder.changes:
        change.outlive_process()
    for node in folder.now.values():
        if isinstance(node, Folder):
            _outlive_process(node)
        else:
            for edit in node.edits:
                edit.outlive_process()
