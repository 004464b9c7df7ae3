"""Keep Temporal's large payloads in Holdfast, as a driver of its external storage. Extra: `holdfast-client[temporal]`.

A claim is Temporal's word for the reference that its history holds in place of a payload; here it names a checkpoint.

A Temporal workflow, with its activities and all its runs, is one workflow of Holdfast. A payload's digest is its
checkpoint id: a payload that a replay or a retry stores again is stored once, and a retrieved payload is verified. The
stored bytes are Temporal's own message, after any codec was applied. Temporal decides which payloads are stored here,
and how failures are retried.
"""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TypeVar
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
from holdfast.adapters.from_target import AsyncFromTarget
from holdfast.adapters.ids import WORKFLOW_BYTES, joined

__all__ = ["FORMAT", "ForeignClaimError", "HoldfastStorageDriver", "workflow_id"]

FORMAT = Format("temporal-payload", 1)

_ACCEPTED = AcceptedFormat(FORMAT.name, FORMAT.version, FORMAT.version)
_TYPE = "holdfast"
_CLAIM_KEYS = ("namespace", "workflow_id", "checkpoint_id")
# The ids of such checkpoints cannot be saved again without `replace`.
_UNUSABLE = frozenset({"CHECKPOINT_DELETED", "CHECKPOINT_CORRUPTED"})

# A worker may store hundreds of payloads at once, and a server refuses calls above its limit.
_MAX_CONCURRENT_PAYLOADS = 32

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def workflow_id(namespace: str, workflow_id: str) -> str:
    """Return the workflow of Holdfast that holds the payloads of a Temporal workflow.

    Use it to delete the payloads, with `client.delete_workflow`.

    Args:
        namespace: Temporal's namespace.
        workflow_id: Temporal's workflow id.

    Raises:
        TypeError: an argument is not text.

    """
    return _workflow("workflow", namespace, workflow_id)


class ForeignClaimError(InvalidRequestError, ValueError):
    """A claim of another driver, or one that names a namespace from which this driver must not retrieve."""


class HoldfastStorageDriver(AsyncFromTarget, StorageDriver):
    """A storage driver for Temporal, for payloads of any size. Several event loops may share it.

    Args:
        client: an open client, which the caller closes.
        namespace: the namespace of Holdfast.
        driver_name: the driver's name in Temporal's references. A payload can be retrieved only with a driver of the
            same name.
        retrieve_namespaces: other namespaces that a claim may name, such as the former one after a move. Histories are
            written by others, so claims are not followed into any other namespace that the client can access.

    Raises:
        TypeError: `retrieve_namespaces` is one string.
        ValueError: `driver_name` is empty, or the client encrypts with a key that has no label key.

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
            raise TypeError(f"retrieve_namespaces must be a collection of names, not {retrieve_namespaces!r:.100}")
        if client.encryption is not None:
            # Payloads are named by their content, and a digest without a key would reveal what can be guessed.
            client.encryption.digest(b"")
        self._client = client
        self._namespace = namespace
        self._name = driver_name
        self._retrievable = frozenset({namespace, *retrieve_namespaces})
        # Each event loop, in whatever thread, has a semaphore of its own.
        self._lock = threading.Lock()
        self._semaphores: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def name(self) -> str:
        """Return the driver's name in Temporal's references."""
        return self._name

    def type(self) -> str:
        """Return "holdfast"."""
        return _TYPE

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Store payloads. A claim is returned only if the store holds the payload, which its digest verifies.

        Args:
            context: the workflow or activity that the payloads belong to.
            payloads: the payloads.

        Returns:
            A claim for each payload, in the same order.

        Raises:
            HoldfastError: a subclass for each reason. The first failure cancels the other payloads.

        """
        workflow = _workflow_of(context.target)
        return await self._results(lambda payload: self._store(workflow, payload), payloads)

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Retrieve payloads, and verify them with their digests.

        Args:
            context: ignored.
            claims: claims that `store` of any driver of this class, on the same store and namespace, has returned.

        Returns:
            A payload for each claim, in the same order.

        Raises:
            CheckpointCorruptedError: a payload is damaged, or is not the one that was stored. No fallback exists.
            CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError: a payload does not exist any more.
            ForeignClaimError: a claim is another driver's, or names a namespace that is not allowed. Nothing was read.
                It is a ValueError.
            HoldfastError: a subclass for each other reason. The first failure cancels the other payloads.

        """
        return await self._results(self._retrieve, [self._names(claim) for claim in claims])

    async def _store(self, workflow: str, payload: Payload) -> StorageDriverClaim:
        data, checkpoint_id = await asyncio.to_thread(self._serialised, payload)
        found = await self._client.validate(self._namespace, workflow, checkpoint_id, accepted_formats=[_ACCEPTED])
        is_stored = found.checkpoint is not None and found.checkpoint.pinned and self._matches(found.checkpoint)
        if not (found.resumable and is_stored):
            replace = found.resumable or any(finding.reason in _UNUSABLE for finding in found.findings)
            # Pinned, because a history may refer to it, however many payloads are stored after it.
            await self._client.save(
                self._namespace,
                workflow,
                data,
                format=FORMAT,
                checkpoint_id=checkpoint_id,
                replace=replace,
                pinned=True,
            )
        return StorageDriverClaim(dict(zip(_CLAIM_KEYS, (self._namespace, workflow, checkpoint_id), strict=True)))

    async def _retrieve(self, names: tuple[str, str, str]) -> Payload:
        loaded = await self._client.load(*names, accepted_formats=[_ACCEPTED])
        if not self._matches(loaded.info) or (
            self._client.encryption is not None
            and loaded.checkpoint_id != await asyncio.to_thread(self._id_of, loaded.data)
        ):
            raise _unreadable("CHECKPOINT_CORRUPTED", loaded, "its id is not the digest of its content")
        try:
            return Payload.FromString(loaded.data)
        except DecodeError as error:
            raise _unreadable("FORMAT_INCOMPATIBLE", loaded, f"it is not a Temporal payload: {error}") from error

    def _serialised(self, payload: Payload) -> tuple[bytes, str]:
        """Return the bytes of a payload, and the id of its checkpoint."""
        data = payload.SerializeToString(deterministic=True)
        return data, self._id_of(data)

    def _id_of(self, data: bytes) -> str:
        """Return the id of the checkpoint that holds a payload: a digest, which has a key if the client encrypts."""
        keyring = self._client.encryption
        if keyring is None:
            return f"sha256-{hashlib.sha256(data).hexdigest()}"
        return f"hmac-sha256-{keyring.digest(data).hex()}"

    def _matches(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint's content consists of one part whose digest is its id, as far as metadata says.

        Encrypted content is bound to the id, and compared with it once it is decrypted.
        """
        if len(checkpoint.parts) != 1:
            return False
        return self._client.encryption is not None or (
            checkpoint.checkpoint_id == f"sha256-{checkpoint.parts[0].sha256.hex()}"
        )

    def _names(self, claim: StorageDriverClaim) -> tuple[str, str, str]:
        """Return the namespace, workflow and checkpoint id that a claim names.

        Raises:
            ForeignClaimError: it is another driver's, or names a namespace that is not allowed.

        """
        missing = [key for key in _CLAIM_KEYS if not claim.claim_data.get(key)]
        if missing:
            raise _foreign(f"the claim was not given by a {_TYPE} driver: it lacks {', '.join(missing)}")
        namespace, workflow, checkpoint_id = (claim.claim_data[key] for key in _CLAIM_KEYS)
        if namespace not in self._retrievable:
            allowed = ", ".join(map(repr, sorted(self._retrievable)))
            raise _foreign(f"the claim names namespace {namespace!r:.200}, expected one of {allowed:.500}")
        return namespace, workflow, checkpoint_id

    async def _results(self, call: Callable[[_Item], Awaitable[_Result]], items: Iterable[_Item]) -> list[_Result]:
        """Call concurrently for all items, and return the results. The first failure is raised, not in a group."""
        with self._lock:
            semaphore = self._semaphores.setdefault(
                asyncio.get_running_loop(), asyncio.Semaphore(_MAX_CONCURRENT_PAYLOADS)
            )

        async def limited(item: _Item) -> _Result:
            async with semaphore:
                return await call(item)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(limited(item)) for item in items]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]


def _workflow_of(target: StorageDriverWorkflowInfo | StorageDriverActivityInfo | None) -> str:
    """Return the workflow of Holdfast for the payloads of a Temporal workflow or activity."""
    if target is None:
        return "unknown"
    kind = "workflow" if isinstance(target, StorageDriverWorkflowInfo) else "activity"
    return _workflow(kind, target.namespace, target.id or "")


def _workflow(kind: str, namespace: str, temporal_id: str) -> str:
    full = joined(kind, namespace, temporal_id)
    if len(full.encode()) <= WORKFLOW_BYTES:
        return full
    # Temporal's ids may be longer than Holdfast's. A digest is enough, because claims name the workflow.
    return f"{kind}:sha256:{hashlib.sha256(full.encode()).hexdigest()}"


def _unreadable(reason: str, loaded: LoadedCheckpoint, problem: str) -> HoldfastError:
    return of_reason(
        reason,
        f"payload {loaded.checkpoint_id!r} cannot be retrieved: {problem}",
        metadata={"checkpoint_id": loaded.checkpoint_id, "revision": str(loaded.revision)},
    )


def _foreign(problem: str) -> ForeignClaimError:
    advice = "Add the namespace to the driver's retrieve_namespaces if its content can be trusted."
    return ForeignClaimError(problem, reason="INVALID_REQUEST", advice=advice, field_violations=[("claim", problem)])
