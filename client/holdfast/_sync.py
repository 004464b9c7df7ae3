"""What the synchronous client needs of its runtime; `_aio` is the same for the asynchronous one."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

_Result = TypeVar("_Result")

sleep = time.sleep
RpcError = grpc.RpcError


def open_channel(target: str, options: list[tuple[str, Any]]) -> Any:
    """A channel."""
    return grpc.insecure_channel(target, options=options)


def in_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run it: there is nothing that it could block."""
    return function(*arguments)


def iterate(messages: Iterator[_Result]) -> Iterator[_Result]:
    """The messages of a stream."""
    return messages
