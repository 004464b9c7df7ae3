"""The runs of an engine that own their workflows: each knows the head that its next save requires.

A load begins a run, in the context (`contextvars`) of its caller and of all that is started from there. A save from
another context belongs to the run that was begun last. So a load for display, in another task or thread, changes
nothing for a run that is under way.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from holdfast.errors import HoldfastError, of_reason

Ownership: TypeAlias = Literal["shared", "exclusive"]

# A thread of a pool sees ever new runs; of those of its context only the newest are looked up there.
_IN_CONTEXT = 32
_IN_ALL = 65_536

_context: ContextVar[Mapping[tuple["Runs", str], "Run"]] = ContextVar("holdfast_runs")


class Run:
    """A run of a workflow.

    Attributes:
        began: the revision that it began from; 0 for none.
        head: the revision that its next save requires; None if unknown, because the head was damaged.
        lock: held while a save of it is under way.

    """

    __slots__ = ("__weakref__", "began", "head", "last_step", "lock")

    def __init__(self, head: int | None) -> None:
        self.began = head or 0
        self.head = head
        self.last_step: int | None = None
        self.lock = threading.Lock()


class Runs:
    """The runs that one adapter object has begun."""

    def __init__(self) -> None:
        self._begun: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, workflow_id: str, head: int | None) -> Run:
        """Begin a run of a workflow from a head; 0 if the workflow has no checkpoint."""
        run = Run(head)
        here = {**_context.get(MappingProxyType({}))}
        here.pop((self, workflow_id), None)
        here[self, workflow_id] = run
        while len(here) > _IN_CONTEXT:
            del here[next(iter(here))]
        _context.set(MappingProxyType(here))
        with self._lock:
            self._begun[workflow_id] = run
            self._begun.move_to_end(workflow_id)
            while len(self._begun) > _IN_ALL:
                self._begun.popitem(last=False)
        return run

    def of(self, workflow_id: str) -> Run | None:
        """Return the run that a save from here belongs to; None if none was begun."""
        if (run := _context.get(MappingProxyType({})).get((self, workflow_id))) is not None:
            return run
        with self._lock:
            return self._begun.get(workflow_id)


def checked(ownership: str) -> Ownership:
    """Return the ownership that was asked for.

    Raises:
        ValueError: it is none.

    """
    for each in get_args(Ownership):
        if ownership == each:
            found: Ownership = each
            return found
    raise ValueError(f'ownership must be "shared" or "exclusive", not {ownership!r}')


def overtaken(workflow_id: str, began: int, revision: int) -> HoldfastError:
    """The error of a run whose workflow another run has saved to since it began."""
    return of_reason(
        "REVISION_CONFLICT",
        f"another run of workflow {workflow_id!r} has saved revision {revision} since this one began "
        f"from revision {began}",
        metadata={"expected_revision": str(began), "head_revision": str(revision)},
    )
