"""A handle of one workflow: it carries revision and epoch from call to call."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from holdfast.checkpoint import Checkpoint, Format, LoadedCheckpoint, Writer
from holdfast.migrations import Migrations
from holdfast.payload import Data

if TYPE_CHECKING:
    from holdfast.client import AsyncClient


class Workflow:
    """A workflow, as one writer sees it.

    Each save requires that the log's head is still where this handle left it, once it knows.

    Attributes:
        revision: the head's revision as far as this handle knows; None before its first call.
        epoch: the epoch of this writer; None before `acquire_writer`.

    """

    def __init__(self, client: "AsyncClient", namespace: str, workflow_id: str) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self.revision: int | None = None
        self.epoch: int | None = None
        self._parent_id = ""

    async def acquire_writer(self) -> Writer:
        """Become the only writer.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        writer = await self._client.acquire_writer(self._namespace, self._workflow_id)
        self.revision, self.epoch = writer.revision, writer.epoch
        return writer

    async def save(
        self,
        data: Data,
        *,
        format: Format,  # noqa: A002 - the API's own word
        checkpoint_id: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Checkpoint:
        """Save the next checkpoint, whose parent is the one before.

        Raises:
            RevisionConflictError: another writer was here since.
            WriterFencedError: another writer owns the workflow.
            HoldfastError: a subclass for each other reason.

        """
        saved = await self._client.save(
            self._namespace,
            self._workflow_id,
            data,
            format=format,
            checkpoint_id=checkpoint_id,
            parent_id=self._parent_id,
            labels=labels,
            expected_revision=self.revision,
            epoch=self.epoch,
        )
        self.revision, self._parent_id = saved.revision, saved.checkpoint_id
        return saved

    async def resume(
        self,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations | None = None,
        fallback: bool = False,
    ) -> LoadedCheckpoint:
        """Resume from the newest checkpoint; what is saved next has it as its parent, and requires the head of now.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        loaded = await self._client.resume(
            self._namespace, self._workflow_id, format=format, migrations=migrations, fallback=fallback
        )
        self._parent_id = loaded.checkpoint_id
        self.revision = loaded.head_revision or None
        return loaded
