"""Work that would block an event loop; `_sync/blocking.py` has the same interface and works in the caller's thread."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

from holdfast._core.small_values import are_small

_Result = TypeVar("_Result")


async def in_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run a function that would block the loop, in a thread."""
    return await asyncio.to_thread(function, *arguments)


async def in_thread_if_large(values: Iterable[Any], function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run a function in a thread if the values that it works on are large, since it would block the loop."""
    return function(*arguments) if are_small(*values) else await asyncio.to_thread(function, *arguments)


async def to_end(function: Callable[..., object], *arguments: Any) -> None:
    """Run a function in a thread. Wait for its end even if this call is cancelled, so that its effects are not late."""
    async with Steps() as steps:
        await steps.run(function, *arguments)


class Steps:
    """Runs functions in a thread, one at a time, while the block prepares the next call.

    The block ends once the last function has ended, even if the block was cancelled: a thread cannot be stopped.
    """

    def __init__(self) -> None:
        self._running: asyncio.Future[Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        running, cancellation = self._running, None
        while running is not None and not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as cancelled:
                cancellation = cancelled
        if cancellation is not None:
            raise cancellation
        # An error of the last function explains what the block met.
        if running is not None and (error is None or isinstance(error, Exception)):
            running.result()

    async def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """Start a function once the one before has ended.

        Raises:
            Exception: the one before raised it.

        """
        if self._running is not None:
            # Awaiting the future itself would cancel it together with this task.
            await asyncio.wait([self._running])
            self._running.result()
        self._running = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
