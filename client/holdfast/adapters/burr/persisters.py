"""The two persisters: Burr's interfaces, by an AsyncClient and by a Client."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, Self, TypeAlias

from burr.core.persistence import AsyncBaseStatePersister, BaseStatePersister, PersistedStateData
from burr.core.state import State

from holdfast._async.client import AsyncClient
from holdfast._sync.client import Client
from holdfast.adapters.burr.names import PartitionKey, app_ids, step_id, workflow_id
from holdfast.adapters.burr.states import POSITION, SEQUENCE, STATUS, States
from holdfast.adapters.burr.steps import AsyncSteps
from holdfast.adapters.burr.sync.steps import Steps
from holdfast.adapters.runs import Ownership, checked_ownership

_Status: TypeAlias = Literal["completed", "failed"]
_Serde: TypeAlias = dict[str, Any] | None


class AsyncHoldfastPersister(AsyncBaseStatePersister):
    """Saves and loads the state of asynchronous Burr applications, by an AsyncClient. Needs no initialisation.

    Args:
        client: the client; it stays the caller's.
        namespace: the namespace, which should hold nothing but Burr's applications.
        fallback: where an application's newest state is damaged, load the newest one that is whole; else
            CheckpointCorruptedError is raised.
        serde_kwargs: passed on to Burr's serialisation of states.
        allowed_classes: the pydantic models that states may hold, as classes or as "module.Class", and the names of
            Burr's other serde plugins that may be called for what a state holds, such as "lc_message".
        ownership: "exclusive": a run saves only while nobody else has saved since it began. "shared": a step that
            another process has saved with the same content is done.

    Raises:
        TypeError: `allowed_classes` holds what is neither a class nor text.
        ValueError: `ownership` is neither.

    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str,
        fallback: bool = False,
        serde_kwargs: _Serde = None,
        allowed_classes: Iterable[type | str] = (),
        ownership: Ownership = "exclusive",
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._states = States(serde_kwargs, allowed_classes)
        self._steps = AsyncSteps(client, namespace, fallback=fallback, ownership=checked_ownership(ownership))

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls,
        target: str,
        *,
        namespace: str,
        fallback: bool = False,
        serde_kwargs: _Serde = None,
        allowed_classes: Iterable[type | str] = (),
        ownership: Ownership = "exclusive",
        **client_options: Any,
    ) -> AsyncIterator[Self]:
        """A persister with a client of its own, which is closed at the end.

        Args:
            target: host:port, or any target that gRPC takes.
            namespace: as for the constructor.
            fallback: as for the constructor.
            serde_kwargs: as for the constructor.
            allowed_classes: as for the constructor.
            ownership: as for the constructor.
            **client_options: what `AsyncClient` takes: timeout (seconds), retry, producer.

        """
        async with AsyncClient(target, **client_options) as client:
            yield cls(
                client,
                namespace=namespace,
                fallback=fallback,
                serde_kwargs=serde_kwargs,
                allowed_classes=allowed_classes,
                ownership=ownership,
            )

    async def is_initialized(self) -> bool:
        return True

    async def save(  # noqa: PLR0917 - the signature is Burr's
        self,
        partition_key: PartitionKey,
        app_id: str,
        sequence_id: int,
        position: str,
        state: State[Any],
        status: _Status,
        **_: Any,
    ) -> None:
        """Save the state behind a step. The newest step again, with the same state, is no error.

        Raises:
            CheckpointIdReusedError: this step of the application was saved already, by another run or with other
                content; load the application to go on, or fork to go back.
            RevisionConflictError: another process has saved the application since this run began.
            HoldfastError: a subclass for each other reason.
            UnsavableValueError: a value of the state could not be loaded again. It is a TypeError and a ValueError.
            TypeError: an id is of another type.
            ValueError: the ids are too long, or the status is none that Burr knows.

        """
        labels = _labels(sequence_id, position, status)
        workflow = workflow_id(partition_key, app_id)
        await self._steps.save(workflow, labels[SEQUENCE], self._states.dumped(state), labels)

    async def load(
        self, partition_key: PartitionKey, app_id: str | None, sequence_id: int | None = None, **_: Any
    ) -> PersistedStateData | None:
        """Load the state behind a step. A run that saves further steps begins with it.

        Args:
            partition_key: the partition key; None is the same as "".
            app_id: the application; None for the one of the partition that was saved last.
            sequence_id: the step; None for the one that was saved last.
            **_: ignored.

        Returns:
            The state, or None where there is none.

        Raises:
            CheckpointCorruptedError: it is damaged.
            FormatIncompatibleError: another version of this adapter wrote it, or it holds a class that is not allowed.
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
        step = None if sequence_id is None else step_id(sequence_id)
        loaded = await self._steps.load(workflow_id(partition_key, app_id), step)
        return None if loaded is None else self._states.of(loaded, partition_key or "", app_id)

    async def list_app_ids(self, partition_key: PartitionKey, **_: Any) -> list[str]:
        """The applications of a partition, the one that was saved last first.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        found = self._client.list_workflows(self._namespace, prefix=workflow_id(partition_key, ""))
        return app_ids(partition_key, [each async for each in found])


class HoldfastPersister(BaseStatePersister):
    """Saves and loads the state of Burr applications, by a Client. Threads may share it.

    Its arguments are those of `AsyncHoldfastPersister`, and so are the errors of its methods.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        fallback: bool = False,
        serde_kwargs: _Serde = None,
        allowed_classes: Iterable[type | str] = (),
        ownership: Ownership = "exclusive",
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._states = States(serde_kwargs, allowed_classes)
        self._steps = Steps(client, namespace, fallback=fallback, ownership=checked_ownership(ownership))

    @classmethod
    @contextmanager
    def from_target(
        cls,
        target: str,
        *,
        namespace: str,
        fallback: bool = False,
        serde_kwargs: _Serde = None,
        allowed_classes: Iterable[type | str] = (),
        ownership: Ownership = "exclusive",
        **client_options: Any,
    ) -> Iterator[Self]:
        """A persister with a client of its own, as `AsyncHoldfastPersister.from_target`."""
        with Client(target, **client_options) as client:
            yield cls(
                client,
                namespace=namespace,
                fallback=fallback,
                serde_kwargs=serde_kwargs,
                allowed_classes=allowed_classes,
                ownership=ownership,
            )

    def is_initialized(self) -> bool:
        return True

    def save(  # noqa: PLR0917 - the signature is Burr's
        self,
        partition_key: PartitionKey,
        app_id: str,
        sequence_id: int,
        position: str,
        state: State[Any],
        status: _Status,
        **_: Any,
    ) -> None:
        """Save the state behind a step; as `AsyncHoldfastPersister.save`."""
        labels = _labels(sequence_id, position, status)
        workflow = workflow_id(partition_key, app_id)
        self._steps.save(workflow, labels[SEQUENCE], self._states.dumped(state), labels)

    def load(
        self, partition_key: PartitionKey, app_id: str | None, sequence_id: int | None = None, **_: Any
    ) -> PersistedStateData | None:
        """Load the state behind a step; as `AsyncHoldfastPersister.load`."""
        if app_id is None:
            _require_newest(sequence_id)
            loads = (self.load(partition_key, each) for each in self.list_app_ids(partition_key))
            return next((each for each in loads if each is not None), None)
        step = None if sequence_id is None else step_id(sequence_id)
        loaded = self._steps.load(workflow_id(partition_key, app_id), step)
        return None if loaded is None else self._states.of(loaded, partition_key or "", app_id)

    def list_app_ids(self, partition_key: PartitionKey, **_: Any) -> list[str]:
        """The applications of a partition; as `AsyncHoldfastPersister.list_app_ids`."""
        found = self._client.list_workflows(self._namespace, prefix=workflow_id(partition_key, ""))
        return app_ids(partition_key, found)


def _labels(sequence_id: int, position: str, status: _Status) -> dict[str, str]:
    """The labels of a step.

    Raises:
        TypeError: the sequence id is no integer.
        ValueError: the status is none that Burr's interface names. Burr begins an action again whose status is not
            "completed": one that is misspelt would make a completed action run twice.

    """
    if status not in ("completed", "failed"):
        raise ValueError(f'status must be "completed" or "failed", not {status!r:.100}')
    return {SEQUENCE: step_id(sequence_id), POSITION: position, STATUS: status}


def _require_newest(sequence_id: int | None) -> None:
    if sequence_id is not None:
        raise ValueError("a sequence_id says nothing without an app_id")
