"""Burr's state persisters over Holdfast: each step of an application is a checkpoint.

An application, which Burr names by partition key and app id, is a workflow; its sequence id is the checkpoint's id, so
that of two processes which run the same application only one saves each step. The payload is what Burr itself
serialises a state to, as JSON. Burr decides what is saved and when, and its serde what becomes of a value.
"""

import json
import operator
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, Self, TypeAlias

from burr.core.persistence import AsyncBaseStatePersister, BaseStatePersister, PersistedStateData
from burr.core.state import State

from holdfast.adapters.ids import WORKFLOW_BYTES, joined, split
from holdfast.checkpoint import AcceptedFormat, Format, LoadedCheckpoint, Validation, WorkflowInfo
from holdfast.client import AsyncClient
from holdfast.errors import (
    CheckpointDeletedError,
    CheckpointIdReusedError,
    CheckpointNotFoundError,
    WorkflowNotFoundError,
)
from holdfast.sync.client import Client

FORMAT = Format("burr-state", 1)

_Key: TypeAlias = str | None
_Status: TypeAlias = Literal["completed", "failed"]
_Serde: TypeAlias = dict[str, Any] | None

_ACCEPTED = AcceptedFormat(FORMAT.name, FORMAT.version, FORMAT.version)
_SEQUENCE, _POSITION, _STATUS = "sequence_id", "position", "status"
_NOT_FOUND = (CheckpointNotFoundError, CheckpointDeletedError, WorkflowNotFoundError)


def workflow_id(partition_key: _Key, app_id: str) -> str:
    """The workflow that holds an application, for the calls of a client: validate, delete_workflow and the others.

    Args:
        partition_key: the partition key; None is the same as "".
        app_id: the application's id.

    Raises:
        TypeError: one of them is no string.
        ValueError: both are too long together, or hold what is no text.

    """
    ids = {"partition_key": "" if partition_key is None else partition_key, "app_id": app_id}
    for name, given in ids.items():
        if not isinstance(given, str):
            raise TypeError(f"{name} must be a string, not {type(given).__name__}")
    found = joined(*ids.values())
    size = len(found.encode())
    if size > WORKFLOW_BYTES:
        raise ValueError(f"partition_key and app_id have {size} bytes together, the limit is {WORKFLOW_BYTES}")
    return found


class _Persister:
    """What both persisters share. They need no initialisation.

    Args:
        client: the client; it stays the caller's.
        namespace: the namespace, which should hold nothing but Burr's applications.
        fallback: where an application's newest state is damaged, load the newest one that is whole; else
            CheckpointCorruptedError is raised.
        serde_kwargs: passed on to Burr's serialisation of states.

    """

    def __init__(self, client: Any, *, namespace: str, fallback: bool = False, serde_kwargs: _Serde = None) -> None:
        self._client = client
        self._namespace = namespace
        self._fallback = fallback
        # A step that an operator deleted may be done again, and one whose loss the caller has agreed to.
        self._replaceable = {"CHECKPOINT_DELETED"} | ({"CHECKPOINT_CORRUPTED"} if fallback else set())
        self._serde = serde_kwargs or {}

    def _described(  # noqa: PLR0917 - as Burr has them
        self, partition_key: _Key, app_id: str, step: str, position: str, state: State[Any], status: _Status
    ) -> dict[str, Any]:
        """What is said to the client of a state."""
        if status not in ("completed", "failed"):
            raise ValueError(f'status must be "completed" or "failed", not {status!r}')
        return {
            "namespace": self._namespace,
            "workflow_id": workflow_id(partition_key, app_id),
            "data": json.dumps(state.serialize(**self._serde)).encode(),
            "format": FORMAT,
            "labels": {_SEQUENCE: step, _POSITION: position, _STATUS: status},
        }

    def _state(self, loaded: LoadedCheckpoint, partition_key: _Key, app_id: str) -> PersistedStateData:
        """A checkpoint as Burr has it."""
        labels = loaded.info.labels
        return PersistedStateData(
            partition_key=partition_key or "",
            app_id=app_id,
            sequence_id=int(labels[_SEQUENCE]),
            position=labels[_POSITION],
            state=State.deserialize(json.loads(loaded.data), **self._serde),
            created_at=loaded.info.created.isoformat(),
            status=labels[_STATUS],
        )

    def _may_replace(self, found: Validation) -> bool:
        """Whether what has a step's id already may be replaced."""
        return any(each.reason in self._replaceable for each in found.findings[:1])

    def _which(self, sequence_id: int | None) -> dict[str, Any]:
        """What is said to the client of the state that is wanted."""
        if sequence_id is None:
            return {"accepted_formats": [_ACCEPTED], "fallback": self._fallback}
        return {"accepted_formats": [_ACCEPTED], "checkpoint_id": _step_id(sequence_id)}


class AsyncHoldfastPersister(_Persister, AsyncBaseStatePersister):
    """Saves and loads the state of asynchronous Burr applications, by an AsyncClient."""

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls, target: str, *, namespace: str, fallback: bool = False, serde_kwargs: _Serde = None, **client_options: Any
    ) -> AsyncIterator[Self]:
        """A persister with a client of its own, which is closed at the end.

        Args:
            target: host:port, or any target that gRPC takes.
            namespace: as for the constructor.
            fallback: as for the constructor.
            serde_kwargs: as for the constructor.
            **client_options: what `AsyncClient` takes: timeout (seconds), retry, producer.

        """
        async with AsyncClient(target, **client_options) as client:
            yield cls(client, namespace=namespace, fallback=fallback, serde_kwargs=serde_kwargs)

    async def is_initialized(self) -> bool:
        return True

    async def save(  # noqa: PLR0917 - the signature is Burr's
        self,
        partition_key: _Key,
        app_id: str,
        sequence_id: int,
        position: str,
        state: State[Any],
        status: _Status,
        **_: Any,
    ) -> None:
        """Save the state behind a step. The same state again is no error.

        Raises:
            CheckpointIdReusedError: this step of the application was saved with other content; fork to go back.
            HoldfastError: a subclass for each other reason.
            TypeError: an id is of another type, or the state is no JSON.
            ValueError: the ids are too long, or the status is none that Burr knows.

        """
        step = _step_id(sequence_id)
        wanted = self._described(partition_key, app_id, step, position, state, status)
        conflict: CheckpointIdReusedError | None = None
        try:
            if not (await self._client.save(**wanted, checkpoint_id=step)).replayed:
                return
        except CheckpointIdReusedError as error:
            conflict = error
        if self._may_replace(await self._client.validate(self._namespace, wanted["workflow_id"], step)):
            await self._client.save(**wanted, checkpoint_id=step, replace=True)
        elif conflict is not None:
            raise conflict

    async def load(
        self, partition_key: _Key, app_id: str | None, sequence_id: int | None = None, **_: Any
    ) -> PersistedStateData | None:
        """Load the state behind a step.

        Args:
            partition_key: the partition key; None is the same as "".
            app_id: the application; None for the one of the partition that was saved last.
            sequence_id: the step; None for the one that was saved last.
            **_: ignored.

        Returns:
            The state, or None where there is none.

        Raises:
            CheckpointCorruptedError: it is damaged.
            FormatIncompatibleError: another version of this adapter wrote it.
            HoldfastError: a subclass for each other reason.
            TypeError: an id is of another type.
            ValueError: the ids are too long, or a step is asked for without its application.

        """
        if app_id is None:
            _require_newest(sequence_id)
            for each in await self.list_app_ids(partition_key):
                if (found := await self.load(partition_key, each)) is not None:
                    return found
            return None
        workflow = workflow_id(partition_key, app_id)
        try:
            loaded = await self._client.load(self._namespace, workflow, **self._which(sequence_id))
        except _NOT_FOUND:
            return None
        return self._state(loaded, partition_key, app_id)

    async def list_app_ids(self, partition_key: _Key, **_: Any) -> list[str]:
        """The applications of a partition, the one that was saved last first.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        found = self._client.list_workflows(self._namespace, prefix=workflow_id(partition_key, ""))
        return _app_ids([each async for each in found])


class HoldfastPersister(_Persister, BaseStatePersister):
    """Saves and loads the state of Burr applications, by a Client. Threads may share it."""

    @classmethod
    @contextmanager
    def from_target(
        cls, target: str, *, namespace: str, fallback: bool = False, serde_kwargs: _Serde = None, **client_options: Any
    ) -> Iterator[Self]:
        """A persister with a client of its own, as `AsyncHoldfastPersister.from_target`."""
        with Client(target, **client_options) as client:
            yield cls(client, namespace=namespace, fallback=fallback, serde_kwargs=serde_kwargs)

    def is_initialized(self) -> bool:
        return True

    def save(  # noqa: PLR0917 - the signature is Burr's
        self,
        partition_key: _Key,
        app_id: str,
        sequence_id: int,
        position: str,
        state: State[Any],
        status: _Status,
        **_: Any,
    ) -> None:
        """Save the state behind a step; as `AsyncHoldfastPersister.save`, also in what it raises."""
        step = _step_id(sequence_id)
        wanted = self._described(partition_key, app_id, step, position, state, status)
        conflict: CheckpointIdReusedError | None = None
        try:
            if not self._client.save(**wanted, checkpoint_id=step).replayed:
                return
        except CheckpointIdReusedError as error:
            conflict = error
        if self._may_replace(self._client.validate(self._namespace, wanted["workflow_id"], step)):
            self._client.save(**wanted, checkpoint_id=step, replace=True)
        elif conflict is not None:
            raise conflict

    def load(
        self, partition_key: _Key, app_id: str | None, sequence_id: int | None = None, **_: Any
    ) -> PersistedStateData | None:
        """Load the state behind a step; as `AsyncHoldfastPersister.load`, also in what it raises."""
        if app_id is None:
            _require_newest(sequence_id)
            loads = (self.load(partition_key, each) for each in self.list_app_ids(partition_key))
            return next((each for each in loads if each is not None), None)
        workflow = workflow_id(partition_key, app_id)
        try:
            loaded = self._client.load(self._namespace, workflow, **self._which(sequence_id))
        except _NOT_FOUND:
            return None
        return self._state(loaded, partition_key, app_id)

    def list_app_ids(self, partition_key: _Key, **_: Any) -> list[str]:
        """The applications of a partition; as `AsyncHoldfastPersister.list_app_ids`, also in what it raises."""
        return _app_ids(self._client.list_workflows(self._namespace, prefix=workflow_id(partition_key, "")))


def _step_id(sequence_id: int) -> str:
    try:
        return str(operator.index(sequence_id))
    except TypeError:
        raise TypeError(f"sequence_id must be an integer, not {type(sequence_id).__name__}") from None


def _require_newest(sequence_id: int | None) -> None:
    if sequence_id is not None:
        raise ValueError("a sequence_id says nothing without an app_id")


def _app_ids(workflows: Iterable[WorkflowInfo]) -> list[str]:
    found = sorted(
        (each for each in workflows if each.checkpoint_revision), key=lambda each: each.updated, reverse=True
    )
    return [split(each.workflow_id)[1] for each in found]
