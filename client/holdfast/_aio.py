"""What the asynchronous client needs of its runtime; `_sync` is the same for the synchronous one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import grpc

_Result = TypeVar("_Result")

sleep = asyncio.sleep
RpcError = grpc.aio.AioRpcError


def open_channel(target: str, options: list[tuple[str, Any]]) -> Any:
    """A channel."""
    return grpc.aio.insecure_channel(target, options=options)


async def in_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run what would block, elsewhere."""
    return await asyncio.to_thread(function, *arguments)


async def iterate(messages: Iterator[_Result]) -> AsyncIterator[_Result]:
    """The messages of a stream, each made in a thread, since making one may read a file."""
    done = object()
    while (message := await asyncio.to_thread(next, messages, done)) is not done:
        yield message  # type: ignore[misc]
