# Generated from holdfast/adapters/langgraph/threads.py by tools/async_to_sync.py; do not edit.
"""The threads of LangGraph in Holdfast: what the saver's methods come to in calls of the client."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from holdfast import _sync as runtime
from holdfast.adapters.langgraph import contents
from holdfast.adapters.langgraph.contents import ACCEPTED, FORMAT, NEEDS_PARENT
from holdfast.adapters.langgraph.known import Order
from holdfast.adapters.langgraph.names import Place, decoded, encoded, index_of, names_of
from holdfast.adapters.langgraph.sync.lists import Lists
from holdfast.adapters.langgraph.sync.lookups import MISSING
from holdfast.checkpoint import Checkpoint
from holdfast.errors import CheckpointDeletedError, CheckpointNotFoundError, RevisionConflictError, of_reason


class Threads(Lists):
    """What changes threads, and single checkpoints."""

    def get(self, place: Place, checkpoint_id: str) -> Any:
        """A checkpoint, or with "" the latest; None where it does not exist."""
        try:
            loaded = self.load(place, checkpoint_id)
        except MISSING:
            if not checkpoint_id:
                self.known.put(place.workflow_id, Order())
            return None
        return runtime.in_thread(contents.unpack, self.serde, place, loaded)

    def put(self, place: Place, config: Any, checkpoint: Any, metadata: Any) -> None:
        """Save a checkpoint."""
        packed = runtime.in_thread(contents.pack, self.serde, config, checkpoint, metadata)
        workflow_id, checkpoint_id = place.workflow_id, checkpoint["id"]
        order = self.known.get(workflow_id) or self.order(workflow_id)
        if not order.largest_id:
            self.introduce(place)
        while True:
            following = order.with_id(checkpoint_id)
            try:
                saved = self._save(workflow_id, packed, {**packed.labels, **following.labels}, order.revision)
                break
            except RevisionConflictError as error:
                # Somebody else was there, perhaps with a larger id.
                order = self.order(workflow_id, int(error.metadata["head_revision"]))
        self.known.put(workflow_id, order.with_id(checkpoint_id, saved.revision))

    def put_writes(
        self, place: Place, checkpoint_id: str, given: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        """Attach a task's writes to a checkpoint."""
        if not given:
            return
        packed = runtime.in_thread(contents.pack_writes, self.serde, given, task_id, task_path)
        workflow_id, name = place.workflow_id, encoded(checkpoint_id)
        if packed.chunks:
            self.client.attach(self.namespace, workflow_id, name, packed.chunks)
        self.client.attach(self.namespace, workflow_id, name, packed.heads)

    def delete_thread(self, thread_id: str) -> None:
        """Delete all that there is of a thread."""
        for place in self.places(thread_id):
            self._delete(place.workflow_id)
            names = names_of(place.workflow_id)
            if names is not None:
                self._delete(names)
        # Last, so that who goes on with a deletion that broke still finds the namespaces.
        self._delete(index_of(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, in every thread."""
        for run_id in run_ids:
            labels = {"run_id": contents.run_label(run_id)}
            self.client.delete_checkpoints(self.namespace, labels=labels, formats=ACCEPTED)

    def copy_thread(self, source_id: str, target_id: str) -> None:
        """Copy all that there is of a thread to one that has nothing.

        Raises:
            RevisionConflictError: it has something.

        """
        for place in self.places(target_id):
            if self.newest(place.workflow_id) is not None:
                raise of_reason("REVISION_CONFLICT", f"thread {target_id!r} has checkpoints")
        for place in self.places(source_id):
            target = place._replace(thread_id=target_id)
            if self.newest(place.workflow_id) is None:
                continue
            self.introduce(target)
            self.client.copy_workflow(self.namespace, place.workflow_id, target.workflow_id)
            self.known.forget(target.workflow_id)

    def prune(self, thread_id: str) -> None:
        """Delete all but the latest checkpoint of each namespace, and what it needs."""
        for place in self.places(thread_id):
            newest = self.newest(place.workflow_id)
            if newest is None:
                continue
            order = Order.of(newest)
            if order.is_mixed:
                self._prune_mixed(place.workflow_id, order)
            else:
                self.client.prune(self.namespace, place.workflow_id, keep_last=1)

    def _save(
        self, workflow_id: str, packed: contents.Contents, labels: Mapping[str, str], expected_revision: int
    ) -> Checkpoint:
        options: Any = {
            "format": FORMAT,
            "checkpoint_id": packed.checkpoint_id,
            "parent_id": packed.parent_id,
            "labels": labels,
            "expected_revision": expected_revision,
            "replace": True,
        }
        save = partial(self.client.save, self.namespace, workflow_id, packed.parts, **options)
        try:
            return save(needs_parent=packed.needs_parent)
        except (CheckpointDeletedError, CheckpointNotFoundError):
            # Its parent was deleted, which nothing can bring back.
            return save(needs_parent=False)

    def _prune_mixed(self, workflow_id: str, order: Order) -> None:
        """As the server prunes, but for the order of ids."""
        found = {each.checkpoint_id: each for each in self.client.list(self.namespace, workflow_id, strict=True)}
        kept = encoded(order.largest_id)
        if kept not in found:
            kept = max(found, key=decoded)
        stays = {kept}
        while kept in found and NEEDS_PARENT in found[kept].labels:
            kept = found[kept].parent_id
            stays.add(kept)
        for checkpoint_id in found.keys() - stays:
            try:
                self.client.delete(self.namespace, workflow_id, checkpoint_id)
            except MISSING:
                continue

    def _delete(self, workflow_id: str) -> None:
        self.known.forget(workflow_id)
        try:
            self.client.delete_workflow(self.namespace, workflow_id)
        except MISSING:
            return
