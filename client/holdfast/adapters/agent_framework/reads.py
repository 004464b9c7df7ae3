"""How a storage finds, loads and lists its checkpoints."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta

from agent_framework import WorkflowCheckpoint
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, LoadedCheckpoint
from holdfast._core.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointNotFoundError,
    FormatIncompatibleError,
    WorkflowNotFoundError,
)
from holdfast.adapters.agent_framework import unsaved
from holdfast.adapters.agent_framework.contents import FORMAT, Contents, id_in, name_of, timestamp
from holdfast.adapters.histories import newest_first
from holdfast.adapters.unreadable import unreadable

_ACCEPTED = tuple(AcceptedFormat(each.name, 1, each.version) for each in (FORMAT, unsaved.FORMAT))
_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)
# How far the clocks of two writers may be apart.
_CLOCKS_APART = timedelta(minutes=5)

_logger = logging.getLogger(__name__)


class Reads:
    """What a storage reads.

    Args:
        client: the client.
        namespace: the namespace.
        workflow_id: the storage's workflow.
        contents: the payloads.
        fallback: pass over what is damaged.
        entered: called with the name of a workflow for which an entry for an unsaved checkpoint is met.

    """

    def __init__(
        self,
        client: AsyncClient,
        namespace: str,
        workflow_id: str,
        contents: Contents,
        *,
        fallback: bool,
        entered: Callable[[str], None],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self._contents = contents
        self._fallback = fallback
        self._entered = entered

    async def all(self, workflow_name: str) -> list[WorkflowCheckpoint]:
        """The checkpoints of a workflow's name, in the order in which they were saved, each in its place."""
        found = []
        async for info, loaded in newest_first(
            self._client,
            self._namespace,
            self._workflow_id,
            labels={"workflow_name": name_of(workflow_name)},
            accepted_formats=_ACCEPTED,
            strict=not self._fallback,
        ):
            try:
                found.append(self.checkpoint(loaded or await self.load(info.checkpoint_id)))
            except _ABSENT:
                continue
            except CheckpointCorruptedError as error:
                if self._fallback:
                    self._pass_over(info, error)
                else:
                    found.append(_unreadable(info, error))
            except (FormatIncompatibleError, WorkflowCheckpointException) as error:
                found.append(_unreadable(info, error))
        return found[::-1]

    async def latest(self, workflow_name: str) -> WorkflowCheckpoint | None:
        """The checkpoint with the latest timestamp of a workflow's name; None where there is none."""
        try:
            # Where what was listed has been deleted meanwhile, there may be older ones that were not.
            while infos := await self._newest(workflow_name):
                found = await self._first_whole(sorted(infos, key=timestamp, reverse=True))
                if found is not None:
                    return found
        except CheckpointCorruptedError as error:
            if not self._fallback:
                raise
            return await self._behind_damage(workflow_name, error)
        return None

    async def _first_whole(self, infos: Iterable[Checkpoint]) -> WorkflowCheckpoint | None:
        """The first of some checkpoints that is whole; None where all of them are gone.

        Raises:
            CheckpointCorruptedError: the first that is still there is damaged, and `fallback` is off or finds nothing.

        """
        damage = None
        for info in infos:
            try:
                return self.checkpoint(await self.load(info.checkpoint_id))
            except _ABSENT:
                continue
            except CheckpointCorruptedError as error:
                self._pass_over(info, error)
                damage = damage or error
        if damage is not None:
            raise damage
        return None

    async def _behind_damage(self, workflow_name: str, damage: CheckpointCorruptedError) -> WorkflowCheckpoint:
        """The newest checkpoint that is whole, where the log itself is damaged, so that it cannot be listed."""
        loaded = await self.load(None, fallback=True)
        if loaded.info.labels.get("workflow_name") != workflow_name:
            raise damage
        return self.checkpoint(loaded)

    def checkpoint(self, loaded: LoadedCheckpoint) -> WorkflowCheckpoint:
        """The checkpoint of a payload.

        Raises:
            WorkflowCheckpointException: it holds what may not be restored, or stands for one that could not be saved.

        """
        if unsaved.is_entry(loaded.info):
            self._entered(loaded.info.labels["workflow_name"])
            raise unsaved.error_of(loaded)
        return self._contents.checkpoint(loaded)

    async def _newest(self, workflow_name: str) -> list[Checkpoint]:
        """The checkpoints of a workflow's name among which the latest is, newest first."""
        found: list[Checkpoint] = []
        newest = datetime.min.replace(tzinfo=UTC) + _CLOCKS_APART
        async for info in self.listed(workflow_name):
            # Nothing is saved before it is made.
            if not self._fallback and info.created < newest - _CLOCKS_APART:
                break
            found.append(info)
            newest = max(newest, timestamp(info))
        return found

    async def listed(self, workflow_name: str) -> AsyncIterator[Checkpoint]:
        """The checkpoints of a workflow's name, newest first."""
        labels = {"workflow_name": name_of(workflow_name)}
        try:
            async for info in self._client.list(
                self._namespace, self._workflow_id, labels=labels, strict=not self._fallback
            ):
                yield info
        except WorkflowNotFoundError:
            return

    async def load(self, holdfast_checkpoint_id: str | None, *, fallback: bool = False) -> LoadedCheckpoint:
        """Load a payload; None: the newest one."""
        loaded = await self._client.load(
            self._namespace, self._workflow_id, holdfast_checkpoint_id, accepted_formats=_ACCEPTED, fallback=fallback
        )
        for each in loaded.skipped:
            _logger.warning("passed over checkpoint %s: %s", each.checkpoint_id, each.message)
        return loaded

    def _pass_over(self, info: Checkpoint, error: CheckpointCorruptedError) -> None:
        if not self._fallback:
            raise error
        _logger.warning("passed over checkpoint %s: %s", info.checkpoint_id, error)

    async def newest_revision(self) -> int:
        """The revision of the newest checkpoint, passing over what stands for those that could not be saved."""
        async for info in self._client.list(self._namespace, self._workflow_id, strict=not self._fallback, page_size=2):
            if not unsaved.is_entry(info):
                return info.revision
        return 0


def _unreadable(info: Checkpoint, error: Exception) -> WorkflowCheckpoint:
    known = {
        "workflow_name": info.labels["workflow_name"],
        "checkpoint_id": id_in(info),
        "timestamp": timestamp(info).isoformat(),
    }
    found: WorkflowCheckpoint = unreadable(WorkflowCheckpoint, error, **known)
    return found
