"""The two persisters, which implement Burr's interfaces with an AsyncClient and with a Client."""

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from burr.core.persistence import AsyncBaseStatePersister, BaseStatePersister, PersistedStateData
from burr.core.state import State

from holdfast._async.client import AsyncClient
from holdfast._sync.client import Client
from holdfast.adapters.burr.names import PartitionKey, app_ids, step_id, workflow_id
from holdfast.adapters.burr.states import POSITION, SEQUENCE, STATUS, States
from holdfast.adapters.burr.steps import AsyncSteps
from holdfast.adapters.burr.sync.steps import Steps
from holdfast.adapters.from_target import AsyncFromTarget, FromTarget
from holdfast.adapters.runs import Ownership, checked_ownership

_Status: TypeAlias = Literal["completed", "failed"]
_Serde: TypeAlias = dict[str, Any] | None


class AsyncHoldfastPersister(AsyncFromTarget, AsyncBaseStatePersister):
    """A persister for asynchronous Burr applications. It needs no initialisation.

    Args:
        client: an open client, which the caller closes.
        namespace: the namespace, which should contain only Burr's applications.
        fallback: load the newest state that is whole if an application's newest state is damaged; otherwise raise
            CheckpointCorruptedError.
        serde_kwargs: passed on to Burr's serialisation of states.
        allowed_classes: the pydantic models that states may contain, as classes or as "module.Class", and the names of
            Burr's other serde plugins that may be called for a state, such as "lc_message".
        ownership: "exclusive": a save is refused if another process has saved since the run began. "shared": a step
            that another process has saved with the same content counts as saved.

    Raises:
        TypeError: an element of `allowed_classes` is neither a class nor text.
        ValueError: `ownership` is neither "shared" nor "exclusive".

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

    async def is_initialized(self) -> bool:
        """Return True: nothing has to be initialised."""
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
        """Save the state after a step. Saving the newest step again with the same state is not an error.

        Args:
            partition_key: the partition key; None is the same as "".
            app_id: the application.
            sequence_id: the number of the step.
            position: the name of the action.
            state: the state.
            status: "completed" or "failed".
            **_: ignored.

        Raises:
            CheckpointIdReusedError: another run has saved this step, or this run has saved it with other content. Load
                the application to continue, or fork it to go back.
            RevisionConflictError: another process has saved the application since this run began.
            UnsavableValueError: a value of the state would not be loaded as an equal value. It is a TypeError and a
                ValueError.
            TypeError: an id has another type.
            ValueError: the ids are too long, or the status is neither "completed" nor "failed".
            HoldfastError: a subclass for each other reason.

        """
        labels = _labels(sequence_id, position, status)
        workflow = workflow_id(partition_key, app_id)
        await self._steps.save(workflow, labels[SEQUENCE], self._states.dumps(state), labels)

    async def load(
        self, partition_key: PartitionKey, app_id: str | None, sequence_id: int | None = None, **_: Any
    ) -> PersistedStateData | None:
        """Load the state after a step. A run that saves further steps begins with this call.

        Args:
            partition_key: the partition key; None is the same as "".
            app_id: the application; None for the most recently saved one of the partition.
            sequence_id: the number of the step; None for the step that was saved last.
            **_: ignored.

        Returns:
            The state; None if it does not exist.

        Raises:
            CheckpointCorruptedError: the state is damaged.
            FormatIncompatibleError: another version of this adapter saved it, or it contains a class that is not
                allowed.
            TypeError: an id has another type.
            ValueError: the ids are too long, or `sequence_id` is given without `app_id`.
            HoldfastError: a subclass for each other reason.

        """
        if app_id is None:
            _require_newest(sequence_id)
            for candidate in await self.list_app_ids(partition_key):
                if (found := await self.load(partition_key, candidate)) is not None:
                    return found
            return None
        step = None if sequence_id is None else step_id(sequence_id)
        loaded = await self._steps.load(workflow_id(partition_key, app_id), step)
        return None if loaded is None else self._states.loads(loaded, partition_key or "", app_id)

    async def list_app_ids(self, partition_key: PartitionKey, **_: Any) -> list[str]:
        """Return the applications of a partition, most recently saved first.

        Args:
            partition_key: the partition key; None is the same as "".
            **_: ignored.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        found = self._client.list_workflows(self._namespace, prefix=workflow_id(partition_key, ""))
        return app_ids(partition_key, [workflow async for workflow in found])


class HoldfastPersister(FromTarget, BaseStatePersister):
    """A persister for synchronous Burr applications. Threads may share it.

    Its arguments are those of `AsyncHoldfastPersister`, but `client` is a Client. Arguments and errors of its methods
    are the same, too.
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

    def is_initialized(self) -> bool:
        """Return True: nothing has to be initialised."""
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
        """Save the state after a step; see `AsyncHoldfastPersister.save`."""
        labels = _labels(sequence_id, position, status)
        workflow = workflow_id(partition_key, app_id)
        self._steps.save(workflow, labels[SEQUENCE], self._states.dumps(state), labels)

    def load(
        self, partition_key: PartitionKey, app_id: str | None, sequence_id: int | None = None, **_: Any
    ) -> PersistedStateData | None:
        """Load the state after a step; see `AsyncHoldfastPersister.load`."""
        if app_id is None:
            _require_newest(sequence_id)
            loads = (self.load(partition_key, candidate) for candidate in self.list_app_ids(partition_key))
            return next((found for found in loads if found is not None), None)
        step = None if sequence_id is None else step_id(sequence_id)
        loaded = self._steps.load(workflow_id(partition_key, app_id), step)
        return None if loaded is None else self._states.loads(loaded, partition_key or "", app_id)

    def list_app_ids(self, partition_key: PartitionKey, **_: Any) -> list[str]:
        """Return the applications of a partition; see `AsyncHoldfastPersister.list_app_ids`."""
        found = self._client.list_workflows(self._namespace, prefix=workflow_id(partition_key, ""))
        return app_ids(partition_key, found)


def _labels(sequence_id: int, position: str, status: _Status) -> dict[str, str]:
    """Return the labels of a step.

    Raises:
        TypeError: the sequence id is not an integer.
        ValueError: the status is neither "completed" nor "failed". Burr runs an action again unless its status is
            "completed", so a misspelt status would make a completed action run twice.

    """
    if status not in ("completed", "failed"):
        raise ValueError(f'status must be "completed" or "failed", not {status!r:.100}')
    return {SEQUENCE: step_id(sequence_id), POSITION: position, STATUS: status}


def _require_newest(sequence_id: int | None) -> None:
    if sequence_id is not None:
        raise ValueError("sequence_id requires app_id")
