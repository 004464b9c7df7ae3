# Generated from holdfast/adapters/langgraph/threads.py by tools/async_to_sync.py; do not edit.
"""Load, save, copy and delete the threads of LangGraph."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointNotFoundError,
    RevisionConflictError,
    of_reason,
)
from holdfast._sync import blocking
from holdfast.adapters.contention import Contention
from holdfast.adapters.langgraph import contents
from holdfast.adapters.langgraph.contents import ACCEPTED, FORMAT, NEEDS_PARENT
from holdfast.adapters.langgraph.names import Place, decoded, encoded, namespaces_prefix, place_of
from holdfast.adapters.langgraph.order import Order
from holdfast.adapters.langgraph.runs import Run
from holdfast.adapters.langgraph.sync.guard import Guard, require_not_deleted
from holdfast.adapters.langgraph.sync.lookups import MISSING, Lookups, deleted_head_of


class Threads:
    """The operations on threads and on single checkpoints."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._guard = Guard(lookups)
        self._client = lookups.client
        self._namespace = lookups.namespace
        self._runs = lookups.runs

    def get(self, place: Place, config: Any, checkpoint_id: str) -> Any:
        """Return a checkpoint, or the latest one if the id is ""; None if it does not exist. A run may begin from it.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        try:
            if checkpoint_id:
                loaded, order = self._lookups.load(place, checkpoint_id), None
            else:
                loaded, order = self._lookups.load_latest(place)
        except MISSING as error:
            run = Run() if checkpoint_id else Run(Order(), revision=0, deleted_head=deleted_head_of(error))
            self._runs.begin(config, place.workflow_id, run)
            return None
        run = Run(order, decoded(loaded.checkpoint_id), loaded.head_revision or None)
        self._runs.begin(config, place.workflow_id, run)
        return blocking.in_thread_if_large(contents.stored(loaded), contents.unpack, self._lookups.serde, place, loaded)

    def put(self, place: Place, config: Any, checkpoint: Any, metadata: Any) -> None:
        """Save a checkpoint.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.
            RevisionConflictError, WriterFencedError: ownership is exclusive, and another run has written since this one
                began.

        """
        packed = blocking.in_thread_if_large(
            (checkpoint, metadata), contents.pack, self._lookups.serde, place, config, checkpoint, metadata
        )
        workflow_id, checkpoint_id = place.workflow_id, checkpoint["id"]
        is_exclusive = self._lookups.is_exclusive
        run = self._run(place, config)
        # A run that began from an older checkpoint does not know the order, but knows the head.
        is_fork = run.order is None and run.revision is not None
        order = run.order or self._lookups.order(workflow_id)
        if not is_exclusive and not order.largest_id:
            order = self._guard.begin_namespace(place, config, run, order)
        contention = Contention()
        while True:
            labels = {**packed.labels, **order.with_id(checkpoint_id).labels}
            expected = run.revision if is_exclusive or is_fork else order.revision
            # The save commits only if nothing was saved since the largest id was known. A put of the same checkpoint
            # again, or of a smaller id, may replace one.
            is_new = expected is not None and checkpoint_id > order.largest_id
            try:
                saved = self._save(workflow_id, packed, labels, expected, run.epoch, fresh_id=is_new)
                break
            except RevisionConflictError as error:
                # Another writer has saved, perhaps a larger id, or has deleted the thread.
                self._guard.check_not_deleted(place, config, run)
                if is_exclusive:
                    raise
                contention.lost(error)
                is_fork = False
                order = self._lookups.order(workflow_id, int(error.metadata["head_revision"]))
        order = order.with_id(checkpoint_id, saved.revision)
        if order.largest_id != checkpoint_id and not order.is_pinned:
            order = self._pinned(workflow_id, order, run)
        self._runs.saved(run, workflow_id, order, checkpoint_id)

    def add(self, workflow_id: str, packed: contents.Contents, order: Order, *, fresh_id: bool) -> Order:
        """Save a checkpoint of another store, if nobody has saved since the order was known. Return the next order.

        Raises:
            RevisionConflictError: somebody has.

        """
        checkpoint_id = decoded(packed.checkpoint_id)
        labels = {**packed.labels, **order.with_id(checkpoint_id).labels}
        saved = self._save(workflow_id, packed, labels, order.revision, None, fresh_id=fresh_id)
        order = order.with_id(checkpoint_id, saved.revision)
        is_pinned = order.is_pinned or order.largest_id == checkpoint_id
        return order if is_pinned else self._pinned(workflow_id, order, Run())

    def put_writes(
        self, place: Place, config: Any, given: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        """Attach a task's writes to a checkpoint.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.
            RevisionConflictError, WriterFencedError: ownership is exclusive, and another run has written since this one
                began.

        """
        if not given:
            return
        run = self._run(place, config)
        pack = partial(contents.pack_writes, has_secret_names=self._client.encryption is not None)
        packed = blocking.in_thread_if_large((given,), pack, self._lookups.serde, given, task_id, task_path)
        attach = partial(
            self._client.attach,
            self._namespace,
            place.workflow_id,
            encoded(config["configurable"]["checkpoint_id"]),
            epoch=run.epoch,
        )
        if packed.chunks:
            attach(packed.chunks)
        attach(packed.final)

    def delete_thread(self, thread_id: str) -> None:
        """Delete all checkpoint namespaces of a thread.

        "" is deleted first. A namespace that a run begins concurrently is then either found by the deletion of the
        others, or notices that "" is deleted (`Guard.begin_namespace`).
        """
        workflow_id = Place(thread_id, "").workflow_id
        prefix, purge = namespaces_prefix(thread_id), self._lookups.purges
        self._runs.forget(workflow_id, prefix)
        with suppress(*MISSING):
            self._client.delete_workflow(self._namespace, workflow_id, purge=purge)
        self._client.delete_workflows(self._namespace, prefix, purge=purge)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs in all threads."""
        for run_id in run_ids:
            labels = {"run_id": contents.run_label(run_id)}
            self._client.delete_checkpoints(self._namespace, labels=labels, formats=ACCEPTED)

    def copy_thread(self, source_id: str, target_id: str) -> None:
        """Copy all checkpoints of a thread to a thread without checkpoints.

        Raises:
            RevisionConflictError: the target has checkpoints.

        """
        for place in self._lookups.places(target_id):
            if self._lookups.newest(place.workflow_id) is not None:
                raise of_reason("REVISION_CONFLICT", f"thread {target_id!r} has checkpoints")
        for place in self._lookups.places(source_id):
            target = place._replace(thread_id=target_id)
            if self._lookups.newest(place.workflow_id) is None:
                continue
            # A server cannot copy encrypted data, which is bound to its workflow.
            if self._client.encryption is None and place_of(target.workflow_id, place.part) == target:
                self._client.copy_workflow(self._namespace, place.workflow_id, target.workflow_id)
            else:
                self._copy_with_names(place, target)
            self._runs.forget(target.workflow_id)

    def prune(self, thread_id: str) -> None:
        """Delete all checkpoints of each namespace except the latest one and the ancestors that it needs."""
        for place in self._lookups.places(thread_id):
            newest = self._lookups.newest(place.workflow_id)
            if newest is None:
                continue
            order = Order.of(newest)
            if order.is_mixed:
                self._prune_mixed(place.workflow_id, order)
            else:
                self._client.prune(self._namespace, place.workflow_id, keep_last=1)

    def _run(self, place: Place, config: Any) -> Run:
        """Return the run that a write belongs to, after checking that it may write."""
        run = self._runs.of(config, place.workflow_id)
        require_not_deleted(place, run)
        if self._lookups.is_exclusive:
            self._guard.acquire(place, config, run)
        return run

    def _save(
        self,
        workflow_id: str,
        packed: contents.Contents,
        labels: Mapping[str, str],
        expected_revision: int | None,
        epoch: int | None,
        *,
        pinned: bool = False,
        fresh_id: bool = False,
    ) -> Checkpoint:
        options: Any = {
            "format": FORMAT,
            "checkpoint_id": packed.checkpoint_id,
            "parent_id": packed.parent_id,
            "labels": labels,
            "expected_revision": expected_revision,
            "epoch": epoch,
            "replace": True,
            "pinned": pinned,
            "fresh_id": fresh_id,
        }
        save = partial(self._client.save, self._namespace, workflow_id, packed.parts, **options)
        try:
            return save(needs_parent=packed.needs_parent)
        except (CheckpointDeletedError, CheckpointNotFoundError):
            # Its parent was deleted and cannot be restored.
            return save(needs_parent=False)

    def _pinned(self, workflow_id: str, order: Order, run: Run) -> Order:
        """Pin the checkpoint with the largest id, because retention spares only the newest one. Return the order.

        The checkpoint is saved again unchanged. A writer that saves concurrently either sees that it is not pinned yet,
        or saves a larger id.
        """
        try:
            loaded = self._client.load(
                self._namespace, workflow_id, encoded(order.largest_id), accepted_formats=ACCEPTED
            )
            pinned = replace(order, is_pinned=True)
            labels = {**loaded.info.labels, **pinned.labels}
            again = contents.Contents(
                loaded.checkpoint_id, loaded.info.parent_id, loaded.parts, labels, NEEDS_PARENT in labels
            )
            saved = self._save(workflow_id, again, labels, order.revision, run.epoch, pinned=True)
        except (*MISSING, CheckpointCorruptedError, RevisionConflictError):
            return order
        return replace(pinned, revision=saved.revision)

    def _prune_mixed(self, workflow_id: str, order: Order) -> None:
        """Prune as the server does, but keep the checkpoint with the largest id instead of the newest one."""
        found = {info.checkpoint_id: info for info in self._client.list(self._namespace, workflow_id, strict=True)}
        if not found:
            return
        kept = encoded(order.largest_id)
        if kept not in found:
            kept = max(found, key=decoded)
        stays = {kept}
        while kept in found and NEEDS_PARENT in found[kept].labels:
            kept = found[kept].parent_id
            if kept in stays:
                # Parents that form a circle need each other.
                break
            stays.add(kept)
        for checkpoint_id in found.keys() - stays:
            try:
                self._client.delete(self._namespace, workflow_id, checkpoint_id)
            except MISSING:
                continue

    def _copy_with_names(self, place: Place, target: Place) -> None:
        """Copy a namespace to one whose checkpoints contain other names of thread and namespace, or none."""
        listed = self._client.list(
            self._namespace, place.workflow_id, formats=ACCEPTED, ids_only=True, strict=True, page_size=1000
        )
        for checkpoint_id in [info.checkpoint_id for info in listed][::-1]:
            try:
                loaded = self._client.load(self._namespace, place.workflow_id, checkpoint_id, records=True)
            except MISSING:
                continue
            if loaded.records:
                self._client.attach(self._namespace, target.workflow_id, checkpoint_id, loaded.records)
            labels = loaded.info.labels
            named = {} if target.part is None else {contents.PLACE: target.part}
            parts = {name: data for name, data in loaded.parts.items() if name != contents.PLACE} | named
            copied = contents.Contents(checkpoint_id, loaded.info.parent_id, parts, labels, NEEDS_PARENT in labels)
            self._save(target.workflow_id, copied, labels, None, None, pinned=loaded.info.pinned)
