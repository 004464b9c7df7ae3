"""A run that owns what it writes, and what it goes on from.

A store owns a run from its registration, or from its first write of it, until the run's last event: each of the run's
workflows has an epoch of the store. A run that goes on from another one's snapshot (both of one conversation) takes
that run over when it is registered, if nothing was saved there since the snapshot was loaded. A process that was
overtaken is refused from then on, before anything is stored.
"""

import asyncio
from collections import OrderedDict
from weakref import WeakKeyDictionary

from pydantic_ai_harness.step_persistence import ContinuableSnapshot, RunRecord

from holdfast._async.client import AsyncClient
from holdfast.adapters.pydantic_ai import names

# Conversations that were looked into and never gone on with are forgotten at last.
_MOST_LOADED = 1000
_MOST_EPOCHS = 30_000


class Owner:
    """The runs that a store owns.

    Args:
        client: the client.
        namespace: the namespace.

    """

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        # By conversations: the run whose snapshot was loaded or saved last, and the head of its snapshots as of that.
        self._loaded: OrderedDict[str, tuple[str, int]] = OrderedDict()
        # By workflows; those of runs that never end here are forgotten at last.
        self._epochs: OrderedDict[str, int] = OrderedDict()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def head(self, run_id: str) -> int:
        """The head of a run's snapshots; 0 for none."""
        workflow = names.snapshots(run_id)
        async for each in self._client.list_workflows(self._namespace, prefix=workflow):
            if each.workflow_id == workflow:
                return each.head_revision
        return 0

    def loaded(self, snapshot: ContinuableSnapshot, head: int) -> None:
        """Remember a snapshot that a run may go on from: loaded after the head was read, or saved as it."""
        if snapshot.conversation_id is not None:
            self._loaded[snapshot.conversation_id] = snapshot.run_id, head
            self._loaded.move_to_end(snapshot.conversation_id)
            while len(self._loaded) > _MOST_LOADED:
                self._loaded.popitem(last=False)

    async def take_over(self, record: RunRecord) -> None:
        """Become the owner of what a run that is to be registered goes on from.

        Raises:
            RevisionConflictError: another process has saved there, or taken it over, since.
            HoldfastError: a subclass for each other reason.

        """
        run_id, head = self._loaded.get(record.conversation_id or "", (record.run_id, 0))
        if run_id != record.run_id:
            await self._acquire(run_id, expected_revision=head)
            self.end(run_id)
            del self._loaded[record.conversation_id or ""]

    async def epoch(self, run_id: str, workflow: str) -> int:
        """The epoch to write a run's workflow with, acquired with the run's others if this is the first write."""
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
            while len(self._epochs) > _MOST_EPOCHS:
                self._epochs.popitem(last=False)
            # The first one, of the snapshots, decides.
            expected_revision = None
