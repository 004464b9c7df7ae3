"""The saver: LangGraph's asynchronous and synchronous methods, with one client of each kind."""

import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

from langgraph.checkpoint.base import BaseCheckpointSaver, get_checkpoint_id

from holdfast._core.load_balancing import LoadBalancing
from holdfast._core.retry import RetryPolicy
from holdfast._core.tls import TLS
from holdfast._core.tokens import Token
from holdfast.adapters.langgraph import arguments
from holdfast.adapters.langgraph.clients import Clients
from holdfast.adapters.langgraph.lists import AsyncLists
from holdfast.adapters.langgraph.lookups import AsyncLookups
from holdfast.adapters.langgraph.runs import RecentRuns
from holdfast.adapters.langgraph.serializer import serializer
from holdfast.adapters.langgraph.sync.lists import Lists
from holdfast.adapters.langgraph.sync.lookups import Lookups
from holdfast.adapters.langgraph.sync.threads import Threads
from holdfast.adapters.langgraph.threads import AsyncThreads
from holdfast.adapters.runs import Ownership, checked_ownership

if TYPE_CHECKING:
    from holdfast._encryption.keyring import Keyring


class HoldfastSaver(BaseCheckpointSaver[Any]):
    """A checkpoint saver of LangGraph that stores checkpoints in Holdfast.

    It is a context manager of both kinds. Within `async with` all methods work, within `with` the synchronous ones.
    Neither set of methods is built on the other.

    Args:
        target: host:port of the server, `grpcs://host:port` for TLS, any other target that gRPC takes, or a folder as
            `file:///path`.
        namespace: the namespace of the threads.
        serde: the serializer. None: LangGraph's own, restricted to data types that the program has imported (models,
            dataclasses, enums, named tuples). It runs no other code and never uses pickle.
        strict: without `serde`, restore only types that LangGraph knows as safe and those that `with_allowlist` names,
            and read others as plain data. None: as the environment variable `LANGGRAPH_STRICT_MSGPACK` says.
        ownership: "shared": any run may save to any thread at any time, as with LangGraph's own savers. "exclusive":
            a write is refused if the checkpoint that its run began from is not the newest any more.
        fallback: answer a damaged latest checkpoint with the newest older one that is whole, and log that.
        purge: remove the bytes of a thread when `delete_thread` deletes it, instead of after the store's grace.
        timeout: seconds for a call with all its retries.
        retry: how to retry; None for the client's default policy.
        tls: whether and how to use TLS: True or a `holdfast.TLS`. None: for a target grpcs://host:port, with the
            authorities of the system.
        token: the token that shows the server who calls, or a function that returns one.
        insecure: whether the token may be sent in plaintext to another machine.
        load_balancing: how calls go to the addresses of the target: "pick_first" or "round_robin"; see
            `holdfast.AsyncClient`.
        encryption: the keys that encrypt all that the saver stores; see `holdfast.Keyring`.

    Raises:
        ValueError: both `serde` and `strict` are given, or the ownership is neither "shared" nor "exclusive".
        HoldfastError: a subclass for each reason, from every method that calls the server: CheckpointCorruptedError if
            stored data is damaged, FormatIncompatibleError if the serializer cannot read it.

    """

    def __init__(
        self,
        target: str,
        *,
        namespace: str,
        serde: Any = None,
        strict: bool | None = None,
        ownership: Ownership = "shared",
        fallback: bool = False,
        purge: bool = False,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        tls: TLS | bool | None = None,
        token: Token | None = None,
        insecure: bool = False,
        load_balancing: LoadBalancing = "pick_first",
        encryption: "Keyring | None" = None,
    ) -> None:
        if serde is not None and strict is not None:
            raise ValueError("serde and strict exclude each other: strict chooses the serializer")
        super().__init__(serde=serializer(strict=strict) if serde is None else serde)
        self._settings = fallback, checked_ownership(ownership) == "exclusive", purge
        self._namespace = namespace
        self._runs = RecentRuns()
        self._clients = Clients(
            target,
            {
                "timeout": timeout,
                "retry": retry,
                "encryption": encryption,
                "producer": ("langgraph-checkpoint", version("langgraph-checkpoint")),
                "tls": tls,
                "token": token,
                "insecure": insecure,
                "load_balancing": load_balancing,
            },
        )

    @classmethod
    def from_target(cls, target: str, *, namespace: str, **options: Any) -> Self:
        """Return a saver, as the class itself does. Other adapters have this constructor, too.

        Args:
            target: host:port of the server, `grpcs://host:port` for TLS, any other target that gRPC takes, or a folder
                as `file:///path`.
            namespace: the namespace of the threads.
            **options: the other arguments of the class.

        """
        return cls(target, namespace=namespace, **options)

    async def __aenter__(self) -> Self:
        self._clients.open(asynchronous=True)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._clients.aclose()

    def __enter__(self) -> Self:
        self._clients.open(asynchronous=False)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._clients.close()

    async def aget_tuple(self, config: Any) -> Any:
        """Return the checkpoint that a config names, or the thread's latest one; None if it does not exist.

        A run begins with this call: its writes continue from the checkpoint that it returned.

        Raises:
            KeyError: the config names no thread.
            TypeError: the thread's id is neither text nor an integer nor a UUID.
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        return await AsyncThreads(self._async_lookups).get(
            arguments.place(config), config, get_checkpoint_id(config) or ""
        )

    def get_tuple(self, config: Any) -> Any:
        """Return a checkpoint; see `aget_tuple`."""
        return Threads(self._sync_lookups).get(arguments.place(config), config, get_checkpoint_id(config) or "")

    async def alist(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the engine's own word
        before: Any = None,
        limit: int | None = None,
    ) -> AsyncIterator[Any]:
        """List checkpoints, one checkpoint namespace after another, in each the largest id first.

        A checkpoint that cannot be read is logged and counts towards the limit. Its error is raised at the end, unless
        `fallback` is set.

        Args:
            config: names the thread, and may name a checkpoint namespace and a checkpoint; None for all threads.
            filter: values that the metadata must have.
            before: a config that names a checkpoint; only smaller ids are listed.
            limit: the maximum number of checkpoints; None for no limit.

        Raises:
            KeyError: a config is given, but names no thread.
            TypeError: the thread's id is neither text nor an integer nor a UUID.
            CheckpointCorruptedError, FormatIncompatibleError: a checkpoint cannot be read; raised at the end.

        """
        query = arguments.list_query(config, filter, before, limit)
        async for found in AsyncLists(self._async_lookups).list(query):
            yield found

    def list(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the engine's own word
        before: Any = None,
        limit: int | None = None,
    ) -> Iterator[Any]:
        """List checkpoints; see `alist`."""
        yield from Lists(self._sync_lookups).list(arguments.list_query(config, filter, before, limit))

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        """Save a checkpoint and return the config that names it.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.
            RevisionConflictError, WriterFencedError: the ownership is exclusive, and another run has written.
            TypeError, ValueError: the serializer cannot save a value; the message contains its path.
            HoldfastError: a subclass for each other reason.

        """
        await AsyncThreads(self._async_lookups).put(arguments.place(config), config, checkpoint, metadata)
        return _config_of(config, checkpoint)

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        """Save a checkpoint; see `aput`."""
        Threads(self._sync_lookups).put(arguments.place(config), config, checkpoint, metadata)
        return _config_of(config, checkpoint)

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Attach a task's writes to a checkpoint, all or none.

        Raises:
            CheckpointDeletedError: the thread was deleted since the run began.
            RevisionConflictError, WriterFencedError: the ownership is exclusive, and another run has written.
            TypeError, ValueError: the serializer cannot save a value; the message contains its path.
            HoldfastError: a subclass for each other reason.

        """
        await AsyncThreads(self._async_lookups).put_writes(arguments.place(config), config, writes, task_id, task_path)

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Attach a task's writes to a checkpoint; see `aput_writes`."""
        Threads(self._sync_lookups).put_writes(arguments.place(config), config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread with all its checkpoint namespaces. Runs that began before cannot save any more.

        Raises:
            TypeError: the thread's id is neither text nor an integer nor a UUID. Nothing is deleted.
            HoldfastError: a subclass for each reason.

        """
        await AsyncThreads(self._async_lookups).delete_thread(arguments.thread_id(thread_id))

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread; see `adelete_thread`."""
        Threads(self._sync_lookups).delete_thread(arguments.thread_id(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs. This looks at every thread of the namespace, once for each run.

        Raises:
            TypeError: a run's id is neither text nor a UUID. Nothing is deleted.
            ValueError: a run's id is empty. Nothing is deleted.
            HoldfastError: a subclass for each reason.

        """
        await AsyncThreads(self._async_lookups).delete_for_runs(arguments.run_ids(run_ids))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs; see `adelete_for_runs`."""
        Threads(self._sync_lookups).delete_for_runs(arguments.run_ids(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints of a thread to a thread without checkpoints.

        Raises:
            RevisionConflictError: the target has checkpoints.
            TypeError: an id is neither text nor an integer nor a UUID.
            HoldfastError: a subclass for each other reason.

        """
        source = arguments.thread_id(source_thread_id, "source_thread_id")
        await AsyncThreads(self._async_lookups).copy_thread(
            source, arguments.thread_id(target_thread_id, "target_thread_id")
        )

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread; see `acopy_thread`."""
        source = arguments.thread_id(source_thread_id, "source_thread_id")
        Threads(self._sync_lookups).copy_thread(source, arguments.thread_id(target_thread_id, "target_thread_id"))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete the checkpoints of threads, all or all but the latest.

        Args:
            thread_ids: the threads.
            strategy: "keep_latest" keeps the latest checkpoint of each namespace, and the ancestors from which the
                values of its delta channels are rebuilt; "delete" deletes the threads.

        Raises:
            TypeError: a thread's id is neither text nor an integer nor a UUID. Nothing is deleted.
            ValueError: there is no such strategy. Nothing is deleted.
            HoldfastError: a subclass for each reason.

        """
        is_deletion = arguments.strategy(strategy) == "delete"
        threads = AsyncThreads(self._async_lookups)
        for thread_id in arguments.thread_ids(thread_ids):
            await (threads.delete_thread(thread_id) if is_deletion else threads.prune(thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete the checkpoints of threads; see `aprune`."""
        is_deletion = arguments.strategy(strategy) == "delete"
        threads = Threads(self._sync_lookups)
        for thread_id in arguments.thread_ids(thread_ids):
            threads.delete_thread(thread_id) if is_deletion else threads.prune(thread_id)

    async def aget_delta_channel_history(self, *, config: Any, channels: Sequence[str]) -> Mapping[str, Any]:
        """Return what the ancestors of a checkpoint have written to delta channels.

        Args:
            config: names the checkpoint, or the thread whose latest one is meant.
            channels: the channels.

        Returns:
            For each channel its writes, oldest first, since the newest ancestor with a value, and that value as "seed".

        Raises:
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        if not channels:
            return {}
        lists = AsyncLists(self._async_lookups)
        return await lists.delta_history(arguments.place(config), get_checkpoint_id(config) or "", channels)

    def get_delta_channel_history(self, *, config: Any, channels: Sequence[str]) -> Mapping[str, Any]:
        """Return the writes to delta channels; see `aget_delta_channel_history`."""
        if not channels:
            return {}
        lists = Lists(self._sync_lookups)
        return lists.delta_history(arguments.place(config), get_checkpoint_id(config) or "", channels)

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version after the current one. Versions in the text form of other savers keep that form."""
        if isinstance(current, str):
            return f"{int(current.partition('.')[0]) + 1:032}.{random.random():016}"
        return super().get_next_version(current, channel)

    @property
    def _async_lookups(self) -> AsyncLookups:
        client = self._clients.asynchronous
        return AsyncLookups(client, self._namespace, self.serde, self._runs, *self._settings)

    @property
    def _sync_lookups(self) -> Lookups:
        client = self._clients.synchronous
        return Lookups(client, self._namespace, self.serde, self._runs, *self._settings)


def _config_of(config: Any, checkpoint: Any) -> Any:
    named = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": arguments.place(config).checkpoint_ns}
    return {"configurable": {**named, "checkpoint_id": checkpoint["id"]}}
