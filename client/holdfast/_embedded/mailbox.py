"""Callbacks from any thread for an event loop."""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any


class Mailbox:
    """The callbacks that wait for one event loop. Those that arrive together wake the loop once.

    A mailbox does not keep its loop alive. Callbacks must not raise.

    Args:
        loop: the loop.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._is_woken = False

    def post(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run a callback on the loop, after those that were posted before.

        Raises:
            RuntimeError: the loop is closed.

        """
        self._waiting.append((callback, arguments))
        # The flag is set before the loop is woken and cleared before it reads: no callback is left behind.
        if not self._is_woken:
            self._is_woken = True
            try:
                loop = self._loop()
                if loop is None:
                    raise RuntimeError("the event loop is closed")
                loop.call_soon_threadsafe(self._run)
            except RuntimeError:
                self._is_woken = False
                self._waiting.clear()
                raise

    def _run(self) -> None:
        self._is_woken = False
        while self._waiting:
            callback, arguments = self._waiting.popleft()
            callback(*arguments)


class Mailboxes:
    """The mailboxes of the loops that call embedded clients."""

    def __init__(self) -> None:
        self._of_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = weakref.WeakKeyDictionary()

    def of(self, loop: asyncio.AbstractEventLoop) -> Mailbox:
        """Return the mailbox of a loop. Called on that loop."""
        found = self._of_loop.get(loop)
        if found is None:
            found = self._of_loop[loop] = Mailbox(loop)
        return found
