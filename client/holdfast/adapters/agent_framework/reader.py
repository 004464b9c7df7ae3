"""Find, load and list the checkpoints of a storage."""

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
    HoldfastError,
    WorkflowNotFoundError,
    of_reason,
)
from holdfast.adapters.agent_framework import unsaved
from holdfast.adapters.agent_framework.contents import FORMAT, Contents, id_in, name_of, timestamp
from holdfast.adapters.histories import newest_first
from holdfast.adapters.unreadable import unreadable

_ACCEPTED = tuple(AcceptedFormat(known.name, 1, known.version) for known in (FORMAT, unsaved.FORMAT))
_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)
# The largest difference between the clocks of two writers.
_CLOCK_SKEW = timedelta(minutes=5)

_logger = logging.getLogger(__name__)


class Reader:
    """A reader of a storage's checkpoints.

    Args:
        client: an open client.
        namespace: the namespace.
        workflow_id: the storage's workflow.
        contents: the codec of payloads.
        fallback: skip damaged checkpoints.
        on_notice: called with the name of a workflow for which the store contains a notice of an unsaved checkpoint.

    """

    def __init__(
        self,
        client: AsyncClient,
        namespace: str,
        workflow_id: str,
        contents: Contents,
        *,
        fallback: bool,
        on_notice: Callable[[str], None],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self._contents = contents
        self._fallback = fallback
        self._on_notice = on_notice

    async def all(self, workflow_name: str) -> list[WorkflowCheckpoint]:
        """Return the checkpoints of a workflow's name, in the order in which they were saved.

        An `Unreadable` takes the place of a checkpoint that cannot be read.

        Raises:
            CheckpointCorruptedError: damage hides which checkpoints exist, and `fallback` is not set.
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
        """Return the checkpoint with the latest timestamp of a workflow's name; None if none exists.

        Raises:
            WorkflowCheckpointException: it cannot be restored, or is a notice.
            CheckpointCorruptedError: it is damaged, and `fallback` is not set or finds no older one.
            HoldfastError: a subclass for each other reason.

        """
        absent: list[str] = []
        try:
            # If all that were listed are deleted by now, older ones may still exist.
            while infos := await self._newest(workflow_name):
                listed = [each.checkpoint_id for each in infos]
                if listed == absent:
                    raise _listed_only(listed[0])
                absent = listed
                found = await self._first_whole(sorted(infos, key=timestamp, reverse=True))
                if found is not None:
                    return found
        except CheckpointCorruptedError as error:
            if not self._fallback:
                raise
            return await self._before_damage(workflow_name, error)
        return None

    async def _first_whole(self, infos: Iterable[Checkpoint]) -> WorkflowCheckpoint | None:
        """Return the first checkpoint that is whole; None if all of them are deleted by now.

        Raises:
            CheckpointCorruptedError: the first that still exists is damaged, and `fallback` is not set or finds no
                other one.

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

    async def _before_damage(self, workflow_name: str, damage: CheckpointCorruptedError) -> WorkflowCheckpoint:
        """Return the newest checkpoint that is whole, from a log that cannot be listed because a marker is damaged."""
        loaded = await self.load(None, fallback=True)
        if loaded.info.labels.get("workflow_name") != workflow_name:
            raise damage
        return self.checkpoint(loaded)

    def checkpoint(self, loaded: LoadedCheckpoint) -> WorkflowCheckpoint:
        """Return the checkpoint of a payload.

        Raises:
            WorkflowCheckpointException: it cannot be restored, or is a notice.

        """
        if unsaved.is_notice(loaded.info):
            self._on_notice(loaded.info.labels["workflow_name"])
            raise unsaved.error_of(loaded)
        return self._contents.checkpoint(loaded)

    async def _newest(self, workflow_name: str) -> list[Checkpoint]:
        """Return the newest checkpoints of a workflow's name, among which is the one with the latest timestamp."""
        found: list[Checkpoint] = []
        newest = datetime.min.replace(tzinfo=UTC) + _CLOCK_SKEW
        async for info in self.listed(workflow_name):
            # No checkpoint is saved before its timestamp, so this one and all older ones have earlier timestamps.
            if not self._fallback and info.created < newest - _CLOCK_SKEW:
                break
            found.append(info)
            newest = max(newest, timestamp(info))
        return found

    async def listed(self, workflow_name: str) -> AsyncIterator[Checkpoint]:
        """Iterate over the checkpoints of a workflow's name, newest first.

        Raises:
            CheckpointCorruptedError: damage hides which checkpoints exist, and `fallback` is not set.
            HoldfastError: a subclass for each other reason.

        """
        labels = {"workflow_name": name_of(workflow_name)}
        try:
            async for info in self._client.list(
                self._namespace, self._workflow_id, labels=labels, strict=not self._fallback
            ):
                yield info
        except WorkflowNotFoundError:
            return

    async def load(self, holdfast_checkpoint_id: str | None, *, fallback: bool = False) -> LoadedCheckpoint:
        """Load a payload.

        Args:
            holdfast_checkpoint_id: the checkpoint id; None for the newest checkpoint.
            fallback: if it is damaged, load the newest older one that is whole.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        loaded = await self._client.load(
            self._namespace, self._workflow_id, holdfast_checkpoint_id, accepted_formats=_ACCEPTED, fallback=fallback
        )
        for skipped in loaded.skipped:
            _logger.warning("skipped checkpoint %s: %s", skipped.checkpoint_id, skipped.message)
        return loaded

    def _pass_over(self, info: Checkpoint, error: CheckpointCorruptedError) -> None:
        if not self._fallback:
            raise error
        _logger.warning("skipped checkpoint %s: %s", info.checkpoint_id, error)

    async def newest_revision(self) -> int:
        """Return the revision of the newest checkpoint that is not a notice; 0 if none exists.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        async for info in self._client.list(self._namespace, self._workflow_id, strict=not self._fallback, page_size=2):
            if not unsaved.is_notice(info):
                return info.revision
        return 0


def _listed_only(checkpoint_id: str) -> HoldfastError:
    return of_reason(
        "CHECKPOINT_CORRUPTED",
        f"checkpoint {checkpoint_id!r} is listed, and is not found by its id",
        metadata={"checkpoint_id": checkpoint_id},
    )


def _unreadable(info: Checkpoint, error: Exception) -> WorkflowCheckpoint:
    known = {
        "workflow_name": info.labels["workflow_name"],
        "checkpoint_id": id_in(info),
        "timestamp": timestamp(info).isoformat(),
    }
    found: WorkflowCheckpoint = unreadable(WorkflowCheckpoint, error, **known)
    return found
