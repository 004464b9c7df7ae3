# Generated from holdfast/_async/workflow.py by tools/async_to_sync.py; do not edit.
"""A handle of one workflow: it carries revision and epoch from call to call."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast._core import arguments
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, Format, LoadedCheckpoint, Record, Writer
from holdfast._core.errors import RevisionConflictError
from holdfast._core.files import write_whole
from holdfast._core.migrations import Migrations
from holdfast._core.payload import Data, Progress
from holdfast._sync import runtime

if TYPE_CHECKING:
    from holdfast._sync.client import Client

# How often one save gives way to saves of the same writer beside this handle.
_MOST_ADOPTIONS = 10


class Workflow:
    """A workflow, as one writer sees it.

    Once the handle knows a revision, each of its saves requires that nobody else has saved since, deleted the whole
    workflow, or acquired it. Deletions of checkpoints, prunes, collections, and saves under the handle's own epoch do
    not stand against it.

    Attributes:
        revision: the revision that the handle goes on from; None before its first call.
        epoch: the epoch of this writer; None before `acquire_writer`.
        checkpoint_id: the checkpoint that was saved last or resumed from; "" before that.

    """

    def __init__(self, client: "Client", namespace: str, workflow_id: str) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self.revision: int | None = None
        self.epoch: int | None = None
        self.checkpoint_id = ""

    def acquire_writer(
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

        A handle that has saved or resumed before still goes on from there: if somebody else has saved since, its next
        save is refused until it has resumed.

        Args:
            expected_revision: acquire only if nobody has saved or acquired since; such as `self.revision`.
            lease: refuse others without `force` for so long, renewed by each save of this handle.
            holder: the name of the lease's holder; None for this host and process.
            force: evict the holder of a lease that still lives.
            request_id: the idempotency key; made up where none is given.
            timeout: seconds for everything, retries included.

        Raises:
            LeaseHeldError: another writer's lease lives; the error names its holder and its end.
            RevisionConflictError: somebody has saved or acquired; nothing was changed.
            HoldfastError: a subclass for each other reason.

        """
        writer = self._client.acquire_writer(
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

    def save(
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
        request_id: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Save the next checkpoint.

        If the same writer has saved beside this handle, under its epoch, the handle goes on from there.

        Args:
            data: bytes, a mapping of part name to bytes, or an open binary file that can seek.
            format: the payload's format.
            checkpoint_id: the id; "" lets the server choose.
            parent_id: the checkpoint that this one was made from; None for the one before.
            labels: labels to find it by.
            ttl: how long it must be kept.
            replace: take the place of the checkpoint that has the same id, if there is one.
            needs_parent: it is of no use without its parent, which is kept as long as it.
            pinned: keep it when retention by count and age or a prune would let it go.
            request_id: the idempotency key; made up where none is given.
            timeout: seconds for everything, retries included.
            progress: called with the bytes sent and all, for payloads that are streamed.

        Raises:
            RevisionConflictError: another writer was here since.
            WriterFencedError: another writer owns the workflow.
            HoldfastError: a subclass for each other reason.

        """
        # A file that does not know its position is refused by the save, in its own words.
        start = 0
        with suppress(OSError, ValueError, AttributeError):
            start = data.tell()  # type: ignore[union-attr]
        adoptions = 0
        while True:
            try:
                saved = self._client.save(
                    self._namespace,
                    self._workflow_id,
                    data,
                    format=format,
                    checkpoint_id=checkpoint_id,
                    parent_id=self.checkpoint_id if parent_id is None else parent_id,
                    labels=labels,
                    pinned=pinned,
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
                head_revision = self._own_head(conflict)
                if head_revision is None or adoptions == _MOST_ADOPTIONS:
                    raise
                self._adopt(head_revision)
                adoptions += 1
                if hasattr(data, "seek"):
                    data.seek(start)
            else:
                self.revision, self.checkpoint_id = saved.revision, saved.checkpoint_id
                return saved

    def _own_head(self, conflict: RevisionConflictError) -> int | None:
        """The head that stands against a save, if all saves since this handle's revision were made under its epoch."""
        if self.revision is None or not self.epoch:
            return None
        try:
            head, saved, epoch, other = (
                int(conflict.metadata[name])
                for name in ("head_revision", "last_save_revision", "last_save_epoch", "last_other_save_revision")
            )
        except (KeyError, ValueError):
            return None
        is_own = epoch == self.epoch and other <= self.revision < saved <= head
        return head if is_own else None

    def _adopt(self, head_revision: int) -> None:
        """Go on from a head that this writer has made beside the handle, and from its newest checkpoint."""
        found = self._client.validate(self._namespace, self._workflow_id, depth="marker")
        self.revision = head_revision
        self.checkpoint_id = found.checkpoint.checkpoint_id if found.checkpoint is not None else ""

    def resume(
        self,
        *,
        format: Format,  # noqa: A002 - the API's own word
        migrations: Migrations | None = None,
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Resume from the newest checkpoint; what is saved next has it as its parent, and requires the head of now.

        Args:
            format: the format that the caller works with.
            migrations: bring older versions to it.
            fallback: answer damage with the newest older checkpoint that is whole.
            records: load its records too.
            max_bytes: how many bytes the payload may have, as in the client's `load`.
            timeout: seconds for everything, retries included.
            progress: called with the bytes received and all, for payloads that are streamed.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        loaded = self._client.resume(
            self._namespace,
            self._workflow_id,
            format=format,
            migrations=migrations,
            fallback=fallback,
            records=records,
            max_bytes=max_bytes,
            timeout=timeout,
            progress=progress,
        )
        self.checkpoint_id = loaded.checkpoint_id
        self.revision = loaded.head_revision or None
        return loaded

    def load(
        self,
        checkpoint_id: str | None = None,
        *,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
        records: bool = False,
        max_bytes: int | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load a checkpoint, None for the newest. The handle stays where it is: only `resume` goes on from it.

        The arguments are those of the client's `load`.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        return self._client.load(
            self._namespace,
            self._workflow_id,
            checkpoint_id,
            accepted_formats=accepted_formats,
            fallback=fallback,
            records=records,
            max_bytes=max_bytes,
            timeout=timeout,
            progress=progress,
        )

    def load_to(
        self,
        path: "str | os.PathLike[str]",
        checkpoint_id: str | None = None,
        *,
        part: str | None = None,
        accepted_formats: Sequence[AcceptedFormat] = (),
        fallback: bool = False,
        max_bytes: int | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> LoadedCheckpoint:
        """Load a part of a checkpoint into a file, which is there whole or left as it was.

        Args:
            path: the file; its folder must exist.
            checkpoint_id: the checkpoint; None for the newest.
            part: the part; None for the default part or the only one.
            accepted_formats: refuse any other format before data moves; none given: any.
            fallback: answer damage with the newest older checkpoint that is whole.
            max_bytes: how many bytes the payload may have, as in the client's `load`.
            timeout: seconds for everything but the writing, retries included.
            progress: called with the bytes received and all, for payloads that are streamed.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.
            InvalidRequestError: the checkpoint has no such part.
            OSError: the file cannot be written.

        """
        place = os.fspath(path)
        loaded = self.load(
            checkpoint_id,
            accepted_formats=accepted_formats,
            fallback=fallback,
            max_bytes=max_bytes,
            timeout=timeout,
            progress=progress,
        )
        try:
            data = loaded.data if part is None else loaded.parts[part]
        except KeyError:
            names = ", ".join(sorted(map(repr, loaded.parts)))
            raise arguments.invalid("part", f"must be one of {names:.500}, not {part!r:.100}") from None
        runtime.in_thread(write_whole, place, data)
        return loaded

    def prune(self, *, keep_last: int = 1, request_id: str | None = None, timeout: float | None = None) -> int:
        """Delete all checkpoints but for the newest ones and what these need. Returns how many.

        Raises:
            WriterFencedError: another writer owns the workflow.
            HoldfastError: a subclass for each other reason.

        """
        return self._client.prune(
            self._namespace,
            self._workflow_id,
            keep_last=keep_last,
            epoch=self.epoch,
            request_id=request_id,
            timeout=timeout,
        )

    def attach(
        self,
        records: Iterable[Record],
        *,
        checkpoint_id: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Attach records to a checkpoint, None for the one that this handle saved last or resumed from.

        Raises:
            InvalidRequestError: no checkpoint is named, and the handle has none.
            WriterFencedError: another writer owns the workflow.
            HoldfastError: a subclass for each other reason.

        """
        self._client.attach(
            self._namespace,
            self._workflow_id,
            self._meant(checkpoint_id),
            records,
            epoch=self.epoch,
            request_id=request_id,
            timeout=timeout,
        )

    def records(self, checkpoint_id: str | None = None, *, timeout: float | None = None) -> tuple[Record, ...]:
        """The records of a checkpoint, None for the one that this handle saved last or resumed from.

        Raises:
            InvalidRequestError: no checkpoint is named, and the handle has none.
            HoldfastError: a subclass for each other reason.

        """
        return self._client.records(self._namespace, self._workflow_id, self._meant(checkpoint_id), timeout=timeout)

    def _meant(self, checkpoint_id: str | None) -> str:
        if checkpoint_id is None and not self.checkpoint_id:
            raise arguments.invalid("checkpoint_id", "must be given before the handle has saved or resumed")
        return self.checkpoint_id if checkpoint_id is None else checkpoint_id
