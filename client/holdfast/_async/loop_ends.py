"""Ending pipelines before their event loop is closed.

A loop that ends as `asyncio.run` ends it closes its generators, and with them the channels of clients. A program may
also close a loop at once. gRPC would then send the last events of each open stream to the closed loop, and other loops
of the process would log errors. A loop has no hook for that, so its `close` is replaced while pipelines are open.
"""

import asyncio
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol


class _Ended(Protocol):
    async def close(self) -> None: ...


def end_before_close(loop: asyncio.AbstractEventLoop, ended: _Ended) -> None:
    """Await `ended.close()` on a loop when the loop is about to be closed. Holds no reference to `ended`."""
    close: Any = loop.close
    if not isinstance(close, _Close):
        close = _Close(loop, close)
        # A loop without attributes of its own cannot have this.
        with suppress(AttributeError):
            loop.close = close  # type: ignore[method-assign]
    close.ended.add(ended)


class _Close:
    """Replaces the method `close` of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
        self._loop = loop
        self._close = close
        self.ended: weakref.WeakSet[_Ended] = weakref.WeakSet()

    def __call__(self) -> None:
        if not self._loop.is_closed() and not self._loop.is_running() and asyncio._get_running_loop() is None:  # noqa: SLF001 - the public function raises
            for ended in list(self.ended):
                self._loop.run_until_complete(ended.close())
        self._close()
