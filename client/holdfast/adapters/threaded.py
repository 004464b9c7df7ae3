"""Calls of blocking functions from a loop, which use something that must not be closed while they run."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


async def in_thread_to_end(function: Callable[[], _Result], on_cancel: Callable[[], object] | None = None) -> _Result:
    """Run a function in a thread, and wait for its end even if this call is cancelled.

    Args:
        function: the function.
        on_cancel: makes the function end soon; called if this call is cancelled.

    """
    running = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        await asyncio.wait([running])
        # An error that nobody retrieves would be logged.
        if not running.cancelled():
            running.exception()
        raise
