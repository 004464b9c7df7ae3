"""A pytest plugin: which process of xdist runs which tests, with `--dist loadgroup`.

A long test of `tests/verification` is a unit by itself, a module is one elsewhere: its fixtures are set up once. All
tests of an engine are one unit, and only one process collects them: an engine takes seconds to import, in the process
itself and in the one that forks its programs. Units with long tests come first, so that no process is left alone with
one at the end.

The scheduler of xdist 3.8 does not group with pytest 9.2, and expects the same tests in each process.
"""

import os
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import pytest
from xdist.scheduler import Scheduling
from xdist.workermanage import WorkerController

_SINGLE = "tests/verification/"
_ENGINES = "tests/integration/adapters/"
# A process begins with a test only if it knows the next one, to keep the fixtures that both use.
_LEAST_PENDING = 2
_SCHEDULER = pytest.StashKey["Scheduler"]()


def unit_of(nodeid: str) -> str:
    """Return the unit of a test: all of its tests run in one process, one after the other."""
    module = nodeid.partition("::")[0]
    if module.startswith(_SINGLE):
        return nodeid
    return _engine_of(module) or module


def _engine_of(path: str) -> str:
    """Return the folder of an engine, or "" if the path is not in one."""
    engine, in_folder, _ = path.removeprefix(_ENGINES).partition("/")
    return f"{_ENGINES}{engine}" if path.startswith(_ENGINES) and in_folder else ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> "Scheduler | None":
    """Take the place of the scheduler of xdist."""
    if config.getoption("dist") != "loadgroup":
        return None
    config.stash[_SCHEDULER] = Scheduler(len(config.getoption("tx")))
    return config.stash[_SCHEDULER]


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Count what all processes have collected together, where xdist counts what one of them has."""
    result = yield
    if _SCHEDULER in session.config.stash:
        session.testscollected = session.config.stash[_SCHEDULER].count
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the folder of an engine to the one process that runs its tests."""
    if not getattr(config.option, "loadgroup", False) or collection_path.parent != config.rootpath / _ENGINES:
        return None
    folders = sorted(each.name for each in collection_path.parent.iterdir() if (each / "__init__.py").exists())
    if collection_path.name not in folders:
        return None
    owner = folders.index(collection_path.name) % int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    return True if os.environ["PYTEST_XDIST_WORKER"] != f"gw{owner}" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the units of a process of xdist: those with the longest tests first, then those with the most tests."""
    if not getattr(config.option, "loadgroup", False):
        return
    longest: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for item in items:
        unit = unit_of(item.nodeid)
        longest[unit] = max(longest[unit], _timeout_of(item))
        count[unit] += 1
    items.sort(key=lambda item: (longest[unit_of(item.nodeid)], count[unit_of(item.nodeid)]), reverse=True)


def _timeout_of(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


class Scheduler(Scheduling):
    """Gives the processes of xdist units as they have time for them. Units that only some have collected come first.

    Args:
        processes: the number of processes.

    Attributes:
        count: the number of tests that are collected.

    """

    def __init__(self, processes: int) -> None:
        self.count = 0
        self._processes = processes
        self._collected: dict[WorkerController, list[str]] = {}
        self._indices: dict[WorkerController, dict[str, int]] = {}
        self._pending: dict[WorkerController, dict[str, None]] = {}
        self._units: dict[str, list[str]] = {}
        self._is_begun = False

    @property
    def nodes(self) -> list[WorkerController]:
        return list(self._pending)

    @property
    def collection_is_completed(self) -> bool:
        return len(self._collected) >= self._processes

    @property
    def has_pending(self) -> bool:
        return bool(self._units) or any(self._pending.values())

    @property
    def tests_finished(self) -> bool:
        few = all(len(pending) < _LEAST_PENDING for pending in self._pending.values())
        return self.collection_is_completed and not self._units and few

    def add_node(self, node: WorkerController) -> None:
        self._pending[node] = {}

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        self._collected[node] = list(collection)
        self._indices[node] = {nodeid: index for index, nodeid in enumerate(collection)}

    def schedule(self) -> None:
        """Make the units when each process has collected, and give them work."""
        if not self._is_begun:
            self._is_begun = True
            collections = self._collected.values()
            nodeids = dict.fromkeys(nodeid for collected in collections for nodeid in collected)
            self.count = len(nodeids)
            common = set.intersection(*map(set, collections))
            self._units = dict(sorted(_units(nodeids).items(), key=lambda unit: unit[1][0] in common))
        for node in self._collected.keys() & self._pending.keys():
            self._give(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        del self._pending[node][self._collected[node][item_index]]
        self._give(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Forget a process that has ended. Return the test that it ran, if it was killed in one."""
        crashed, *rest = self._pending.pop(node) or [None]
        self._units = _units(rest) | self._units
        return crashed

    def mark_test_pending(self, item: str) -> None:
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        raise NotImplementedError

    def _give(self, node: WorkerController) -> None:
        """Give a process the next units that it has collected, or have it end after its last test."""
        pending, indices = self._pending[node], self._indices[node]
        while len(pending) <= _LEAST_PENDING and not node.shutting_down:
            unit = next((unit for unit, nodeids in self._units.items() if nodeids[0] in indices), None)
            if unit is None:
                node.shutdown()
            else:
                nodeids = self._units.pop(unit)
                pending.update(dict.fromkeys(nodeids))
                node.send_runtest_some([indices[nodeid] for nodeid in nodeids])


def _units(nodeids: Iterable[str]) -> dict[str, list[str]]:
    units: dict[str, list[str]] = {}
    for nodeid in nodeids:
        units.setdefault(unit_of(nodeid), []).append(nodeid)
    return units
