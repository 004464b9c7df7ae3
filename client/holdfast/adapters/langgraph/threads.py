"""The threads of LangGraph in Holdfast: what the saver's methods come to in calls of the client."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from holdfast import _aio as runtime
from holdfast.adapters.langgraph import contents
from holdfast.adapters.langgraph.contents import ACCEPTED, FORMAT, NEEDS_PARENT
from holdfast.adapters.langgraph.known import Order
from holdfast.adapters.langgraph.lists import AsyncLists
from holdfast.adapters.langgraph.lookups import MISSING
from holdfast.adapters.langgraph.names import Place, decoded, encoded, index_of, names_of
from holdfast.checkpoint import Checkpoint
from holdfast.errors import CheckpointDeletedError, CheckpointNotFoundError, RevisionConflictError, of_reason


class AsyncThreads(AsyncLists):
    """What changes threads, and single checkpoints."""

    async def get(self, place: Place, checkpoint_id: str) -> Any:
        """A checkpoint, or with "" the latest; None where it does not exist."""
        try:
            loaded = await self.load(place, checkpoint_id)
        except MISSING:
            if not checkpoint_id:
                self.known.put(place.workflow_id, Order())
            return None
        return await runtime.in_thread(contents.unpack, self.serde, place, loaded)

    async def put(self, place: Place, config: Any, checkpoint: Any, metadata: Any) -> None:
        """Save a checkpoint."""
        packed = await runtime.in_thread(contents.pack, self.serde, config, checkpoint, metadata)
        workflow_id, checkpoint_id = place.workflow_id, checkpoint["id"]
        order = self.known.get(workflow_id) or await self.order(workflow_id)
        if not order.largest_id:
            await self.introduce(place)
        while True:
            following = order.with_id(checkpoint_id)
            try:
                saved = await self._save(workflow_id, packed, {**packed.labels, **following.labels}, order.revision)
                break
            except RevisionConflictError as error:
                # Somebody else was there, perhaps with a larger id.
                order = await self.order(workflow_id, int(error.metadata["head_revision"]))
        self.known.put(workflow_id, order.with_id(checkpoint_id, saved.revision))

    async def put_writes(
        self, place: Place, checkpoint_id: str, given: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        """Attach a task's writes to a checkpoint."""
        if not given:
            return
        packed = await runtime.in_thread(contents.pack_writes, self.serde, given, task_id, task_path)
        workflow_id, name = place.workflow_id, encoded(checkpoint_id)
        if packed.chunks:
            await self.client.attach(self.namespace, workflow_id, name, packed.chunks)
        await self.client.attach(self.namespace, workflow_id, name, packed.heads)

    async def delete_thread(self, thread_id: str) -> None:
        """Delete all that there is of a thread."""
        for place in await self.places(thread_id):
            await self._delete(place.workflow_id)
            names = names_of(place.workflow_id)
            if names is not None:
                await self._delete(names)
        # Last, so that who goes on with a deletion that broke still finds the namespaces.
        await self._delete(index_of(thread_id))

    async def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, in every thread."""
        for run_id in run_ids:
            labels = {"run_id": contents.run_label(run_id)}
            await self.client.delete_checkpoints(self.namespace, labels=labels, formats=ACCEPTED)

    async def copy_thread(self, source_id: str, target_id: str) -> None:
        """Copy all that there is of a thread to one that has nothing.

        Raises:
            RevisionConflictError: it has something.

        """
        for place in await self.places(target_id):
            if await self.newest(place.workflow_id) is not None:
                raise of_reason("REVISION_CONFLICT", f"thread {target_id!r} has checkpoints")
        for place in await self.places(source_id):
            target = place._replace(thread_id=target_id)
            if await self.newest(place.workflow_id) is None:
                continue
            await self.introduce(target)
            await self.client.copy_workflow(self.namespace, place.workflow_id, target.workflow_id)
            self.known.forget(target.workflow_id)

    async def prune(self, thread_id: str) -> None:
        """Delete all but the latest checkpoint of each namespace, and what it needs."""
        for place in await self.places(thread_id):
            newest = await self.newest(place.workflow_id)
            if newest is None:
                continue
            order = Order.of(newest)
            if order.is_mixed:
                await self._prune_mixed(place.workflow_id, order)
            else:
                await self.client.prune(self.namespace, place.workflow_id, keep_last=1)

    async def _save(
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
            return await save(needs_parent=packed.needs_parent)
        except (CheckpointDeletedError, CheckpointNotFoundError):
            # Its parent was deleted, which nothing can bring back.
            return await save(needs_parent=False)

    async def _prune_mixed(self, workflow_id: str, order: Order) -> None:
        """As the server prunes, but for the order of ids."""
        found = {each.checkpoint_id: each async for each in self.client.list(self.namespace, workflow_id, strict=True)}
        kept = encoded(order.largest_id)
        if kept not in found:
            kept = max(found, key=decoded)
        stays = {kept}
        while kept in found and NEEDS_PARENT in found[kept].labels:
            kept = found[kept].parent_id
            stays.add(kept)
        for checkpoint_id in found.keys() - stays:
            try:
                await self.client.delete(self.namespace, workflow_id, checkpoint_id)
            except MISSING:
                continue

    async def _delete(self, workflow_id: str) -> None:
        self.known.forget(workflow_id)
        try:
            await self.client.delete_workflow(self.namespace, workflow_id)
        except MISSING:
            return
