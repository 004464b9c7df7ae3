"""The runs of an engine that own their workflows. Each run knows the head that its next save requires.

A load begins a run in its caller's context (`contextvars`), which everything started from there inherits. A save from
another context belongs to the run that was begun last. So a load for display, in another task or thread, does not
change a run in progress.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from holdfast._core.errors import HoldfastError, of_reason

Ownership: TypeAlias = Literal["shared", "exclusive"]

# A thread of a pool begins one run after another in the same context, so only the newest are kept there.
_MAX_IN_CONTEXT = 32
_MAX_BEGUN = 65_536

_context: ContextVar[Mapping[tuple["Runs", str], "Run"]] = ContextVar("holdfast_runs")


class Run:
    """A run of a workflow.

    Attributes:
        began: the revision that it began from; 0 if the workflow had no checkpoint.
        head: the revision that its next save requires; None if unknown because the head was damaged.
        last_step: the number of the step that it saved last, for engines that number their steps; None if none.
        lock: held during a save of the run.

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
        """Begin a run of a workflow.

        Args:
            workflow_id: the workflow.
            head: the revision to begin from; 0 if the workflow has no checkpoint, None if the revision is unknown.

        """
        run = Run(head)
        here = {**_context.get(MappingProxyType({}))}
        here.pop((self, workflow_id), None)
        here[self, workflow_id] = run
        while len(here) > _MAX_IN_CONTEXT:
            del here[next(iter(here))]
        _context.set(MappingProxyType(here))
        with self._lock:
            self._begun[workflow_id] = run
            self._begun.move_to_end(workflow_id)
            while len(self._begun) > _MAX_BEGUN:
                self._begun.popitem(last=False)
        return run

    def of(self, workflow_id: str) -> Run | None:
        """Return the run that a save from this context belongs to; None if no run was begun."""
        if (run := _context.get(MappingProxyType({})).get((self, workflow_id))) is not None:
            return run
        with self._lock:
            return self._begun.get(workflow_id)


def checked_ownership(ownership: str) -> Ownership:
    """Return the ownership if it is a valid one.

    Raises:
        ValueError: it is neither "shared" nor "exclusive".

    """
    for valid in get_args(Ownership):
        if ownership == valid:
            found: Ownership = valid
            return found
    raise ValueError(f'ownership must be "shared" or "exclusive", not {ownership!r}')


def overtaken_error(workflow_id: str, began: int, revision: int) -> HoldfastError:
    """Return the error for a run whose workflow another run has saved to since it began.

    Args:
        workflow_id: the workflow.
        began: the revision that the run began from.
        revision: the revision that the other run saved.

    """
    return of_reason(
        "REVISION_CONFLICT",
        f"another run of workflow {workflow_id!r} has saved revision {revision} since this run began "
        f"from revision {began}",
        metadata={"expected_revision": str(began), "head_revision": str(revision)},
    )
