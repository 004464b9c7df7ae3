"""Calls of blocking methods from a loop, whose connection must not be closed while they run."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


async def in_thread_to_end(function: Callable[[], _Result]) -> _Result:
    """Run a function in a thread, and wait for its end even if this call is cancelled."""
    running = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
