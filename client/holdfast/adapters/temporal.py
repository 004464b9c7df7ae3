"""Temporal's external storage over Holdfast: a payload too large for the history is a checkpoint, named by a claim.

A Temporal workflow, with its activities and all its runs, has one workflow of Holdfast; a payload's id there is its
digest, so that what a replay or a retry stores again is kept once, and what is retrieved is compared with it. The
payload is Temporal's own message, behind whatever codec is configured. Which payloads come here, and how failures are
retried, is Temporal's to decide.
"""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverActivityInfo,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, Format, LoadedCheckpoint
from holdfast._core.errors import HoldfastError, InvalidRequestError, of_reason
from holdfast.adapters.ids import WORKFLOW_BYTES, joined

FORMAT = Format("temporal-payload", 1)

_ACCEPTED = AcceptedFormat(FORMAT.name, FORMAT.version, FORMAT.version)
_TYPE = "holdfast"
_CLAIM_KEYS = ("namespace", "workflow_id", "checkpoint_id")
# An id is never used again: what is stored in the place of such a checkpoint gets another one.
_SPENT = frozenset({"CHECKPOINT_DELETED", "CHECKPOINT_CORRUPTED"})

# A worker may store hundreds of payloads at once; a server refuses what is too much.
_PAYLOADS_AT_ONCE = 32

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def workflow_id(namespace: str, workflow_id: str) -> str:
    """The workflow of Holdfast that holds the payloads of a Temporal workflow, for `client.delete_workflow` and others.

    Args:
        namespace: Temporal's namespace.
        workflow_id: Temporal's id of the workflow.

    """
    return _place("workflow", namespace, workflow_id)


class ForeignClaimError(InvalidRequestError, ValueError):
    """A claim is none that this driver may follow: another driver's, or one of a namespace that was not allowed."""


class HoldfastStorageDriver(StorageDriver):
    """Stores payloads of any size, and retrieves them by their claims. There is no older version to fall back to.

    Args:
        client: the client; it stays the caller's.
        namespace: the namespace of Holdfast.
        driver_name: the driver's name in Temporal's references; whoever retrieves needs a driver of the same name.
        retrieve_namespaces: further namespaces that a claim may name, such as the one before a move. A history comes
            from others: no claim in it is followed into any other namespace that the client can reach.

    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str,
        driver_name: str = _TYPE,
        retrieve_namespaces: Collection[str] = (),
    ) -> None:
        if not driver_name:
            raise ValueError("driver_name must not be empty")
        if isinstance(retrieve_namespaces, str):
            raise TypeError("retrieve_namespaces must be several names, not one text")
        self._client = client
        self._namespace = namespace
        self._name = driver_name
        self._retrievable = frozenset({namespace, *retrieve_namespaces})
        # A worker of another event loop, in another thread, takes turns of its own.
        self._lock = threading.Lock()
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls,
        target: str,
        *,
        namespace: str,
        driver_name: str = _TYPE,
        retrieve_namespaces: Collection[str] = (),
        **client_options: Any,
    ) -> AsyncIterator[Self]:
        """A driver with a client of its own, which is closed at the end.

        Args:
            target: host:port, or any target that gRPC takes.
            namespace: as for the constructor.
            driver_name: as for the constructor.
            retrieve_namespaces: as for the constructor.
            **client_options: what `AsyncClient` takes: timeout (seconds), retry, producer.

        """
        async with AsyncClient(target, **client_options) as client:
            yield cls(client, namespace=namespace, driver_name=driver_name, retrieve_namespaces=retrieve_namespaces)

    def name(self) -> str:
        return self._name

    def type(self) -> str:
        return _TYPE

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Store payloads. A claim is given only for bytes that lie in the store, checked by their digest.

        Args:
            context: whose payloads they are.
            payloads: the payloads.

        Returns:
            A claim for each, in their order.

        Raises:
            HoldfastError: a subclass for each reason; the first failure ends the others.

        """
        place = _place_of(context.target)
        return await self._all(lambda payload: self._store(place, payload), payloads)

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Retrieve payloads, whole and with their digests checked.

        Args:
            context: says nothing yet.
            claims: claims that `store` gave, of any driver of this class with the same store and namespace.

        Returns:
            A payload for each, in their order.

        Raises:
            CheckpointCorruptedError: one is damaged, or is not what its claim was given for.
            CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError: one is gone.
            ForeignClaimError: a claim is another driver's, or names a namespace that was not allowed. It is a
                ValueError. Nothing was read.
            HoldfastError: a subclass for each other reason; the first failure ends the others.

        """
        return await self._all(self._retrieve, [self._named(claim) for claim in claims])

    async def _store(self, place: str, payload: Payload) -> StorageDriverClaim:
        data, checkpoint_id = await asyncio.to_thread(_serialised, payload)
        found = await self._client.validate(self._namespace, place, checkpoint_id, accepted_formats=[_ACCEPTED])
        is_kept = found.checkpoint is not None and found.checkpoint.pinned and _holds(found.checkpoint, checkpoint_id)
        if not (found.resumable and is_kept):
            is_spent = found.resumable or any(each.reason in _SPENT for each in found.findings)
            # Pinned, since a history may point at it however many payloads come after it.
            await self._client.save(
                self._namespace, place, data, format=FORMAT, checkpoint_id=checkpoint_id, replace=is_spent, pinned=True
            )
        return StorageDriverClaim(dict(zip(_CLAIM_KEYS, (self._namespace, place, checkpoint_id), strict=True)))

    async def _retrieve(self, names: tuple[str, str, str]) -> Payload:
        loaded = await self._client.load(*names, accepted_formats=[_ACCEPTED])
        if not _holds(loaded.info, loaded.checkpoint_id):
            raise _unreadable("CHECKPOINT_CORRUPTED", loaded, "its content is not the one that its id is the digest of")
        try:
            return Payload.FromString(loaded.data)
        except DecodeError as error:
            raise _unreadable("FORMAT_INCOMPATIBLE", loaded, f"it is no payload of Temporal's: {error}") from error

    def _named(self, claim: StorageDriverClaim) -> tuple[str, str, str]:
        """What a claim names.

        Raises:
            ForeignClaimError: it is another driver's, or names a namespace that was not allowed.

        """
        missing = [key for key in _CLAIM_KEYS if not claim.claim_data.get(key)]
        if missing:
            raise _foreign(f"the claim is none of a {_TYPE} driver's: it lacks {', '.join(missing)}")
        namespace, place, checkpoint_id = (claim.claim_data[key] for key in _CLAIM_KEYS)
        if namespace not in self._retrievable:
            allowed = ", ".join(map(repr, sorted(self._retrievable)))
            raise _foreign(f"the claim names namespace {namespace!r:.200}, the driver may retrieve from {allowed:.500}")
        return namespace, place, checkpoint_id

    async def _all(self, call: Callable[[_Item], Awaitable[_Result]], items: Iterable[_Item]) -> list[_Result]:
        """The results for items. The first failure ends the others and is raised as it is, not in a group."""
        with self._lock:
            turns = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_PAYLOADS_AT_ONCE))

        async def in_turn(item: _Item) -> _Result:
            async with turns:
                return await call(item)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(in_turn(item)) for item in items]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]


def _place_of(target: StorageDriverWorkflowInfo | StorageDriverActivityInfo | None) -> str:
    """The workflow of Holdfast for what Temporal stores for."""
    if target is None:
        return "unknown"
    kind = "workflow" if isinstance(target, StorageDriverWorkflowInfo) else "activity"
    return _place(kind, target.namespace, target.id or "")


def _place(kind: str, namespace: str, temporal_id: str) -> str:
    full = joined(kind, namespace, temporal_id)
    if len(full.encode()) <= WORKFLOW_BYTES:
        return full
    # Temporal's ids may be longer than Holdfast's. The claim tells the place, so nobody has to read it.
    return f"{kind}:sha256:{hashlib.sha256(full.encode()).hexdigest()}"


def _serialised(payload: Payload) -> tuple[bytes, str]:
    data = payload.SerializeToString(deterministic=True)
    return data, f"sha256-{hashlib.sha256(data).hexdigest()}"


def _holds(checkpoint: Checkpoint | None, checkpoint_id: str) -> bool:
    """Whether a checkpoint holds just the bytes that its id is the digest of."""
    return (
        checkpoint is not None
        and len(checkpoint.parts) == 1
        and checkpoint_id == f"sha256-{checkpoint.parts[0].sha256.hex()}"
    )


def _unreadable(reason: str, loaded: LoadedCheckpoint, problem: str) -> HoldfastError:
    return of_reason(
        reason,
        f"payload {loaded.checkpoint_id!r} cannot be retrieved: {problem}",
        metadata={"checkpoint_id": loaded.checkpoint_id, "revision": str(loaded.revision)},
    )


def _foreign(problem: str) -> ForeignClaimError:
    advice = "Give the driver the namespace in retrieve_namespaces, if its content may be trusted."
    return ForeignClaimError(problem, reason="INVALID_REQUEST", advice=advice, field_violations=[("claim", problem)])
