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

MISSING = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)

MOST_IN_A_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The place of sessions and states.

    Attributes:
        client: an open client.
        namespace: the namespace.
        fallback: whether damage of a newest checkpoint is answered with an older one.

    """

    client: AsyncClient
    namespace: str
    fallback: bool

    async def find(
        self, workflow: str, formats: Sequence[AcceptedFormat], *, records: bool = False
    ) -> LoadedCheckpoint | None:
        """Return the newest checkpoint; None if there is none."""
        try:
            return await self.client.load(
                self.namespace, workflow, accepted_formats=formats, fallback=self.fallback, records=records
            )
        except MISSING:
            return None

    async def load(
        self, workflow: str, formats: Sequence[AcceptedFormat], checkpoint_id: str, *, fallback: bool = False
    ) -> LoadedCheckpoint:
        """Return a checkpoint of one of the formats."""
        return await self.client.load(
            self.namespace, workflow, checkpoint_id, accepted_formats=formats, fallback=fallback
        )

    async def chain(
        self, workflow: str, formats: Sequence[AcceptedFormat], newest: LoadedCheckpoint, page_size: int
    ) -> AsyncIterator[LoadedCheckpoint]:
        """Iterate over a checkpoint and its ancestors, newest first.

        With `fallback` damaged ones are left out: then a checkpoint is not the parent of the one before it.
        """
        yield newest
        if not self.fallback and newest.info.parent_id:
            # Many in a call. Checkpoints beside the chain may lie in between, and be damaged.
            history = self.client.history(
                self.namespace,
                workflow,
                before=newest.checkpoint_id,
                page_size=max(1, min(page_size, MOST_IN_A_PAGE)),
                accepted_formats=formats,
            )
            with suppress(CheckpointCorruptedError):
                async for each in history:
                    if each.checkpoint_id == newest.info.parent_id:
                        newest = each
                        yield each
        while newest.info.parent_id:
            newest = await self.load(workflow, formats, newest.info.parent_id, fallback=self.fallback)
            yield newest

    async def newest_first(self, workflow: str) -> AsyncIterator[Checkpoint]:
        """Iterate over the checkpoints of a workflow, without their payloads; none if it does not exist."""
        with suppress(WorkflowNotFoundError):
            async for each in self.client.list(self.namespace, workflow, page_size=MOST_IN_A_PAGE):
                yield each

    async def save(self, workflow: str, data: Any, **options: Any) -> Checkpoint:
        """Save a checkpoint."""
        return await self.client.save(self.namespace, workflow, data, **options)

    async def attach(self, workflow: str, checkpoint_id: str, record: Record) -> None:
        """Attach a record to a checkpoint."""
        await self.client.attach(self.namespace, workflow, checkpoint_id, [record])

    async def acquire(self, workflow: str, expected_revision: int | None) -> Writer:
        """Acquire a workflow whose head is as expected."""
        return await self.client.acquire_writer(self.namespace, workflow, expected_revision=expected_revision)
