# Generated from holdfast/workflow.py by tools/async_to_sync.py; do not edit.
"""A handle of one workflow: it carries revision and epoch from call to call."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.checkpoint import Checkpoint, Format, LoadedCheckpoint, Writer
from holdfast.errors import RevisionConflictError
from holdfast.migrations import Migrations
from holdfast.payload import Data

if TYPE_CHECKING:
    from holdfast.sync.client import Client

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

    """

    def __init__(self, client: "Client", namespace: str, workflow_id: str) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self.revision: int | None = None
        self.epoch: int | None = None
        self._parent_id = ""

    def acquire_writer(self) -> Writer:
        """Become the only writer.

        A handle that has saved or resumed before still goes on from there: if somebody else has saved since, its next
        save is refused until it has resumed.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        writer = self._client.acquire_writer(self._namespace, self._workflow_id)
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
        labels: Mapping[str, str] | None = None,
    ) -> Checkpoint:
        """Save the next checkpoint, whose parent is the one before.

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
                    parent_id=self._parent_id,
                    labels=labels,
                    expected_revision=self.revision,
                    epoch=self.epoch,
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
                self.revision, self._parent_id = saved.revision, saved.checkpoint_id
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
        self._parent_id = found.checkpoint.checkpoint_id if found.checkpoint is not None else ""

    def resume(
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
        loaded = self._client.resume(
            self._namespace, self._workflow_id, format=format, migrations=migrations, fallback=fallback
        )
        self._parent_id = loaded.checkpoint_id
        self.revision = loaded.head_revision or None
        return loaded
