"""The synchronous client, behind the methods of the asynchronous one: a test that is written once runs with both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Self

import holdfast

_THREADS = ThreadPoolExecutor(64, "synchronous-client")
_ITERATORS = ("list", "history", "list_workflows", "log", "namespaces", "read_part", "usage", "watch")
_END = object()


class _InThreads:
    """Runs each method of an object in a thread, so that it is awaited."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        if name in _ITERATORS:
            return partial(_iterate, found)
        return partial(_run, found) if callable(found) else found


class ClientInThreads(_InThreads):
    """A synchronous client that is used like an asynchronous one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(holdfast.Client(*args, **options))

    def workflow(self, namespace: str, workflow_id: str) -> _InThreads:
        return _InThreads(self._wrapped.workflow(namespace, workflow_id))

    def head(self, namespace: str, workflow_id: str) -> holdfast.Head | None:
        return self._wrapped.head(namespace, workflow_id)

    def forget_head(self, namespace: str, workflow_id: str) -> None:
        self._wrapped.forget_head(namespace, workflow_id)

    async def __aenter__(self) -> Self:
        await _run(self._wrapped.__enter__)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await _run(self._wrapped.__exit__, *exc_info)


async def _run(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    # Not the threads of asyncio.to_thread: they are few, and calls that wait for one another would hold all of them.
    call = partial(copy_context().run, function, *args, **options)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)


async def _iterate(method: Callable[..., Any], *args: Any, **options: Any) -> AsyncIterator[Any]:
    iterator = method(*args, **options)
    while (item := await _run(next, iterator, _END)) is not _END:
        yield item
