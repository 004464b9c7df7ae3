"""A handle of one workflow, which carries revision and epoch from call to call."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast._core import arguments
from holdfast._core.checkpoint import (
    AcceptedFormat,
    Checkpoint,
    Format,
    LoadedCheckpoint,
    LoadedFile,
    LogEntry,
    Record,
    Writer,
)
from holdfast._core.conflicts import own_head
from holdfast._core.errors import RevisionConflictError
from holdfast._core.files import Target
from holdfast._core.head import Head
from holdfast._core.migrations import Migrations
from holdfast._core.payload import Data, Progress

if TYPE_CHECKING:
    from holdfast._async.client import AsyncClient

# How often one save gives way to other saves of the same writer.
_MAX_ADOPTIONS = 10


class AsyncWorkflow:
    """A workflow, as one writer sees it.

    Once the handle knows a revision, each of its saves requires that nobody else has saved since, deleted the whole
    workflow, or acquired it. Deletions of checkpoints, prunes, collections, and saves under the handle's own epoch do
    not conflict.

    Attributes:
        revision: the revision that the next save expects; None before the first call.
        epoch: the epoch of this writer; None before `acquire_writer`.
        checkpoint_id: the checkpoint that was saved last or resumed from; "" before that.

    """

    def __init__(self, client: "AsyncClient", namespace: str, workflow_id: str) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self.revision: int | None = None
        self.epoch: int | None = None
        self.checkpoint_id = ""

    @property
    def head(self) -> Head | None:
        """The newest head of the workflow's log that the client has seen; None if it remembers none."""
        return self._client.head(self._namespace, self._workflow_id)

    async def acquire_writer(
        self,
        *,
        expected_revision: int | None = None,
        lease: timedelta | None = None,
        holder: str | None = None,
        force: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Writer:
        """Become the only writer.

        The handle keeps the revision that it knows: if somebody else has saved since, the next save is refused until
        the handle has resumed. The arguments are those of the client's `acquire_writer`; each save of this handle
        renews the lease.

        Raises:
            LeaseHeldError: another writer's lease has not ended; the error names its holder and its end.
            RevisionConflictError: somebody has saved or acquired; nothing was changed.
            HoldfastError: a subclass for each other reason.

        """
        writer = await self._client.acquire_writer(
            self._namespace,
            self._workflow_id,
            expected_revision=expected_revision,
            lease=lease,
            holder=holder,
            force=force,
            request_id=request_id,
            timeout=timeout,
        )
        self.epoch = writer.epoch
        if self.revision is None:
            self.revision = writer.revision
        return writer

    async def save(
        self,
        data: Data,
        *,
        format: Format,  # noqa: A002 - the API's own word
        checkpoint_id: str = "",
        parent_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        ttl: timedelta | None = None,
        replace: bool = False,
        needs_parent: bool = False,
        pinned: bool = False,
        fresh_id: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Save the next checkpoint.

        The arguments are those of the client's `save`, except that the parent is by default the handle's
        `checkpoint_id`; "" is for none. If all saves that conflict were made under the handle's own epoch, the handle
        continues from the newest of them.

        Raises:
            RevisionConflictError: another writer has changed the workflow since.
            WriterFencedError: another writer owns the workflow.
            HoldfastError: a subclass for each other reason.

        """
        # A file without a position is refused by the save, with a better message.
        start = 0
        with suppress(OSError, ValueError, AttributeError):
            start = data.tell()  # type: ignore[union-attr]
        adoptions = 0
        while True:
            try:
                saved = await self._client.save(
                    self._namespace,
                    self._workflow_id,
                    data,
                    format=format,
                    checkpoint_id=checkpoint_id,
                    parent_id=self.checkpoint_id if parent_id is None else parent_id,
                    labels=labels,
                    pinned=pinned,
                    fresh_id=fresh_id,
                    expected_revision=self.revision,
                    epoch=self.epoch,
                    ttl=ttl,
                    replace=replace,
                    needs_parent=needs_parent,
                    request_id=request_id,
                    timeout=timeout,
                    progress=progress,
                )
            except RevisionConflictError as conflict:
                head_revision = own_head(conflict, self.revision, self.epoch)
                if head_revision is None or adoptions == _MAX_ADOPTIONS:
                    raise
                await self._adopt(head_revision)
                adoptions += 1
                if hasattr(data, "seek"):
                    data.seek(start)
            else:
                self.revision, self.checkpoint_id = saved.revision, saved.checkpoint_id
                return saved

    async def _adopt(self, head_revision: int) -> None:
        """Continue from a head that this writer made by another handle, and from the newest checkpoint."""
        found = await self._client.validate(self._namespace, self._workflow_id, depth="marker")
        self.revision = head_revision
        self.checkpoint_id = found.checkpoint.checkpoint_id if found.checkpoint is not None else ""

    async def resume(
        self,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations | None = None,
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Resume from the newest checkpoint: the next save has it as its parent and expects the current head.

        The arguments are those of the client's `resume`.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        loaded = await self._client.resume(
            self._namespace,
            self._workflow_id,
            format=format,
            migrations=migrations,
            fallback=fallback,
            records=records,
            max_bytes=max_bytes,
            not_before=not_before,
            timeout=timeout,
            progress=progress,
        )
        self.checkpoint_id = loaded.checkpoint_id
        self.revision = loaded.head_revision or None
        return loaded

    async def load(
        self,
        checkpoint_id: str | None = None,
        *,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load a checkpoint, None for the newest, as the client's `load` does. Only `resume` changes the handle.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        return await self._client.load(
            self._namespace,
            self._workflow_id,
            checkpoint_id,
            accepted_formats=accepted_formats,
            fallback=fallback,
            records=records,
            max_bytes=max_bytes,
            not_before=not_before,
            timeout=timeout,
            progress=progress,
        )

    async def load_to(
        self,
        file: Target,
        checkpoint_id: str | None = None,
        *,
        part: str | None = None,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
        max_bytes: int | None = None,
        not_before: Head | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedFile:
        """Load a part of a checkpoint, None for the newest, into a file, as the client's `load_to` does.

        Raises:
            InvalidRequestError: the checkpoint has no such part.
            WorkflowCheckpointResumeError: a subclass for each other reason.
            OSError: the file cannot be written.
            TypeError: the file is neither a path nor a binary file that is open for writing.

        """
        return await self._client.load_to(
            self._namespace,
            self._workflow_id,
            file,
            checkpoint_id,
            part=part,
            accepted_formats=accepted_formats,
            fallback=fallback,
            max_bytes=max_bytes,
            not_before=not_before,
            timeout=timeout,
            progress=progress,
        )

    async def prune(self, *, keep_last: int = 1, request_id: str | None = None, timeout: float | None = None) -> int:
        """Delete all checkpoints, except the newest ones and those that these need. Return how many were deleted.

        Raises:
            WriterFencedError: another writer owns the workflow.
            HoldfastError: a subclass for each other reason.

        """
        return await self._client.prune(
            self._namespace,
            self._workflow_id,
            keep_last=keep_last,
            epoch=self.epoch,
            request_id=request_id,
            timeout=timeout,
        )

    async def attach(
        self,
        records: Iterable[Record],
        *,
        checkpoint_id: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Attach records to a checkpoint; None for the one that this handle saved last or resumed from.

        Raises:
            InvalidRequestError: no checkpoint is named, and the handle has none.
            WriterFencedError: another writer owns the workflow.
            HoldfastError: a subclass for each other reason.

        """
        await self._client.attach(
            self._namespace,
            self._workflow_id,
            self._checkpoint_id(checkpoint_id),
            records,
            epoch=self.epoch,
            request_id=request_id,
            timeout=timeout,
        )

    async def records(self, checkpoint_id: str | None = None, *, timeout: float | None = None) -> tuple[Record, ...]:
        """Return the records of a checkpoint; None for the one that this handle saved last or resumed from.

        Raises:
            InvalidRequestError: no checkpoint is named, and the handle has none.
            HoldfastError: a subclass for each other reason.

        """
        return await self._client.records(
            self._namespace, self._workflow_id, self._checkpoint_id(checkpoint_id), timeout=timeout
        )

    def watch(
        self, *, after_revision: int | None = None, silence: float | None = None, timeout: float | None = None
    ) -> AsyncGenerator[LogEntry, None]:
        """Iterate over the entries of the workflow's log as they are committed, by whatever writer.

        The arguments are those of the client's `watch`, and so are the errors.
        """
        return self._client.watch(
            self._namespace, self._workflow_id, after_revision=after_revision, silence=silence, timeout=timeout
        )

    def _checkpoint_id(self, checkpoint_id: str | None) -> str:
        if checkpoint_id is None and not self.checkpoint_id:
            raise arguments.invalid("checkpoint_id", "must be given before the handle has saved or resumed")
        return self.checkpoint_id if checkpoint_id is None else checkpoint_id
