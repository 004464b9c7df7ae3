"""The checkpoints of a namespace, as the session service reads and writes them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, LoadedCheckpoint, Record, Writer
from holdfast._core.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointNotFoundError,
    WorkflowNotFoundError,
)
from holdfast.adapters.lineage import Lineage

MISSING = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)

MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of a namespace. Every method raises HoldfastError, a subclass for each reason.

    Attributes:
        client: an open client.
        namespace: the namespace.
        fallback: load an older checkpoint if the newest one is damaged.

    """

    client: AsyncClient
    namespace: str
    fallback: bool

    async def find(
        self, workflow: str, formats: Sequence[AcceptedFormat], *, records: bool = False
    ) -> LoadedCheckpoint | None:
        """Return the newest checkpoint of a workflow, if `records` is set with its records; None if none exists."""
        try:
            return await self.client.load(
                self.namespace, workflow, accepted_formats=formats, fallback=self.fallback, records=records
            )
        except MISSING:
            return None

    async def load(
        self, workflow: str, formats: Sequence[AcceptedFormat], checkpoint_id: str, *, fallback: bool = False
    ) -> LoadedCheckpoint:
        """Return a checkpoint; if `fallback` is set and it is damaged, the newest older one that is whole."""
        return await self.client.load(
            self.namespace, workflow, checkpoint_id, accepted_formats=formats, fallback=fallback
        )

    async def chain(
        self, workflow: str, formats: Sequence[AcceptedFormat], newest: LoadedCheckpoint, page_size: int
    ) -> AsyncIterator[LoadedCheckpoint]:
        """Iterate over a checkpoint and its ancestors, newest first.

        With `fallback`, damaged ancestors are left out. Then a checkpoint is not the parent of the one before it.

        Args:
            workflow: the workflow.
            formats: the formats that the caller reads.
            newest: the checkpoint to begin with.
            page_size: how many checkpoints to load in a call.

        """
        yield newest
        if not self.fallback and newest.info.parent_id:
            # Load many in a call. Checkpoints that are not ancestors may be among them, and may be damaged.
            history = self.client.history(
                self.namespace,
                workflow,
                before=newest.checkpoint_id,
                page_size=max(1, min(page_size, MAX_PAGE)),
                accepted_formats=formats,
            )
            with suppress(CheckpointCorruptedError):
                async for loaded in history:
                    if loaded.checkpoint_id == newest.info.parent_id:
                        newest = loaded
                        yield loaded
        lineage = Lineage()
        while newest.info.parent_id:
            lineage.require_new(newest.info.parent_id)
            newest = await self.load(workflow, formats, newest.info.parent_id, fallback=self.fallback)
            yield newest

    async def newest_first(self, workflow: str) -> AsyncIterator[Checkpoint]:
        """Iterate over the checkpoints of a workflow, newest first, without their payloads."""
        with suppress(WorkflowNotFoundError):
            async for info in self.client.list(self.namespace, workflow, page_size=MAX_PAGE):
                yield info

    async def save(self, workflow: str, data: Any, **options: Any) -> Checkpoint:
        """Save a checkpoint, with the options of `AsyncClient.save`."""
        return await self.client.save(self.namespace, workflow, data, **options)

    async def attach(self, workflow: str, checkpoint_id: str, record: Record) -> None:
        """Attach a record to a checkpoint."""
        await self.client.attach(self.namespace, workflow, checkpoint_id, [record])

    async def acquire(self, workflow: str, expected_revision: int | None) -> Writer:
        """Acquire a workflow if its head has the expected revision."""
        return await self.client.acquire_writer(self.namespace, workflow, expected_revision=expected_revision)
