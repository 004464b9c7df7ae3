"""Exclusive ownership: a run saves only while the checkpoint it began from is still the newest of its storage.

A run begins with a load by an id (`workflow.run(checkpoint_id=...)`), or with a first checkpoint that has no previous
one. Its first save acquires the workflow's epoch, if nothing was saved since the run began. From then on, a process
that was overtaken is refused before anything of its next save is stored.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import RevisionConflictError

# A run needs only the base of the checkpoint before its next one.
_MAX_BASES = 1000

Save = Callable[[int | None, int | None], Awaitable[Checkpoint]]


class ExclusiveRun:
    """The run of a storage, and the revisions that its saves require.

    A base is the revision that a save after a checkpoint requires: nobody else may have saved since then.

    Args:
        client: an open client.
        namespace: the namespace.
        workflow_id: the storage's workflow.

    """

    def __init__(self, client: AsyncClient, namespace: str, workflow_id: str) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        # The bases, by checkpoint id.
        self._bases: OrderedDict[str, int] = OrderedDict()
        # The base of a run without a previous checkpoint; None lets it take over, whatever was saved.
        self._fresh: int | None = None
        self._epoch: int | None = None
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def head(self) -> int:
        """Return the revision of the log's head; 0 if the log is empty.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        async for info in self._client.list_workflows(self._namespace, prefix=self._workflow_id):
            if info.workflow_id == self._workflow_id:
                return info.head_revision
        return 0

    def found(self, checkpoint_id: str | None, base: int) -> None:
        """Remember a checkpoint that a run may continue from.

        Args:
            checkpoint_id: the checkpoint's id; None if no checkpoint exists.
            base: the revision that the next save requires.

        """
        self._fresh = base
        if checkpoint_id is not None:
            self._remember(checkpoint_id, base)

    def begin(self) -> None:
        """Begin a run. Its first save acquires the epoch."""
        self._epoch = None

    def knows(self, checkpoint_id: str) -> bool:
        """Return whether a checkpoint was loaded or saved here."""
        return checkpoint_id in self._bases

    async def save(self, previous_id: str | None, checkpoint_id: str | None, save: Save) -> Checkpoint:
        """Save the checkpoint after another one, if the other one is still the newest.

        Args:
            previous_id: the id of the checkpoint before it; None if there is none.
            checkpoint_id: its own id; None for a notice.
            save: saves it, given the expected revision and the epoch.

        Raises:
            RevisionConflictError: another process has saved, or acquired the workflow, since the run began.
            WriterFencedError: another process owns the workflow.
            HoldfastError: a subclass for each other reason.

        """
        async with self._locked():
            base = self._fresh if previous_id is None else self._bases[previous_id]
            if self._epoch is None:
                writer = await self._client.acquire_writer(self._namespace, self._workflow_id, expected_revision=base)
                self._epoch = writer.epoch
            try:
                saved = await save(base, self._epoch)
            except RevisionConflictError as conflict:
                head = self._own_head(conflict)
                if head is None:
                    raise
                # An earlier save of this run, whose answer was lost, was committed.
                saved = await save(head, self._epoch)
            if checkpoint_id is not None:
                self._remember(checkpoint_id, saved.revision)
                self._fresh = None
            elif previous_id is not None:
                self._remember(previous_id, saved.revision)
            else:
                self._fresh = saved.revision
            return saved

    def _own_head(self, conflict: RevisionConflictError) -> int | None:
        """Return the head's revision if this epoch has made every save that conflicts; otherwise None."""
        try:
            head, expected, epoch, other = (
                int(conflict.metadata[name])
                for name in ("head_revision", "expected_revision", "last_save_epoch", "last_other_save_revision")
            )
        except (KeyError, ValueError):
            return None
        return head if epoch == self._epoch and other <= expected else None

    def _remember(self, checkpoint_id: str, base: int) -> None:
        self._bases[checkpoint_id] = base
        self._bases.move_to_end(checkpoint_id)
        while len(self._bases) > _MAX_BASES:
            self._bases.popitem(last=False)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Allow one save at a time, so that tasks of one process do not conflict."""
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            yield
