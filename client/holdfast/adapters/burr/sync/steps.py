# Generated from holdfast/adapters/burr/steps.py by tools/async_to_sync.py; do not edit.
"""Save and load the steps of applications as checkpoints. Each step is saved once.

If the id of a step exists already, a save ends in the first of these ways that applies:
1. An earlier attempt of the same save has committed: it is done.
2. The step was deleted, or it is damaged and the caller chose fallback: it is replaced.
3. The step is the newest one and has the same content: it is done. With exclusive ownership, only if this process has
   saved it.
4. Another run of this process has saved the step since this run began. Burr's parallel actions do that when the
   application is started again while an earlier attempt is still running. An equal step is done, a failed step does
   not replace a completed one, and a completed step replaces a failed one.
5. Otherwise the step belongs to another run, and the save is refused.
"""

import secrets
from typing import Any

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
from holdfast._sync.client import Client
from holdfast.adapters.burr.states import FORMAT, STATUS
from holdfast.adapters.runs import Ownership, Run, Runs, overtaken_error

ACCEPTED = AcceptedFormat(FORMAT.name, FORMAT.version, FORMAT.version)
_NOT_FOUND = (CheckpointNotFoundError, CheckpointDeletedError, WorkflowNotFoundError)


class Steps:
    """The steps of the applications in a namespace.

    Args:
        client: the client.
        namespace: the namespace.
        fallback: whether a damaged newest step is answered with the newest step that is whole.
        ownership: whether a run must own its application.

    """

    def __init__(self, client: Client, namespace: str, *, fallback: bool, ownership: Ownership) -> None:
        self._client = client
        self._namespace = namespace
        self._fallback = fallback
        self._is_exclusive = ownership == "exclusive"
        self._replaceable = {"CHECKPOINT_DELETED"} | ({"CHECKPOINT_CORRUPTED"} if fallback else set())
        self._runs = Runs()
        # The request ids of this object's saves begin with it, which distinguishes its steps from those of others.
        self._request_prefix = f"burr-{secrets.token_hex(8)}-"

    def save(self, workflow_id: str, step: str, data: bytes, labels: dict[str, str]) -> None:
        """Save a step.

        Raises:
            CheckpointIdReusedError, RevisionConflictError: another run has saved the step, or steps after it.
            HoldfastError: a subclass for each other reason.

        """
        run = self._runs.of(workflow_id)
        request: dict[str, Any] = {
            "namespace": self._namespace,
            "workflow_id": workflow_id,
            "data": data,
            "format": FORMAT,
            "checkpoint_id": step,
            "labels": labels,
            "expected_revision": self._expected(run, step),
        }
        try:
            revision = self._save(request, run)
        except RevisionConflictError as error:
            # Another run of this process may have saved a step since. The ids of steps keep the two runs apart.
            newest = self._newest(workflow_id)
            if newest is None or not self._is_own(newest):
                raise
            revision = self._save({**request, "expected_revision": newest.revision}, run, cause=error)
        if run is None:
            run = self._runs.begin(workflow_id, 0)
        run.head, run.last_step = revision, int(step)

    def _save(self, request: dict[str, Any], run: Run | None, cause: HoldfastError | None = None) -> int:
        """Save a step, unless it was saved already. Return its revision."""
        conflict: CheckpointIdReusedError | None = None
        request_id = self._request_id()
        try:
            saved = self._client.save(**request, request_id=request_id)
            if not saved.replayed or saved.request_id == request_id:
                return saved.revision
        except CheckpointIdReusedError as error:
            conflict = error
        workflow_id, step = request["workflow_id"], request["checkpoint_id"]
        found = self._client.validate(self._namespace, workflow_id, step)
        if any(finding.reason in self._replaceable for finding in found.findings[:1]):
            replaced = self._client.save(**request, replace=True, request_id=self._request_id())
            return replaced.revision
        if found.checkpoint is None:
            raise conflict or _reused(workflow_id, step) from cause
        return self._resolve(request, found.checkpoint, run, conflict)

    def _resolve(
        self, request: dict[str, Any], stored: Checkpoint, run: Run | None, conflict: CheckpointIdReusedError | None
    ) -> int:
        """Decide about a step that exists already (cases 3 to 5). Return the revision that counts as saved.

        Args:
            request: the arguments of the save.
            stored: the step that exists.
            run: the run that saves; None if it never loaded.
            conflict: the error of the save if the stored step has other content.

        Raises:
            CheckpointIdReusedError, RevisionConflictError: the step belongs to another run.

        """
        workflow_id, step = stored.workflow_id, stored.checkpoint_id
        newest = self._newest(workflow_id)
        is_newest = newest is not None and newest.revision == stored.revision
        is_own = self._is_own(stored)
        if conflict is None and is_newest and (is_own or not self._is_exclusive):
            return stored.revision
        if run is not None and is_own and stored.revision > run.began and int(step) > _last_step(run):
            was_completed, is_completed = (
                labels.get(STATUS) == "completed" for labels in (stored.labels, request["labels"])
            )
            if conflict is None or (was_completed and not is_completed):
                return stored.revision
            if is_newest and is_completed and not was_completed:
                again = {**request, "expected_revision": stored.revision}
                return (self._client.save(**again, replace=True, request_id=self._request_id())).revision
        if self._is_exclusive and run is not None and not is_own and stored.revision > run.began:
            raise overtaken_error(workflow_id, run.began, stored.revision) from conflict
        raise conflict or _reused(workflow_id, step)

    def load(self, workflow_id: str, step: str | None) -> LoadedCheckpoint | None:
        """Load a step, or the newest one if `step` is None; None if it does not exist. A run begins from it.

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        options: dict[str, Any] = {"fallback": self._fallback} if step is None else {"checkpoint_id": step}
        try:
            loaded = self._client.load(self._namespace, workflow_id, accepted_formats=[ACCEPTED], **options)
        except _NOT_FOUND:
            if step is None:
                self._runs.begin(workflow_id, 0)
            return None
        self._runs.begin(workflow_id, loaded.head_revision or None)
        return loaded

    def _expected(self, run: Run | None, step: str) -> int | None:
        """Return the revision that a save requires; None if it requires none."""
        if not self._is_exclusive:
            return None
        if run is None:
            return 0 if step == "0" else None
        return run.head

    def _newest(self, workflow_id: str) -> Checkpoint | None:
        for newest in self._client.list(self._namespace, workflow_id, page_size=1):
            return newest
        return None

    def _is_own(self, stored: Checkpoint) -> bool:
        return stored.request_id.startswith(self._request_prefix)

    def _request_id(self) -> str:
        return self._request_prefix + secrets.token_hex(16)


def _last_step(run: Run) -> int:
    return -1 if run.last_step is None else run.last_step


def _reused(workflow_id: str, step: str) -> HoldfastError:
    return of_reason(
        "CHECKPOINT_ID_REUSED",
        f"step {step} of workflow {workflow_id!r} was saved by another run: load the application to continue, "
        "fork it, or delete the workflow to begin again",
        metadata={"checkpoint_id": step},
    )
