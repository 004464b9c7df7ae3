"""Steps of applications as checkpoints: each is saved once, and the newest is the newest.

A save that meets its step's id ends in one of these ways, in this order:
1. Its own earlier try had committed: it is done.
2. The step was deleted, or is damaged and the caller chose fallback: it is replaced.
3. The newest step is the same one with the same content: it is done, unless a run that owns the application alone
   meets a step that another process has saved.
4. Another run of this very process, which goes on after its application was begun again, has saved the step since
   this run began (Burr's parallel actions do that): an equal step is done, a failure gives way to a step that was
   completed, and a completed step takes the place of a failure.
5. Otherwise the step belongs to another run, and the save is refused.
"""

import secrets
from typing import Any

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, LoadedCheckpoint
from holdfast._core.errors import (
    CheckpointDeletedError,
    CheckpointIdReusedError,
    CheckpointNotFoundError,
    HoldfastError,
    RevisionConflictError,
    WorkflowNotFoundError,
    of_reason,
)
from holdfast.adapters.burr.states import FORMAT, STATUS
from holdfast.adapters.runs import Ownership, Run, Runs, overtaken_error

_ACCEPTED = AcceptedFormat(FORMAT.name, FORMAT.version, FORMAT.version)
_NOT_FOUND = (CheckpointNotFoundError, CheckpointDeletedError, WorkflowNotFoundError)


class AsyncSteps:
    """Saves and loads the steps of the applications in a namespace.

    Args:
        client: the client.
        namespace: the namespace.
        fallback: whether damage is answered with the newest step that is whole.
        ownership: whether a run owns its application alone.

    """

    def __init__(self, client: AsyncClient, namespace: str, *, fallback: bool, ownership: Ownership) -> None:
        self._client = client
        self._namespace = namespace
        self._fallback = fallback
        self._is_exclusive = ownership == "exclusive"
        self._replaceable = {"CHECKPOINT_DELETED"} | ({"CHECKPOINT_CORRUPTED"} if fallback else set())
        self._runs = Runs()
        # The request ids of this object's saves begin with it: they tell its own steps from those of others.
        self._mark = f"burr-{secrets.token_hex(8)}-"

    async def save(self, workflow_id: str, step: str, data: bytes, labels: dict[str, str]) -> None:
        """Save a step.

        Raises:
            CheckpointIdReusedError, RevisionConflictError: another run has saved it, or steps after it.
            HoldfastError: a subclass for each other reason.

        """
        run = self._runs.of(workflow_id)
        wanted: dict[str, Any] = {
            "namespace": self._namespace,
            "workflow_id": workflow_id,
            "data": data,
            "format": FORMAT,
            "checkpoint_id": step,
            "labels": labels,
            "expected_revision": self._expected(run, step),
        }
        try:
            revision = await self._saved(wanted, run)
        except RevisionConflictError as error:
            # Another run of this process may have saved a step since; the ids of steps keep the two apart.
            newest = await self._newest(workflow_id)
            if newest is None or not self._is_own(newest):
                raise
            revision = await self._saved({**wanted, "expected_revision": newest.revision}, run, cause=error)
        if run is None:
            run = self._runs.begin(workflow_id, 0)
        run.head, run.last_step = revision, int(step)

    async def _saved(self, wanted: dict[str, Any], run: Run | None, cause: HoldfastError | None = None) -> int:
        """The revision of a step that is saved now, or was already."""
        conflict: CheckpointIdReusedError | None = None
        request_id = self._request_id()
        try:
            saved = await self._client.save(**wanted, request_id=request_id)
            if not saved.replayed or saved.request_id == request_id:
                return saved.revision
        except CheckpointIdReusedError as error:
            conflict = error
        workflow_id, step = wanted["workflow_id"], wanted["checkpoint_id"]
        found = await self._client.validate(self._namespace, workflow_id, step)
        if any(each.reason in self._replaceable for each in found.findings[:1]):
            replaced = await self._client.save(**wanted, replace=True, request_id=self._request_id())
            return replaced.revision
        if found.checkpoint is None:
            raise conflict or _reused(workflow_id, step) from cause
        return await self._met(wanted, found.checkpoint, run, conflict)

    async def _met(
        self, wanted: dict[str, Any], stored: Checkpoint, run: Run | None, conflict: CheckpointIdReusedError | None
    ) -> int:
        """The revision of a step that stands already, if it may stand for the one that was to be saved."""
        workflow_id, step = stored.workflow_id, stored.checkpoint_id
        newest = await self._newest(workflow_id)
        is_newest = newest is not None and newest.revision == stored.revision
        is_own = self._is_own(stored)
        if conflict is None and is_newest and (is_own or not self._is_exclusive):
            return stored.revision
        if run is not None and is_own and stored.revision > run.began and int(step) > _last(run):
            if conflict is None or stored.labels.get(STATUS) == "completed" != wanted["labels"][STATUS]:
                return stored.revision
            if is_newest and stored.labels.get(STATUS) != "completed" == wanted["labels"][STATUS]:
                again = {**wanted, "expected_revision": stored.revision}
                return (await self._client.save(**again, replace=True, request_id=self._request_id())).revision
        if self._is_exclusive and run is not None and not is_own and stored.revision > run.began:
            raise overtaken_error(workflow_id, run.began, stored.revision) from conflict
        raise conflict or _reused(workflow_id, step)

    async def load(self, workflow_id: str, step: str | None) -> LoadedCheckpoint | None:
        """Load a step, or the newest one; None if there is none. A run begins from it."""
        wanted: dict[str, Any] = {"fallback": self._fallback} if step is None else {"checkpoint_id": step}
        try:
            loaded = await self._client.load(self._namespace, workflow_id, accepted_formats=[_ACCEPTED], **wanted)
        except _NOT_FOUND:
            if step is None:
                self._runs.begin(workflow_id, 0)
            return None
        self._runs.begin(workflow_id, loaded.head_revision or None)
        return loaded

    def _expected(self, run: Run | None, step: str) -> int | None:
        """The revision that a save requires."""
        if not self._is_exclusive:
            return None
        if run is None:
            return 0 if step == "0" else None
        return run.head

    async def _newest(self, workflow_id: str) -> Checkpoint | None:
        async for each in self._client.list(self._namespace, workflow_id, page_size=1):
            return each
        return None

    def _is_own(self, stored: Checkpoint) -> bool:
        return stored.request_id.startswith(self._mark)

    def _request_id(self) -> str:
        return self._mark + secrets.token_hex(16)


def _last(run: Run) -> int:
    return -1 if run.last_step is None else run.last_step


def _reused(workflow_id: str, step: str) -> HoldfastError:
    return of_reason(
        "CHECKPOINT_ID_REUSED",
        f"step {step} of workflow {workflow_id!r} was saved by another run: load the application to go on, "
        "fork it, or delete the workflow to begin again",
        metadata={"checkpoint_id": step},
    )
