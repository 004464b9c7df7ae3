"""What a saver remembers of the runs that it saves for.

A run begins with a load. What it learns from then on belongs to it alone. Another run, even in the same process, can
then neither hide from it that its checkpoints were deleted, nor be mistaken for it if a workflow has one owner.
"""

from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from holdfast._core import request_ids
from holdfast.adapters.langgraph.order import Order

_MAX_RUNS = 10_000
# LangGraph puts an object of each running graph here, the same one in all calls of that run. Reads and updates of a
# state have none.
_RUNTIME = "__pregel_runtime"
_caller: ContextVar[int | None] = ContextVar("holdfast_langgraph_caller", default=None)
_callers = count()


@dataclass(slots=True)
class Run:
    """What a run knows of a workflow.

    Attributes:
        order: the order of its checkpoints; None if it has to be looked up.
        checkpoint_id: the checkpoint that it loaded or saved last; "" if none.
        revision: the head of the log when the run began or saved last; None if unknown.
        epoch: its epoch, once it has acquired the workflow.
        request_id: the request id of the acquisition, the same for all tasks of the run, so that one of them acquires.
        is_deleted: whether it has learned that its checkpoint was deleted since it began.
        deleted_head: the head of the log when the run began, if the workflow was deleted before; otherwise 0.

    """

    order: Order | None = None
    checkpoint_id: str = ""
    revision: int | None = None
    epoch: int | None = None
    request_id: str = field(default_factory=request_ids.new)
    is_deleted: bool = False
    deleted_head: int = 0


@dataclass(frozen=True, slots=True)
class RecentRuns:
    """The runs of recently used workflows. A run that was dropped is looked up again, which costs a call."""

    _runs: "OrderedDict[tuple[object, str], Run]" = field(default_factory=OrderedDict)
    _existing: "OrderedDict[tuple[str, str], None]" = field(default_factory=OrderedDict)

    def of(self, config: Any, workflow_id: str) -> Run:
        """Return the run that a call belongs to. Calls outside of any run share one per workflow."""
        run = self._runs.get((_caller_of(config), workflow_id))
        if run is None:
            run = self._shared(workflow_id)
        return run

    def begin(self, config: Any, workflow_id: str, run: Run) -> None:
        """Record that a run has loaded the checkpoint that it begins from, or found none."""
        if _runtime_of(config) is None:
            _caller.set(next(_callers))
        # Two objects: what one run learns must not change what another one began from.
        for caller in (_caller_of(config), None):
            before = self._runs.get((caller, workflow_id))
            order = run.order or (before.order if before and caller is None else None)
            begun = Run(order, run.checkpoint_id, run.revision, deleted_head=run.deleted_head)
            _add(self._runs, (caller, workflow_id), begun)
        self._add_existing(workflow_id, run.checkpoint_id)

    def saved(self, run: Run, workflow_id: str, order: Order, checkpoint_id: str) -> None:
        """Record that a run has saved a checkpoint."""
        shared = self._shared(workflow_id)
        if shared is not run:
            shared.epoch, shared.request_id = None, request_ids.new()
        for changed in (run, shared):
            changed.order, changed.checkpoint_id, changed.revision = order, checkpoint_id, order.revision
        self._add_existing(workflow_id, checkpoint_id)

    def forget(self, workflow_id: str, prefix: str = "") -> None:
        """Forget what the caller knows of a workflow, and of those whose ids have a prefix, because it deletes them.

        Other runs find out when they save.
        """
        for caller in (None, _caller.get()):
            # A copy, since threads add to it concurrently.
            for key in list(self._runs):
                is_named = key[1] == workflow_id or (prefix and key[1].startswith(prefix))
                if key[0] == caller and is_named:
                    self._runs.pop(key, None)

    def has_existed(self, workflow_id: str, checkpoint_id: str) -> bool:
        """Return whether a checkpoint was loaded or saved recently."""
        return (workflow_id, checkpoint_id) in self._existing

    def last_id(self, workflow_id: str) -> str:
        """Return the checkpoint of a workflow that any run loaded or saved last; "" if none."""
        return self._shared(workflow_id).checkpoint_id

    def _add_existing(self, workflow_id: str, checkpoint_id: str) -> None:
        if checkpoint_id:
            _add(self._existing, (workflow_id, checkpoint_id), None)

    def _shared(self, workflow_id: str) -> Run:
        found = self._runs.get((None, workflow_id))
        if found is None:
            found = Run()
            _add(self._runs, (None, workflow_id), found)
        return found


def _runtime_of(config: Any) -> object:
    return config["configurable"].get(_RUNTIME)


def _caller_of(config: Any) -> object:
    """Return a value that identifies a run: its runtime, with which it has loaded before it saves, or its context."""
    runtime = _runtime_of(config)
    return _caller.get() if runtime is None else ("runtime", id(runtime))


def _add(kept: "OrderedDict[Any, Any]", key: Any, value: object) -> None:
    """Add an item as the newest, and drop the oldest beyond the limit."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > _MAX_RUNS:
        kept.popitem(last=False)
