# Generated from holdfast/adapters/langgraph/guard.py by tools/async_to_sync.py; do not edit.
"""Refuse the writes of runs that have ended: their thread was deleted, or another run has overtaken them."""

from dataclasses import replace
from typing import Any

from holdfast._core.errors import RevisionConflictError, of_reason
from holdfast.adapters.langgraph.names import Place
from holdfast.adapters.langgraph.order import Order
from holdfast.adapters.langgraph.runs import Run
from holdfast.adapters.langgraph.sync.lookups import Lookups


class Guard:
    """Checks of the runs that write to the threads of a namespace."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    def acquire(self, place: Place, config: Any, run: Run) -> None:
        """Acquire a workflow for a run at its first write, if what the run began from is still the newest.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.
            RevisionConflictError: another run has saved to the workflow or acquired it since.

        """
        if run.epoch is not None:
            return
        try:
            writer = self._lookups.client.acquire_writer(
                self._lookups.namespace, place.workflow_id, expected_revision=run.revision, request_id=run.request_id
            )
        except RevisionConflictError:
            self.check_not_deleted(place, config, run)
            raise
        if place.checkpoint_ns:
            self.check_not_deleted(place, config, run)
        # Another task of the run may have saved concurrently.
        run.epoch, run.revision = writer.epoch, max(run.revision or 0, writer.revision)

    def begin_namespace(self, place: Place, config: Any, run: Run, order: Order) -> Order:
        """Begin the log of a checkpoint namespace without checkpoints, and return its order.

        A deletion of the thread skips a workflow without a log, so the first save would not notice it. Therefore the
        log is begun, by a fence, before "" is looked up. If "" is not deleted by then, a deletion comes to this log
        later, and the save conflicts with it.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.

        """
        if not (place.checkpoint_ns and _root_id(config)):
            return order
        writer = self._lookups.client.acquire_writer(self._lookups.namespace, place.workflow_id)
        self.check_not_deleted(place, config, run)
        return replace(order, revision=writer.revision)

    def check_not_deleted(self, place: Place, config: Any, run: Run) -> None:
        """Look up whether the workflow of a run, or that of "", was deleted since the run's last checkpoint.

        Raises:
            CheckpointDeletedError: one of them was.

        """
        lookups = self._lookups
        if run.checkpoint_id and lookups.was_deleted(place.workflow_id, run.checkpoint_id):
            run.is_deleted = True
        root = Place(place.thread_id, "").workflow_id
        checkpoint_id = self._saved_root_id(place, config)
        if checkpoint_id and not run.is_deleted:
            # A collection may have removed an older checkpoint while a newer one is on its way to the server.
            is_current = checkpoint_id == _root_id(config)
            run.is_deleted = lookups.was_deleted(root, checkpoint_id) and (is_current or lookups.newest(root) is None)
        elif place.checkpoint_ns and _root_id(config) and not run.is_deleted:
            # The first save of "" is on its way: it may have been committed and deleted already.
            began_after = lookups.runs.of(config, root).deleted_head
            run.is_deleted = lookups.deleted_head(root) > began_after
        require_not_deleted(place, run)

    def _saved_root_id(self, place: Place, config: Any) -> str:
        """Return the checkpoint of "" that a namespace runs for, or the last one known to be saved; "" if neither."""
        checkpoint_id = _root_id(config) if place.checkpoint_ns else ""
        root = Place(place.thread_id, "").workflow_id
        if not checkpoint_id or self._lookups.runs.has_existed(root, checkpoint_id):
            return checkpoint_id
        return self._lookups.runs.last_id(root)


def require_not_deleted(place: Place, run: Run) -> None:
    """Check that a run has not learned that its thread was deleted. No call is made.

    Raises:
        CheckpointDeletedError: it was.

    """
    if run.is_deleted:
        raise of_reason(
            "CHECKPOINT_DELETED",
            f"thread {place.thread_id!r:.200} was deleted since checkpoint {run.checkpoint_id!r:.200} was saved or "
            "loaded: this run has ended, a new run can begin",
        )


def _root_id(config: Any) -> str:
    """Return the checkpoint of "" that a call belongs to; "" if it names none."""
    return (config["configurable"].get("checkpoint_map") or {}).get("") or ""
