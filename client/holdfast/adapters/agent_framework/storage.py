"""Workflows of Microsoft Agent Framework that keep their checkpoints in Holdfast.

A storage is one workflow of Holdfast, with a log of its own: best one for each run, since what the engine calls the
latest checkpoint is the latest of a workflow's definition, whoever ran it. The engine's own stores pickle; here a
checkpoint is JSON, and only classes that are allowed are written or restored.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from agent_framework import WorkflowCheckpoint
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast.adapters import runs
from holdfast.adapters.agent_framework import unsaved
from holdfast.adapters.agent_framework.contents import FORMAT, Contents, id_of, name_of, timestamp
from holdfast.adapters.agent_framework.ownership import Owner
from holdfast.adapters.agent_framework.saves import Saves
from holdfast.adapters.histories import newest_first
from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id
from holdfast.adapters.runs import Ownership
from holdfast.adapters.unreadable import unreadable
from holdfast.checkpoint import AcceptedFormat, Checkpoint, LoadedCheckpoint
from holdfast.client import AsyncClient
from holdfast.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointNotFoundError,
    FormatIncompatibleError,
    WorkflowNotFoundError,
)

_ACCEPTED = tuple(AcceptedFormat(each.name, 1, each.version) for each in (FORMAT, unsaved.FORMAT))
_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)
# How far the clocks of two writers may be apart.
_CLOCKS_APART = timedelta(minutes=5)

_logger = logging.getLogger(__name__)


class HoldfastCheckpointStorage:
    """A `CheckpointStorage`.

    Args:
        client: an open client, which stays the caller's.
        namespace: where the checkpoints are kept.
        workflow_id: the run, or whatever else has its checkpoints together.
        fallback: answer a damaged checkpoint with the newest older one that is whole, as its id tells. Off, damage is
            an error.
        allowed_checkpoint_types: the application's own classes that a checkpoint may hold, as "module:qualname"; those
            given to `agent_framework.register_checkpoint_type`, and the engine's own, need no mention.
        ownership: "exclusive": a run saves only while what it began from is still the newest checkpoint of the
            storage, and a process that was overtaken is refused; "shared": any process may save at any time.

    Raises:
        ValueError: the workflow's id is empty, or the ownership is none.

    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str = "default",
        workflow_id: str = "checkpoints",
        fallback: bool = False,
        allowed_checkpoint_types: Iterable[str] = (),
        ownership: Ownership = "shared",
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = holdfast_id(workflow_id, WORKFLOW_BYTES)
        self._fallback = fallback
        self._contents = Contents(frozenset(allowed_checkpoint_types))
        is_exclusive = runs.checked(ownership) == "exclusive"
        self._owner = Owner(client, namespace, self._workflow_id) if is_exclusive else None
        self._saves = Saves(client, namespace, self._workflow_id, self._contents, self._owner)

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls,
        target: str,
        *,
        namespace: str = "default",
        workflow_id: str = "checkpoints",
        fallback: bool = False,
        allowed_checkpoint_types: Iterable[str] = (),
        ownership: Ownership = "shared",
        **client_options: Any,
    ) -> AsyncIterator[Self]:
        """A storage with a client of its own, which is closed with the block.

        Args:
            target: host:port, or any target that gRPC takes.
            namespace: as for the class, like the next four.
            workflow_id: the run.
            fallback: answer damage with an older checkpoint.
            allowed_checkpoint_types: the application's own classes.
            ownership: whether a run owns the storage.
            client_options: what `holdfast.AsyncClient` takes.

        """
        async with AsyncClient(target, **client_options) as client:
            yield cls(
                client,
                namespace=namespace,
                workflow_id=workflow_id,
                fallback=fallback,
                allowed_checkpoint_types=allowed_checkpoint_types,
                ownership=ownership,
            )

    async def save(self, checkpoint: WorkflowCheckpoint) -> str:
        """Save a checkpoint under its id, as it is now. Returns the id.

        The engine logs what is raised here, and goes on. Until a later checkpoint of the workflow's name is saved,
        `get_latest` therefore raises that this one is missing, in any process if the store could be told of it.

        Raises:
            WorkflowCheckpointException: it holds what cannot be restored, or its id, timestamp or name is none.
            WriterFencedError, RevisionConflictError: with exclusive ownership, another process has saved since this
                run began, or owns the storage; nothing was stored.
            CheckpointIdReusedError: the id belongs to a checkpoint with other content, or to a deleted one.
            HoldfastError: a subclass for each other reason.

        """
        previous = checkpoint.previous_checkpoint_id
        if self._owner is not None and isinstance(previous, str) and previous and not self._owner.knows(previous):
            await self._loaded_by_id(previous)
        await self._saves.save(checkpoint)
        return checkpoint.checkpoint_id

    async def load(self, checkpoint_id: str) -> WorkflowCheckpoint:
        """The checkpoint of an id; with `fallback`, an older one where it is damaged.

        Raises:
            WorkflowCheckpointException: there is none, or it holds what may not be restored.
            CheckpointCorruptedError: it is damaged, and `fallback` is off or finds nothing.
            HoldfastError: a subclass for each other reason.

        """
        found = self._read(await self._loaded_by_id(checkpoint_id))
        if self._owner is not None:
            self._owner.begin()
        self._saves.chosen(found.workflow_name)
        return found

    async def _loaded_by_id(self, checkpoint_id: str) -> LoadedCheckpoint:
        head = await self._head()
        try:
            loaded = await self._loaded(id_of(checkpoint_id), fallback=self._fallback)
        except _ABSENT as error:
            raise WorkflowCheckpointException(f"No checkpoint found with ID {checkpoint_id}") from error
        if self._owner is not None and head is not None:
            if head[1] > loaded.info.revision:
                head = head[0], await self._newest_revision()
            self._owner.found(loaded.info.labels["checkpoint_id"], loaded.info.revision, head)
        return loaded

    async def _newest_revision(self) -> int:
        """The revision of the newest checkpoint, passing over what stands for those that could not be saved."""
        async for info in self._client.list(self._namespace, self._workflow_id, strict=not self._fallback, page_size=2):
            if not unsaved.is_entry(info):
                return info.revision
        return 0

    async def _head(self) -> tuple[int, int] | None:
        """The head of the log, where ownership rests on it."""
        return None if self._owner is None else await self._owner.head()

    async def list_checkpoints(self, *, workflow_name: str) -> list[WorkflowCheckpoint]:
        """The checkpoints of a workflow's name, in the order in which they were saved.

        One that cannot be read, or could not be saved, is an `Unreadable` in its place: its id, name and timestamp
        are known, and reading anything else of it raises why. With `fallback`, damaged ones are left out.

        Raises:
            CheckpointCorruptedError: damage hides which checkpoints there are, and `fallback` is off.
            HoldfastError: a subclass for each other reason.

        """
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
                found.append(self._read(loaded or await self._loaded(info.checkpoint_id)))
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

    async def list_checkpoint_ids(self, *, workflow_name: str) -> list[str]:
        """The ids of a workflow's name, in the order in which they were saved.

        Raises:
            WorkflowCheckpointException: the name is none.
            HoldfastError: a subclass for each reason.

        """
        infos = [info async for info in self._listed(workflow_name) if not unsaved.is_entry(info)]
        return [info.labels["checkpoint_id"] for info in reversed(infos)]

    async def delete(self, checkpoint_id: str) -> bool:
        """Delete a checkpoint. Returns whether there was one.

        Raises:
            WorkflowCheckpointException: the id is none.
            HoldfastError: a subclass for each reason.

        """
        return await self._delete(id_of(checkpoint_id))

    async def _delete(self, holdfast_checkpoint_id: str) -> bool:
        try:
            await self._client.delete(self._namespace, self._workflow_id, holdfast_checkpoint_id)
        except _ABSENT:
            return False
        return True

    async def get_latest(self, *, workflow_name: str) -> WorkflowCheckpoint | None:
        """The checkpoint with the latest timestamp of a workflow's name; None where there is none.

        Raises:
            WorkflowCheckpointException: it holds what may not be restored, or a later one could not be saved.
            CheckpointCorruptedError: it is damaged, and `fallback` is off or finds nothing.
            HoldfastError: a subclass for each other reason.

        """
        head = await self._head()
        found = await self._latest(workflow_name)
        self._saves.require_saved(workflow_name)
        if self._owner is not None and head is not None:
            if found is None:
                self._owner.found(None, head[1], head)
            else:
                await self._loaded_by_id(found.checkpoint_id)
        return found

    async def _latest(self, workflow_name: str) -> WorkflowCheckpoint | None:
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
                return self._read(await self._loaded(info.checkpoint_id))
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
        loaded = await self._loaded(None, fallback=True)
        if loaded.info.labels.get("workflow_name") != workflow_name:
            raise damage
        return self._read(loaded)

    def _read(self, loaded: LoadedCheckpoint) -> WorkflowCheckpoint:
        if unsaved.is_entry(loaded.info):
            self._saves.entered(loaded.info.labels["workflow_name"])
            raise unsaved.error_of(loaded)
        return self._contents.checkpoint(loaded)

    async def _newest(self, workflow_name: str) -> list[Checkpoint]:
        """The checkpoints of a workflow's name among which the latest is, newest first."""
        found: list[Checkpoint] = []
        newest = datetime.min.replace(tzinfo=UTC) + _CLOCKS_APART
        async for info in self._listed(workflow_name):
            # Nothing is saved before it is made.
            if not self._fallback and info.created < newest - _CLOCKS_APART:
                break
            found.append(info)
            newest = max(newest, timestamp(info))
        return found

    async def _listed(self, workflow_name: str) -> AsyncIterator[Checkpoint]:
        """The checkpoints of a workflow's name, newest first."""
        labels = {"workflow_name": name_of(workflow_name)}
        try:
            async for info in self._client.list(
                self._namespace, self._workflow_id, labels=labels, strict=not self._fallback
            ):
                yield info
        except WorkflowNotFoundError:
            return

    async def _loaded(self, holdfast_checkpoint_id: str | None, *, fallback: bool = False) -> LoadedCheckpoint:
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


def _unreadable(info: Checkpoint, error: Exception) -> WorkflowCheckpoint:
    labels = info.labels
    known = {name: labels.get(name, "") for name in ("workflow_name", "checkpoint_id", "timestamp")}
    return unreadable(WorkflowCheckpoint, error, **known)
