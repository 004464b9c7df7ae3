"""Where the threads of LangGraph lie in Holdfast: their namespaces, and the latest checkpoint of each."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import Checkpoint, LoadedCheckpoint
from holdfast._core.errors import CheckpointDeletedError, CheckpointNotFoundError, HoldfastError, WorkflowNotFoundError
from holdfast.adapters.langgraph.contents import ACCEPTED, PLACE
from holdfast.adapters.langgraph.known import Known, Order
from holdfast.adapters.langgraph.names import Place, decoded, encoded, namespaces_of, place_of

_log = logging.getLogger(__name__)

MISSING = (CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError)


def deleted_head_of(error: HoldfastError) -> int:
    """Return the head of a log without checkpoints that an error speaks of; 0 if it speaks of none."""
    return int(error.metadata.get("revision", 0)) if isinstance(error, CheckpointNotFoundError) else 0


@dataclass(frozen=True, slots=True)
class AsyncLookups:
    """The threads of a namespace.

    Attributes:
        client: an open client.
        namespace: the namespace.
        serde: the serializer.
        known: the orders of workflows.
        fallback: whether damage of a latest checkpoint is answered with an older one.
        is_exclusive: whether a run must own each workflow that it writes to.
        purges: whether the deletion of a thread removes its bytes at once.

    """

    client: AsyncClient
    namespace: str
    serde: Any
    known: Known
    fallback: bool
    is_exclusive: bool
    purges: bool = False

    async def load(self, place: Place, checkpoint_id: str) -> LoadedCheckpoint:
        """A checkpoint with its records, or with "" the latest.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        if not checkpoint_id:
            return (await self.load_latest(place))[0]
        return await self._load(place, encoded(checkpoint_id), fallback=False)

    async def order(self, workflow_id: str, revision: int = 0) -> Order:
        """The order of a workflow's checkpoints, as it is now, up to a revision that it has at least."""
        newest = await self.newest(workflow_id)
        return Order(revision=revision) if newest is None else Order.of(newest, revision)

    async def newest(self, workflow_id: str) -> Checkpoint | None:
        """The checkpoint that was saved last; None where there is none."""
        try:
            async for newest in self.client.list(self.namespace, workflow_id, strict=not self.fallback, page_size=1):
                return newest
        except WorkflowNotFoundError:
            pass
        return None

    async def places(self, thread_id: str) -> Sequence[Place]:
        """The namespaces of a thread that hold checkpoints, and "", which need not. "" is the first."""
        found = {Place(thread_id, "")}
        async for each in self.client.list_workflows(self.namespace, prefix=namespaces_of(thread_id)):
            if each.checkpoint_revision:
                place = place_of(each.workflow_id) or await self._told_place(each.workflow_id)
                found |= {place} if place is not None else set()
        return sorted(found)

    async def exists(self, workflow_id: str, checkpoint_id: str) -> bool:
        """Whether a checkpoint exists, damaged or not."""
        try:
            await self._look_for(workflow_id, checkpoint_id)
        except MISSING:
            return False
        return True

    async def was_deleted(self, workflow_id: str, checkpoint_id: str) -> bool:
        """Whether a checkpoint that existed has gone with its whole workflow, and not by itself."""
        try:
            await self._look_for(workflow_id, checkpoint_id)
        except CheckpointDeletedError:
            return False
        except (CheckpointNotFoundError, WorkflowNotFoundError):
            return True
        return False

    async def deleted_head(self, workflow_id: str) -> int:
        """Return the head of the log of a workflow that was deleted; 0 if it has checkpoints, or never existed."""
        try:
            await self.client.load(self.namespace, workflow_id, fallback=True)
        except MISSING as error:
            return deleted_head_of(error)
        return 0

    async def load_latest(self, place: Place) -> tuple[LoadedCheckpoint, Order]:
        """The latest checkpoint with its records, and the order of the ids, as of the same moment.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        newest = latest = await self._load(place, None, fallback=self.fallback)
        order = Order.of(newest.info, newest.head_revision)
        if order.largest_id != decoded(newest.checkpoint_id):
            try:
                latest = await self._load(place, encoded(order.largest_id), fallback=self.fallback)
            except (CheckpointDeletedError, CheckpointNotFoundError):
                latest = await self._load(place, await self._largest(place.workflow_id), fallback=self.fallback)
        return latest, order

    async def _look_for(self, workflow_id: str, checkpoint_id: str) -> None:
        async for _ in self.client.list(
            self.namespace, workflow_id, before=encoded(checkpoint_id), ids_only=True, page_size=1
        ):
            break

    async def _told_place(self, workflow_id: str) -> Place | None:
        """The place of a workflow by what any checkpoint of it tells; None where it was deleted since."""
        try:
            loaded = await self.client.load(self.namespace, workflow_id, accepted_formats=ACCEPTED, fallback=True)
        except MISSING:
            return None
        return place_of(workflow_id, loaded.parts.get(PLACE))

    async def _load(self, place: Place, checkpoint_id: str | None, *, fallback: bool) -> LoadedCheckpoint:
        loaded = await self.client.load(
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

    async def _largest(self, workflow_id: str) -> str:
        """The largest id that is left where the one that was known was deleted."""
        largest = ""
        async for each in self.client.list(
            self.namespace, workflow_id, formats=ACCEPTED, ids_only=True, strict=not self.fallback
        ):
            if decoded(each.checkpoint_id) >= decoded(largest):
                largest = each.checkpoint_id
        return largest
