"""What a saver knows of the order of a workflow's checkpoints, and of the runs that it saves for.

LangGraph's latest checkpoint is the one with the largest id, Holdfast's newest is the one that was saved last. They are
the same while ids grow from save to save. A save whose id is not larger than those before it, and each save behind it,
is labelled with the largest id, so that who reads the newest learns where the latest is. That holds for any number of
writers, since each saves only right behind the revision up to which it knows the ids.

A run begins with a load. What it knows since then is its own, so that another run, also one in the same process, cannot
hide from it that its checkpoints were deleted, nor be taken for it where a workflow has one owner.
"""

from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from holdfast._core import request_ids
from holdfast._core.checkpoint import Checkpoint
from holdfast.adapters.langgraph.names import decoded, encoded

_LABEL = "largest"
# Of the same checkpoints: the one with the largest id is pinned, so that retention passes it over.
_PINNED = "largest_pinned"
_MOST = 10_000
# LangGraph puts an object of each running graph here, which is the same in all calls of its loop. Reads and updates of
# a state have none.
_RUNTIME = "__pregel_runtime"
_caller: ContextVar[int | None] = ContextVar("holdfast_langgraph_caller", default=None)
_callers = count()


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a workflow's checkpoints.

    Attributes:
        largest_id: the largest id; "" for none.
        is_mixed: whether the newest checkpoint may be another one.
        revision: as of when.
        is_pinned: whether the one with the largest id is kept from retention, if it is not the newest.

    """

    largest_id: str = ""
    is_mixed: bool = False
    revision: int = 0
    is_pinned: bool = False

    @classmethod
    def of(cls, newest: Checkpoint, revision: int = 0) -> "Order":
        """What the newest checkpoint tells, which is the newest up to its own revision or a later one."""
        revision = max(revision, newest.revision)
        if is_mixed(newest.labels):
            return cls(decoded(newest.labels[_LABEL]), True, revision, _PINNED in newest.labels)
        return cls(decoded(newest.checkpoint_id), False, revision)

    @property
    def labels(self) -> Mapping[str, str]:
        """What it adds to the labels of the checkpoint that is saved with it."""
        pinned = {_PINNED: "1"} if self.is_pinned else {}
        return {_LABEL: encoded(self.largest_id), **pinned} if self.is_mixed else {}

    def with_id(self, checkpoint_id: str, revision: int = 0) -> "Order":
        """The order once a checkpoint is saved, as some revision."""
        largest_id = max(self.largest_id, checkpoint_id)
        is_mixed = self.is_mixed or checkpoint_id < largest_id
        return Order(largest_id, is_mixed, revision, self.is_pinned and largest_id == self.largest_id)


def is_mixed(labels: Mapping[str, str]) -> bool:
    """Whether a checkpoint, or one before it, was saved out of the order of the ids."""
    return _LABEL in labels


@dataclass(slots=True)
class Run:
    """What a run knows of a workflow.

    Attributes:
        order: the order of its checkpoints; None if it has to be looked up.
        checkpoint_id: the checkpoint that it loaded or saved last; "" for none.
        revision: the head of the workflow's log when it began or saved last; None if that is not known.
        epoch: its epoch, once it has acquired the workflow.
        request_id: of the acquisition, the same for all tasks of the run: only one of them acquires.
        is_deleted: whether it has learned that its checkpoint was deleted under it.
        deleted_head: the head of the workflow's log when it began, if all was deleted before; else 0.

    """

    order: Order | None = None
    checkpoint_id: str = ""
    revision: int | None = None
    epoch: int | None = None
    request_id: str = field(default_factory=request_ids.new)
    is_deleted: bool = False
    deleted_head: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """The runs of the workflows that were used lately. What is forgotten costs a call."""

    _runs: "OrderedDict[tuple[object, str], Run]" = field(default_factory=OrderedDict)
    _existing: "OrderedDict[tuple[str, str], None]" = field(default_factory=OrderedDict)

    def run(self, config: Any, workflow_id: str) -> Run:
        """The run that a call belongs to. Calls of none share one for each workflow."""
        run = self._runs.get((_caller_of(config), workflow_id))
        if run is None:
            run = self._shared(workflow_id)
        return run

    def begin(self, config: Any, workflow_id: str, run: Run) -> None:
        """Note that a run has loaded the checkpoint that it begins from, or none."""
        if _runtime_of(config) is None:
            _caller.set(next(_callers))
        # Two objects: what one run learns must not change what another one began from.
        for caller in (_caller_of(config), None):
            before = self._runs.get((caller, workflow_id))
            order = run.order or (before.order if before and caller is None else None)
            begun = Run(order, run.checkpoint_id, run.revision, deleted_head=run.deleted_head)
            _keep(self._runs, (caller, workflow_id), begun)
        self._note(workflow_id, run.checkpoint_id)

    def saved(self, run: Run, workflow_id: str, order: Order, checkpoint_id: str) -> None:
        """Note that a run has saved a checkpoint."""
        shared = self._shared(workflow_id)
        if shared is not run:
            shared.epoch, shared.request_id = None, request_ids.new()
        for each in (run, shared):
            each.order, each.checkpoint_id, each.revision = order, checkpoint_id, order.revision
        self._note(workflow_id, checkpoint_id)

    def forget(self, workflow_id: str, namespaces: str = "") -> None:
        """Note that the caller deletes a workflow, and those that begin with a prefix. Other runs find it out."""
        for caller in (None, _caller.get()):
            # A copy, since threads add to it concurrently.
            for key in list(self._runs):
                is_named = key[1] == workflow_id or (namespaces and key[1].startswith(namespaces))
                if key[0] == caller and is_named:
                    self._runs.pop(key, None)

    def has_existed(self, workflow_id: str, checkpoint_id: str) -> bool:
        """Whether a checkpoint was loaded or saved lately."""
        return (workflow_id, checkpoint_id) in self._existing

    def last_id(self, workflow_id: str) -> str:
        """The checkpoint of a workflow that was loaded or saved last, by whichever run; "" for none."""
        return self._shared(workflow_id).checkpoint_id

    def _note(self, workflow_id: str, checkpoint_id: str) -> None:
        if checkpoint_id:
            _keep(self._existing, (workflow_id, checkpoint_id), None)

    def _shared(self, workflow_id: str) -> Run:
        found = self._runs.get((None, workflow_id))
        if found is None:
            found = Run()
            _keep(self._runs, (None, workflow_id), found)
        return found


def _runtime_of(config: Any) -> object:
    return config["configurable"].get(_RUNTIME)


def _caller_of(config: Any) -> object:
    """What tells a run from others: its runtime, which every run has loaded with before it saves, or its context."""
    runtime = _runtime_of(config)
    return _caller.get() if runtime is None else ("runtime", id(runtime))


def _keep(kept: "OrderedDict[Any, Any]", key: Any, value: object) -> None:
    """Enter something as the newest, and drop the oldest of too many."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > _MOST:
        kept.popitem(last=False)
