"""The threads of LangGraph in Holdfast: what the saver's methods come to in calls of the client."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from holdfast._async import runtime
from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointNotFoundError,
    RevisionConflictError,
    of_reason,
)
from holdfast.adapters.langgraph import contents
from holdfast.adapters.langgraph.contents import ACCEPTED, FORMAT, NEEDS_PARENT
from holdfast.adapters.langgraph.known import Order, Run
from holdfast.adapters.langgraph.lists import AsyncLists
from holdfast.adapters.langgraph.lookups import MISSING, deleted_head_of
from holdfast.adapters.langgraph.names import Place, decoded, encoded, namespaces_of, place_of


class AsyncThreads(AsyncLists):
    """What changes threads, and single checkpoints."""

    async def get(self, place: Place, config: Any, checkpoint_id: str) -> Any:
        """A checkpoint, or with "" the latest; None where it does not exist. A run may begin from it."""
        try:
            if checkpoint_id:
                loaded, order = await self.load(place, checkpoint_id), None
            else:
                loaded, order = await self.load_latest(place)
        except MISSING as error:
            run = Run() if checkpoint_id else Run(Order(), revision=0, deleted_head=deleted_head_of(error))
            self.known.begin(config, place.workflow_id, run)
            return None
        run = Run(order, decoded(loaded.checkpoint_id), loaded.head_revision or None)
        self.known.begin(config, place.workflow_id, run)
        return await runtime.in_thread(contents.unpack, self.serde, place, loaded)

    async def put(self, place: Place, config: Any, checkpoint: Any, metadata: Any) -> None:
        """Save a checkpoint.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.
            RevisionConflictError, WriterFencedError: runs are exclusive, and another one was here since this one began.

        """
        packed = await runtime.in_thread(contents.pack, self.serde, place, config, checkpoint, metadata)
        workflow_id, checkpoint_id = place.workflow_id, checkpoint["id"]
        run = self.known.run(config, workflow_id)
        _require_alive(place, run)
        if self.is_exclusive:
            await self._own(place, config, run)
        # A run that began from an older checkpoint has not learned the order, but it has learned the head.
        is_fork = run.order is None and run.revision is not None
        order = run.order or await self.order(workflow_id)
        if not self.is_exclusive and not order.largest_id:
            order = await self._begun(place, config, run, order)
        while True:
            labels = {**packed.labels, **order.with_id(checkpoint_id).labels}
            expected = run.revision if self.is_exclusive or is_fork else order.revision
            try:
                saved = await self._save(workflow_id, packed, labels, expected, run.epoch)
                break
            except RevisionConflictError as error:
                # Somebody else was there, perhaps with a larger id, or has deleted everything.
                await self._require_beginning(place, config, run)
                if self.is_exclusive:
                    raise
                is_fork, order = False, await self.order(workflow_id, int(error.metadata["head_revision"]))
        order = order.with_id(checkpoint_id, saved.revision)
        if order.largest_id != checkpoint_id and not order.is_pinned:
            order = await self._pinned(workflow_id, order, run)
        self.known.saved(run, workflow_id, order, checkpoint_id)

    async def put_writes(
        self, place: Place, config: Any, given: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        """Attach a task's writes to a checkpoint.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.
            RevisionConflictError, WriterFencedError: runs are exclusive, and another one was here since this one began.

        """
        if not given:
            return
        run = self.known.run(config, place.workflow_id)
        _require_alive(place, run)
        if self.is_exclusive:
            await self._own(place, config, run)
        packed = await runtime.in_thread(contents.pack_writes, self.serde, given, task_id, task_path)
        workflow_id, name = place.workflow_id, encoded(config["configurable"]["checkpoint_id"])
        if packed.chunks:
            await self.client.attach(self.namespace, workflow_id, name, packed.chunks, epoch=run.epoch)
        await self.client.attach(self.namespace, workflow_id, name, packed.heads, epoch=run.epoch)

    async def delete_thread(self, thread_id: str) -> None:
        """Delete all that there is of a thread.

        "" goes first: a namespace that a run begins concurrently is found by the deletion of the others, or finds out
        that "" is gone (`_begun`).
        """
        workflow_id = Place(thread_id, "").workflow_id
        self.known.forget(workflow_id, namespaces_of(thread_id))
        with suppress(*MISSING):
            await self.client.delete_workflow(self.namespace, workflow_id, purge=self.purges)
        await self.client.delete_workflows(self.namespace, namespaces_of(thread_id), purge=self.purges)

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
            if place_of(target.workflow_id, place.part) == target:
                await self.client.copy_workflow(self.namespace, place.workflow_id, target.workflow_id)
            else:
                await self._copy_with_names(place, target)
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
        self,
        workflow_id: str,
        packed: contents.Contents,
        labels: Mapping[str, str],
        expected_revision: int | None,
        epoch: int | None,
        *,
        pinned: bool = False,
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
        }
        save = partial(self.client.save, self.namespace, workflow_id, packed.parts, **options)
        try:
            return await save(needs_parent=packed.needs_parent)
        except (CheckpointDeletedError, CheckpointNotFoundError):
            # Its parent was deleted, which nothing can bring back.
            return await save(needs_parent=False)

    async def _pinned(self, workflow_id: str, order: Order, run: Run) -> Order:
        """Keep the checkpoint with the largest id from retention, which only spares the newest one. Returns the order.

        It is saved again, as it is. Whoever saves in between sees that it is not pinned yet, or saves a larger id.
        """
        try:
            loaded = await self.client.load(
                self.namespace, workflow_id, encoded(order.largest_id), accepted_formats=ACCEPTED
            )
            pinned = replace(order, is_pinned=True)
            labels = {**loaded.info.labels, **pinned.labels}
            again = contents.Contents(
                loaded.checkpoint_id, loaded.info.parent_id, loaded.parts, labels, NEEDS_PARENT in labels
            )
            saved = await self._save(workflow_id, again, labels, order.revision, run.epoch, pinned=True)
        except (*MISSING, CheckpointCorruptedError, RevisionConflictError):
            return order
        return replace(pinned, revision=saved.revision)

    async def _prune_mixed(self, workflow_id: str, order: Order) -> None:
        """As the server prunes, but for the order of ids."""
        found = {each.checkpoint_id: each async for each in self.client.list(self.namespace, workflow_id, strict=True)}
        if not found:
            return
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

    async def _copy_with_names(self, place: Place, target: Place) -> None:
        """Copy a namespace to one whose checkpoints hold other names."""
        listed = self.client.list(
            self.namespace, place.workflow_id, formats=ACCEPTED, ids_only=True, strict=True, page_size=1000
        )
        for checkpoint_id in [each.checkpoint_id async for each in listed][::-1]:
            try:
                loaded = await self.client.load(self.namespace, place.workflow_id, checkpoint_id, records=True)
            except MISSING:
                continue
            if loaded.records:
                await self.client.attach(self.namespace, target.workflow_id, checkpoint_id, loaded.records)
            labels = loaded.info.labels
            parts = {**loaded.parts, contents.PLACE: target.part or b""}
            copied = contents.Contents(checkpoint_id, loaded.info.parent_id, parts, labels, NEEDS_PARENT in labels)
            await self._save(target.workflow_id, copied, labels, None, None, pinned=loaded.info.pinned)

    async def _own(self, place: Place, config: Any, run: Run) -> None:
        """Acquire a workflow for a run, at its first write, if the run began from what is still the newest.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.
            RevisionConflictError: another run has saved or acquired it since.

        """
        if run.epoch is not None:
            return
        try:
            writer = await self.client.acquire_writer(
                self.namespace, place.workflow_id, expected_revision=run.revision, request_id=run.request_id
            )
        except RevisionConflictError:
            await self._require_beginning(place, config, run)
            raise
        if place.checkpoint_ns:
            await self._require_beginning(place, config, run)
        # Another task of the run may have saved in between.
        run.epoch, run.revision = writer.epoch, max(run.revision or 0, writer.revision)

    async def _begun(self, place: Place, config: Any, run: Run, order: Order) -> Order:
        """The order of a namespace in which nothing is saved yet, once the thread cannot be deleted unnoticed.

        A deletion of the thread passes over a workflow without a log, and nobody would find out. So the log is begun,
        by a fence, before a look at "": if that is not deleted by then, the deletion comes to this log later, and the
        save meets it.
        """
        if not (place.checkpoint_ns and _root_id(config)):
            return order
        writer = await self.client.acquire_writer(self.namespace, place.workflow_id)
        await self._require_beginning(place, config, run)
        return replace(order, revision=writer.revision)

    async def _require_beginning(self, place: Place, config: Any, run: Run) -> None:
        """Check that the workflows of a run were not deleted: its own since its last checkpoint, and "" above it.

        Raises:
            CheckpointDeletedError: one of them was.

        """
        if run.checkpoint_id and await self.was_deleted(place.workflow_id, run.checkpoint_id):
            run.is_deleted = True
        checkpoint_id = self._root_of(place, config)
        if checkpoint_id and not run.is_deleted:
            root = Place(place.thread_id, "").workflow_id
            # Collections may have taken an older one, while a newer one is on its way to the server.
            is_current = checkpoint_id == _root_id(config)
            run.is_deleted = await self.was_deleted(root, checkpoint_id) and (
                is_current or await self.newest(root) is None
            )
        elif place.checkpoint_ns and _root_id(config) and not run.is_deleted:
            # The first save of "" is on its way: it may have come to the server, and been deleted there.
            root = Place(place.thread_id, "").workflow_id
            began_behind = self.known.run(config, root).deleted_head
            run.is_deleted = await self.deleted_head(root) > began_behind
        _require_alive(place, run)

    def _root_of(self, place: Place, config: Any) -> str:
        """The checkpoint of "" that a namespace is run for; an older one if it is not saved yet, else ""."""
        checkpoint_id = _root_id(config) if place.checkpoint_ns else ""
        root = Place(place.thread_id, "").workflow_id
        if not checkpoint_id or self.known.has_existed(root, checkpoint_id):
            return checkpoint_id
        return self.known.last_id(root)


def _root_id(config: Any) -> str:
    return (config["configurable"].get("checkpoint_map") or {}).get("") or ""


def _require_alive(place: Place, run: Run) -> None:
    if run.is_deleted:
        raise of_reason(
            "CHECKPOINT_DELETED",
            f"thread {place.thread_id!r:.200} was deleted since checkpoint {run.checkpoint_id!r:.200} was saved or "
            "loaded; this run ends, another one begins anew",
        )
