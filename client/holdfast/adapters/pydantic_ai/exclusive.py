"""Exclusive ownership: one process at a time writes a run, and continues from its snapshots.

A store owns a run from its registration, or its first write of the run, until the run's last event. The store holds an
epoch of each workflow of the run. When a run is registered that continues from a snapshot of another run of the same
conversation, the store takes over the other run, if nothing was saved there since the snapshot was loaded. From then
on, a process that was overtaken is refused before anything is stored.
"""

import asyncio
from collections import OrderedDict
from weakref import WeakKeyDictionary

from pydantic_ai_harness.step_persistence import ContinuableSnapshot, RunRecord

from holdfast._async.client import AsyncClient
from holdfast.adapters.pydantic_ai import names

# Bounds memory: conversations that were loaded but never continued, and runs that never end, are forgotten.
_MAX_LOADED = 1000
_MAX_EPOCHS = 30_000


class ExclusiveRuns:
    """The runs that a store owns.

    Args:
        client: an open client.
        namespace: the namespace.

    """

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        # By conversation: the run whose snapshot was last loaded or saved, and the head of its snapshots at that time.
        self._loaded: OrderedDict[str, tuple[str, int]] = OrderedDict()
        # By workflow.
        self._epochs: OrderedDict[str, int] = OrderedDict()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def head(self, run_id: str) -> int:
        """Return the revision of the head of a run's snapshots; 0 if none exist.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        workflow = names.snapshots(run_id)
        async for info in self._client.list_workflows(self._namespace, prefix=workflow):
            if info.workflow_id == workflow:
                return info.head_revision
        return 0

    def loaded(self, snapshot: ContinuableSnapshot, head: int) -> None:
        """Remember a snapshot that a run may continue from.

        Args:
            snapshot: the snapshot, which was loaded or saved.
            head: the revision of the head before it was loaded, or of the snapshot that was saved.

        """
        if snapshot.conversation_id is not None:
            self._loaded[snapshot.conversation_id] = snapshot.run_id, head
            self._loaded.move_to_end(snapshot.conversation_id)
            while len(self._loaded) > _MAX_LOADED:
                self._loaded.popitem(last=False)

    async def take_over(self, record: RunRecord) -> None:
        """Acquire the run that a run continues from, before the latter is registered.

        Args:
            record: the run that is to be registered.

        Raises:
            RevisionConflictError: another process has saved to the former run, or acquired it, since its snapshot was
                loaded.
            HoldfastError: a subclass for each other reason.

        """
        run_id, head = self._loaded.get(record.conversation_id or "", (record.run_id, 0))
        if run_id != record.run_id:
            await self._acquire(run_id, expected_revision=head)
            self.end(run_id)
            del self._loaded[record.conversation_id or ""]

    async def epoch(self, run_id: str, workflow: str) -> int:
        """Return the epoch for a write to a workflow of a run. The first write acquires all workflows of the run.

        Args:
            run_id: the run.
            workflow: one of its workflows.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if workflow not in self._epochs:
                await self._acquire(run_id)
            return self._epochs[workflow]

    def end(self, run_id: str) -> None:
        """Forget the epochs of a run that has ended."""
        for workflow in names.workflows(run_id):
            self._epochs.pop(workflow, None)

    async def _acquire(self, run_id: str, *, expected_revision: int | None = None) -> None:
        for workflow in names.workflows(run_id):
            writer = await self._client.acquire_writer(self._namespace, workflow, expected_revision=expected_revision)
            self._epochs[workflow] = writer.epoch
            while len(self._epochs) > _MAX_EPOCHS:
                self._epochs.popitem(last=False)
            # The revision is that of the first workflow, which has the snapshots.
            expected_revision = None
