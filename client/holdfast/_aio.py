"""What the asynchronous client needs of its runtime; `_sync` is the same for the synchronous one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import grpc

from holdfast.payload import RECEIVED_KEY

_Result = TypeVar("_Result")
_Message = TypeVar("_Message")

sleep = asyncio.sleep
RpcError = grpc.aio.AioRpcError


def open_channel(target: str, options: list[tuple[str, Any]]) -> Any:
    """A channel."""
    return grpc.aio.insecure_channel(target, options=options)


async def in_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run what would block, elsewhere."""
    return await asyncio.to_thread(function, *arguments)


async def send_stream(
    method: Any, first: _Message, rest: Callable[[str], Iterator[_Message]], *, resumes: bool, **options: Any
) -> Any:
    """Send a stream and wait for its answer.

    Args:
        method: the stub's method.
        first: its first message.
        rest: the others, given what the server says that it has received already.
        resumes: whether to wait for the server to say that.
        options: of the call.

    Raises:
        RpcError: the call failed.
        Exception: what `rest` raised, such as an OSError of a file that cannot be read.

    """
    call: Any = None
    failures: list[Exception] = []

    async def messages() -> AsyncIterator[_Message]:
        try:
            yield first
            received = dict(await call.initial_metadata()).get(RECEIVED_KEY, "") if resumes else ""
            async for message in _iterate(rest(received)):
                yield message
        except Exception as error:
            failures.append(error)
            raise

    call = method(messages(), **options)
    try:
        return await call
    except asyncio.CancelledError:
        # That is how gRPC ends a call whose messages failed.
        task = asyncio.current_task()
        if failures and task is not None and not task.cancelling():
            raise failures[0] from None
        raise


async def _iterate(messages: Iterator[_Result]) -> AsyncIterator[_Result]:
    """The messages of a stream, each made in a thread, since making one may read a file."""
    done = object()
    while (message := await asyncio.to_thread(next, messages, done)) is not done:
        yield message  # type: ignore[misc]
