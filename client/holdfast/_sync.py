"""What the synchronous client needs of its runtime; `_aio` is the same for the asynchronous one."""

import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

import grpc

from holdfast.payload import RECEIVED_KEY

_Result = TypeVar("_Result")
_Message = TypeVar("_Message")

sleep = time.sleep
RpcError = grpc.RpcError


def open_channel(target: str, options: list[tuple[str, Any]]) -> Any:
    """A channel."""
    return grpc.insecure_channel(target, options=options)


def in_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run it: there is nothing that it could block."""
    return function(*arguments)


def send_stream(
    method: Any, first: _Message, rest: Callable[[str], Iterator[_Message]], *, resumes: bool, **options: Any
) -> Any:
    """Send a stream and wait for its answer; as `_aio` has it."""
    started: SimpleQueue[Any] = SimpleQueue()
    failures: list[Exception] = []

    def messages() -> Iterator[_Message]:
        try:
            yield first
            call = started.get()
            yield from rest(dict(call.initial_metadata()).get(RECEIVED_KEY, "") if resumes else "")
        except Exception as error:
            failures.append(error)
            raise

    call = method.future(messages(), **options)
    started.put(call)
    try:
        return call.result()
    except RpcError:
        # That is how gRPC ends a call whose messages failed.
        if failures:
            raise failures[0] from None
        raise
    except BaseException:
        call.cancel()
        raise
