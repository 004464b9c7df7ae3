"""A run that owns its storage: what it began from must still be the newest checkpoint, and one process at a time saves.

A run begins with a load by an id (`workflow.run(checkpoint_id=...)`), or with a first checkpoint that has none before
it. Its first save acquires the workflow's epoch, if nothing was saved since; a process that was overtaken is refused
from then on, before anything of its next save is stored.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import RevisionConflictError

# A run needs the base of the checkpoint before its next one only.
_MOST_BASES = 1000

Save = Callable[[int | None, int | None], Awaitable[Checkpoint]]


class Owner:
    """What a storage knows of the log, in order to own it.

    Args:
        client: the client.
        namespace: the namespace.
        workflow_id: the storage's workflow.

    """

    def __init__(self, client: AsyncClient, namespace: str, workflow_id: str) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        # By a checkpoint's id: the revision since which nobody else may have saved for it to be the newest.
        self._bases: OrderedDict[str, int] = OrderedDict()
        # The same for a run that begins with no checkpoint before it; None: it takes over from whoever is there.
        self._fresh: int | None = None
        self._epoch: int | None = None
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def head(self) -> int:
        """The revision of the log's head; 0 for none."""
        async for each in self._client.list_workflows(self._namespace, prefix=self._workflow_id):
            if each.workflow_id == self._workflow_id:
                return each.head_revision
        return 0

    def found(self, checkpoint_id: str | None, base: int) -> None:
        """Remember a checkpoint that a run may go on from; None: that there was none.

        Args:
            checkpoint_id: the checkpoint.
            base: the revision since which nobody may have saved.

        """
        self._fresh = base
        if checkpoint_id is not None:
            self._remember(checkpoint_id, base)

    def begin(self) -> None:
        """Begin a run: its first save acquires the epoch."""
        self._epoch = None

    def knows(self, checkpoint_id: str) -> bool:
        """Whether a checkpoint was found or saved here."""
        return checkpoint_id in self._bases

    async def save(self, previous_id: str | None, checkpoint_id: str | None, save: Save) -> Checkpoint:
        """Save what comes after a checkpoint, if that is still the newest one.

        Args:
            previous_id: the checkpoint before it.
            checkpoint_id: its own id; None for what stands for a checkpoint that could not be saved.
            save: saves it, given the revision to expect and the epoch.

        Raises:
            RevisionConflictError: another process has saved, or acquired, since.
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
                # A save of this very writer whose answer was lost.
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
        """The head that stands against a save, if every save since was made under this epoch."""
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
        while len(self._bases) > _MOST_BASES:
            self._bases.popitem(last=False)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """One save at a time, so that a process does not overtake itself."""
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            yield
