# Generated from holdfast/adapters/langgraph/lookups.py by tools/async_to_sync.py; do not edit.
"""Find the threads of LangGraph in Holdfast: their checkpoint namespaces, and the latest checkpoint of each."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast._core.checkpoint import Checkpoint, LoadedCheckpoint
from holdfast._core.errors import CheckpointDeletedError, CheckpointNotFoundError, HoldfastError, WorkflowNotFoundError
from holdfast._sync.client import Client
from holdfast.adapters.langgraph.contents import ACCEPTED, PLACE
from holdfast.adapters.langgraph.names import Place, decoded, encoded, namespaces_prefix, place_of
from holdfast.adapters.langgraph.order import Order
from holdfast.adapters.langgraph.runs import RecentRuns

_log = logging.getLogger(__name__)

MISSING = (CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError)


def deleted_head_of(error: HoldfastError) -> int:
    """Return the head of a log without checkpoints, from the error of a load; 0 if the error names none."""
    return int(error.metadata.get("revision", 0)) if isinstance(error, CheckpointNotFoundError) else 0


@dataclass(frozen=True, slots=True)
class Lookups:
    """The threads of a namespace, and the settings of their saver.

    Attributes:
        client: an open client.
        namespace: the namespace.
        serde: the serializer.
        runs: the runs that the saver remembers.
        fallback: whether a damaged latest checkpoint is answered with an older one.
        is_exclusive: whether a run must own each workflow that it writes to.
        purges: whether deleting a thread removes its bytes at once.

    """

    client: Client
    namespace: str
    serde: Any
    runs: RecentRuns
    fallback: bool
    is_exclusive: bool
    purges: bool = False

    def load(self, place: Place, checkpoint_id: str) -> LoadedCheckpoint:
        """Load a checkpoint with its records; the latest one if the id is "".

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        if not checkpoint_id:
            return (self.load_latest(place))[0]
        return self._load(place, encoded(checkpoint_id), fallback=False)

    def load_latest(self, place: Place) -> tuple[LoadedCheckpoint, Order]:
        """Load the latest checkpoint with its records, and return the order as of the same revision.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        newest = latest = self._load(place, None, fallback=self.fallback)
        order = Order.of(newest.info, newest.head_revision)
        if order.largest_id != decoded(newest.checkpoint_id):
            try:
                latest = self._load(place, encoded(order.largest_id), fallback=self.fallback)
            except (CheckpointDeletedError, CheckpointNotFoundError):
                latest = self._load(place, self._largest(place.workflow_id), fallback=self.fallback)
        return latest, order

    def order(self, workflow_id: str, revision: int = 0) -> Order:
        """Return the current order of a workflow's checkpoints, at a revision that its log has reached."""
        newest = self.newest(workflow_id)
        return Order(revision=revision) if newest is None else Order.of(newest, revision)

    def newest(self, workflow_id: str) -> Checkpoint | None:
        """Return the checkpoint that was saved last; None if there is none."""
        try:
            for newest in self.client.list(self.namespace, workflow_id, strict=not self.fallback, page_size=1):
                return newest
        except WorkflowNotFoundError:
            pass
        return None

    def places(self, thread_id: str) -> Sequence[Place]:
        """Return the checkpoint namespaces of a thread that have checkpoints, after "", which may have none."""
        found = {Place(thread_id, "")}
        for workflow in self.client.list_workflows(self.namespace, prefix=namespaces_prefix(thread_id)):
            if workflow.checkpoint_revision:
                place = place_of(workflow.workflow_id) or self._stored_place(workflow.workflow_id)
                found |= {place} if place is not None else set()
        return sorted(found)

    def thread_ids(self) -> Iterator[str]:
        """Iterate over the threads of the namespace, each once."""
        found: set[str] = set()
        for workflow in self.client.list_workflows(self.namespace):
            if workflow.checkpoint_revision:
                place = place_of(workflow.workflow_id) or self._stored_place(workflow.workflow_id)
                if place is not None and place.thread_id not in found:
                    found.add(place.thread_id)
                    yield place.thread_id

    def exists(self, workflow_id: str, checkpoint_id: str) -> bool:
        """Return whether a checkpoint exists, damaged or not."""
        try:
            self._find(workflow_id, checkpoint_id)
        except MISSING:
            return False
        return True

    def was_deleted(self, workflow_id: str, checkpoint_id: str) -> bool:
        """Return whether a checkpoint that existed was deleted with its whole workflow, not by itself."""
        try:
            self._find(workflow_id, checkpoint_id)
        except CheckpointDeletedError:
            return False
        except (CheckpointNotFoundError, WorkflowNotFoundError):
            return True
        return False

    def deleted_head(self, workflow_id: str) -> int:
        """Return the head of the log of a deleted workflow; 0 if it has checkpoints, or never existed."""
        try:
            self.client.load(self.namespace, workflow_id, fallback=True)
        except MISSING as error:
            return deleted_head_of(error)
        return 0

    def _find(self, workflow_id: str, checkpoint_id: str) -> None:
        """Raise one of `MISSING` unless a checkpoint exists."""
        for _ in self.client.list(
            self.namespace, workflow_id, before=encoded(checkpoint_id), ids_only=True, page_size=1
        ):
            break

    def _stored_place(self, workflow_id: str) -> Place | None:
        """Return the place that the checkpoints of a workflow contain; None if the workflow was deleted."""
        try:
            loaded = self.client.load(self.namespace, workflow_id, accepted_formats=ACCEPTED, fallback=True)
        except MISSING:
            return None
        return place_of(workflow_id, loaded.parts.get(PLACE))

    def _load(self, place: Place, checkpoint_id: str | None, *, fallback: bool) -> LoadedCheckpoint:
        loaded = self.client.load(
            self.namespace,
            place.workflow_id,
            checkpoint_id,
            accepted_formats=ACCEPTED,
            fallback=fallback,
            records=True,
        )
        if loaded.fell_back:
            reasons = ", ".join(f"{each.checkpoint_id or each.revision}: {each.reason}" for each in loaded.skipped)
            _log.warning("thread %r: fell back to checkpoint %s (%s)", place.thread_id, loaded.checkpoint_id, reasons)
        return loaded

    def _largest(self, workflow_id: str) -> str:
        """Return the largest id of the remaining checkpoints, after the largest one was deleted."""
        largest = ""
        for info in self.client.list(
            self.namespace, workflow_id, formats=ACCEPTED, ids_only=True, strict=not self.fallback
        ):
            if decoded(info.checkpoint_id) >= decoded(largest):
                largest = info.checkpoint_id
        return largest
