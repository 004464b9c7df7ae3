"""The saver: LangGraph's methods, asynchronous and synchronous, over one connection of each kind."""

import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from importlib.metadata import version
from threading import Lock
from typing import Any, Literal, Self, get_args

from langgraph.checkpoint.base import BaseCheckpointSaver, get_checkpoint_id

from holdfast._async.client import AsyncClient
from holdfast._core.retry import RetryPolicy
from holdfast._sync.client import Client
from holdfast.adapters.langgraph import arguments
from holdfast.adapters.langgraph.known import Known
from holdfast.adapters.langgraph.serializer import serializer
from holdfast.adapters.langgraph.sync.threads import Threads
from holdfast.adapters.langgraph.threads import AsyncThreads

Ownership = Literal["shared", "exclusive"]


class _Connection:
    """The clients of a saver and of its clones: an asynchronous one, and a synchronous one from its first use on."""

    def __init__(self, target: str, options: Mapping[str, Any]) -> None:
        self._target = target
        self._options = options
        self._lock = Lock()
        self._is_open = False
        self._asynchronous: AsyncClient | None = None
        self._synchronous: Client | None = None

    def open(self, *, asynchronous: bool) -> None:
        self._is_open = True
        if asynchronous:
            self._asynchronous = AsyncClient(self._target, **self._options)

    async def aclose(self) -> None:
        client, self._asynchronous = self._asynchronous, None
        self.close()
        if client is not None:
            await client.close()

    def close(self) -> None:
        with self._lock:
            self._is_open = False
            client, self._synchronous = self._synchronous, None
        if client is not None:
            client.close()

    @property
    def asynchronous(self) -> AsyncClient:
        if self._asynchronous is None:
            raise RuntimeError("the asynchronous methods work within `async with` only")
        return self._asynchronous

    @property
    def synchronous(self) -> Client:
        with self._lock:
            if not self._is_open:
                raise RuntimeError("the saver works within `with` or `async with` only")
            if self._synchronous is None:
                self._synchronous = Client(self._target, **self._options)
            return self._synchronous


class HoldfastSaver(BaseCheckpointSaver[Any]):
    """Keeps the checkpoints of LangGraph in Holdfast.

    Both sets of methods are real ones. Within `async with` all of them work, within `with` the synchronous ones.

    Args:
        target: host:port of the server, or any target that gRPC takes.
        namespace: where the threads lie.
        serde: the serializer; without one LangGraph's own, which restores the data types that the program has imported
            (models, dataclasses, enums, named tuples), runs nothing else, and never pickles.
        strict: without `serde`: restore only types that LangGraph knows as safe, and those that `with_allowlist`
            names; others are read as plain data. None: as `LANGGRAPH_STRICT_MSGPACK` says.
        ownership: "shared": any run may save to any thread at any time, as with LangGraph's own savers; "exclusive":
            what a run began from must still be the newest when it writes, and a run that was overtaken is refused.
        fallback: answer a damaged latest checkpoint with the newest older one that is whole, and log that.
        purge: remove the bytes of a thread when `delete_thread` deletes it, and not after the store's grace.
        timeout: seconds for a call with all its retries.
        retry: how to retry.

    Raises:
        ValueError: both `serde` and `strict` are given, or the ownership is neither of the two.
        HoldfastError: from every method that asks the server, a subclass for each reason; CHECKPOINT_CORRUPTED where
            what was saved is damaged, FORMAT_INCOMPATIBLE where the serializer cannot read it.

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
    ) -> None:
        if serde is not None and strict is not None:
            raise ValueError("strict chooses the serializer, and serde is one: give one of them")
        super().__init__(serde=serializer(strict=strict) if serde is None else serde)
        if ownership not in get_args(Ownership):
            raise ValueError(f'ownership must be "shared" or "exclusive", not {ownership!r:.100}')
        self._namespace = namespace
        self._options = fallback, ownership == "exclusive", purge
        self._known = Known()
        self._connection = _Connection(
            target,
            {"timeout": timeout, "retry": retry, "producer": ("langgraph-checkpoint", version("langgraph-checkpoint"))},
        )

    @classmethod
    def from_target(cls, target: str, *, namespace: str, **options: Any) -> Self:
        """A saver, as a context manager of both kinds.

        Args:
            target: host:port of the server, or any target that gRPC takes.
            namespace: where the threads lie.
            options: those of the class.

        """
        return cls(target, namespace=namespace, **options)

    async def __aenter__(self) -> Self:
        self._connection.open(asynchronous=True)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.aclose()

    def __enter__(self) -> Self:
        self._connection.open(asynchronous=False)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    async def aget_tuple(self, config: Any) -> Any:
        return await self._asynchronous.get(arguments.place(config), config, get_checkpoint_id(config) or "")

    def get_tuple(self, config: Any) -> Any:
        return self._synchronous.get(arguments.place(config), config, get_checkpoint_id(config) or "")

    async def alist(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the engine's own word
        before: Any = None,
        limit: int | None = None,
    ) -> AsyncIterator[Any]:
        """As the base class has it: a namespace after the other, the newest first in each.

        Raises:
            KeyError: a config is given, but names no thread; without a config all threads are listed.

        """
        async for each in self._asynchronous.list(arguments.wanted(config, filter, before, limit)):
            yield each

    def list(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the engine's own word
        before: Any = None,
        limit: int | None = None,
    ) -> Iterator[Any]:
        """As the base class has it: a namespace after the other, the newest first in each.

        Raises:
            KeyError: a config is given, but names no thread; without a config all threads are listed.

        """
        yield from self._synchronous.list(arguments.wanted(config, filter, before, limit))

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        await self._asynchronous.put(arguments.place(config), config, checkpoint, metadata)
        return _config_of(config, checkpoint)

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        self._synchronous.put(arguments.place(config), config, checkpoint, metadata)
        return _config_of(config, checkpoint)

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._asynchronous.put_writes(arguments.place(config), config, writes, task_id, task_path)

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        self._synchronous.put_writes(arguments.place(config), config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._asynchronous.delete_thread(arguments.thread_id(thread_id))

    def delete_thread(self, thread_id: str) -> None:
        self._synchronous.delete_thread(arguments.thread_id(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As the base class has it. It looks at every thread of the namespace, once for each run.

        Raises:
            TypeError: a run's id is neither text nor a UUID. Nothing is deleted.
            ValueError: a run's id is empty. Nothing is deleted.

        """
        await self._asynchronous.delete_for_runs(arguments.run_ids(run_ids))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As the base class has it. It looks at every thread of the namespace, once for each run.

        Raises:
            TypeError: a run's id is neither text nor a UUID. Nothing is deleted.
            ValueError: a run's id is empty. Nothing is deleted.

        """
        self._synchronous.delete_for_runs(arguments.run_ids(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As the base class has it. The target must have no checkpoints: else REVISION_CONFLICT."""
        source = arguments.thread_id(source_thread_id, "source_thread_id")
        await self._asynchronous.copy_thread(source, arguments.thread_id(target_thread_id, "target_thread_id"))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As the base class has it. The target must have no checkpoints: else REVISION_CONFLICT."""
        source = arguments.thread_id(source_thread_id, "source_thread_id")
        self._synchronous.copy_thread(source, arguments.thread_id(target_thread_id, "target_thread_id"))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As the base class has it. What the values of delta channels are made from stays.

        Raises:
            TypeError: a thread's id is neither text nor an integer nor a UUID. Nothing is deleted.
            ValueError: no such strategy.

        """
        is_deletion = arguments.strategy(strategy) == "delete"
        threads = self._asynchronous
        for each in arguments.thread_ids(thread_ids):
            await (threads.delete_thread(each) if is_deletion else threads.prune(each))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As the base class has it. What the values of delta channels are made from stays.

        Raises:
            TypeError: a thread's id is neither text nor an integer nor a UUID. Nothing is deleted.
            ValueError: no such strategy.

        """
        is_deletion = arguments.strategy(strategy) == "delete"
        threads = self._synchronous
        for each in arguments.thread_ids(thread_ids):
            threads.delete_thread(each) if is_deletion else threads.prune(each)

    async def aget_delta_channel_history(self, *, config: Any, channels: Sequence[str]) -> Mapping[str, Any]:
        checkpoint_id = get_checkpoint_id(config) or ""
        return (
            await self._asynchronous.delta_history(arguments.place(config), checkpoint_id, channels) if channels else {}
        )

    def get_delta_channel_history(self, *, config: Any, channels: Sequence[str]) -> Mapping[str, Any]:
        checkpoint_id = get_checkpoint_id(config) or ""
        return self._synchronous.delta_history(arguments.place(config), checkpoint_id, channels) if channels else {}

    def get_next_version(self, current: Any, channel: None) -> Any:
        """As the base class has it; versions in the text form of other savers go on in that form."""
        if isinstance(current, str):
            return f"{int(current.partition('.')[0]) + 1:032}.{random.random():016}"
        return super().get_next_version(current, channel)

    @property
    def _asynchronous(self) -> AsyncThreads:
        client = self._connection.asynchronous
        return AsyncThreads(client, self._namespace, self.serde, self._known, *self._options)

    @property
    def _synchronous(self) -> Threads:
        client = self._connection.synchronous
        return Threads(client, self._namespace, self.serde, self._known, *self._options)


def _config_of(config: Any, checkpoint: Any) -> Any:
    named = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": arguments.place(config).checkpoint_ns}
    return {"configurable": {**named, "checkpoint_id": checkpoint["id"]}}
