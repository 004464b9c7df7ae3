"""Where the threads of LangGraph lie in Holdfast: their namespaces, and the latest checkpoint of each."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.adapters.langgraph.contents import ACCEPTED
from holdfast.adapters.langgraph.known import Known, Order
from holdfast.adapters.langgraph.names import Place, decoded, encoded, index_of, names_of, place_of
from holdfast.checkpoint import AcceptedFormat, Checkpoint, Format, LoadedCheckpoint
from holdfast.client import AsyncClient
from holdfast.errors import CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError

MISSING = (CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError)

_NAMES_FORMAT = Format("langgraph-names", 1)
_NAMES_ACCEPTED = (AcceptedFormat(_NAMES_FORMAT.name, 1, _NAMES_FORMAT.version),)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AsyncLookups:
    """The threads of a namespace.

    Attributes:
        client: an open client.
        namespace: the namespace.
        serde: the serializer.
        known: the orders of workflows.
        fallback: whether damage of a latest checkpoint is answered with an older one.

    """

    client: AsyncClient
    namespace: str
    serde: Any
    known: Known
    fallback: bool

    async def load(self, place: Place, checkpoint_id: str) -> LoadedCheckpoint:
        """A checkpoint with its records, or with "" the latest.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        if not checkpoint_id:
            return await self._load_latest(place)
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

    async def introduce(self, place: Place) -> None:
        """See to it that a namespace is found from its thread, and its names from its workflow."""
        names = names_of(place.workflow_id)
        told = [(index_of(place.thread_id), place.index_id)] if place.checkpoint_ns else []
        for workflow_id, checkpoint_id in [*told, (names, "names")] if names is not None else told:
            await self.client.save(
                self.namespace,
                workflow_id,
                json.dumps(place).encode(),
                format=_NAMES_FORMAT,
                checkpoint_id=checkpoint_id,
                replace=True,
            )

    async def places(self, thread_id: str) -> Sequence[Place]:
        """The namespaces of a thread, "" first, which need not hold anything."""
        found = {Place(thread_id, "")}
        try:
            async for each in self.client.history(self.namespace, index_of(thread_id), formats=_NAMES_ACCEPTED):
                found.add(Place(thread_id, json.loads(each.data)[1]))
        except WorkflowNotFoundError:
            pass
        return sorted(found)

    async def place(self, workflow_id: str) -> Place | None:
        """The place of a workflow; None where it was deleted in the meantime."""
        names = names_of(workflow_id)
        if names is None:
            return place_of(workflow_id)
        try:
            return Place(*json.loads((await self.client.load(self.namespace, names)).data))
        except MISSING:
            return None

    async def _load_latest(self, place: Place) -> LoadedCheckpoint:
        newest = latest = await self._load(place, None, fallback=self.fallback)
        order = Order.of(newest.info, newest.head_revision)
        if order.largest_id != decoded(newest.checkpoint_id):
            try:
                latest = await self._load(place, encoded(order.largest_id), fallback=self.fallback)
            except (CheckpointDeletedError, CheckpointNotFoundError):
                latest = await self._load(place, await self._largest(place.workflow_id), fallback=self.fallback)
        self.known.put(place.workflow_id, order)
        return latest

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
