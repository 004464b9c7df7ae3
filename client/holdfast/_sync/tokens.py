"""Gets the token of a synchronous client; `_async/tokens.py` has the same interface."""

import inspect
import os
import threading

from holdfast._core.tokens import KeptToken, Metadata, Token, source_failed, source_late


class CurrentToken(KeptToken):
    """The token of one client, in any thread.

    Args:
        token: the token, or a function that returns one.

    """

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        # By process: after a fork another thread's lock would stay locked.
        self._locks: dict[int, threading.Lock] = {}

    def current(self, seconds: float) -> Metadata:
        """Return the metadata that send the token, as `_async/tokens.py` does. The function runs in this thread."""
        if self.metadata:
            return self.metadata
        lock = self._locks.setdefault(os.getpid(), threading.Lock())
        if not lock.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX)):
            raise source_late(seconds)
        try:
            return self.metadata or self.take(self._made())
        finally:
            lock.release()

    def _made(self) -> object:
        assert self.source is not None
        if inspect.iscoroutinefunction(self.source):
            raise TypeError("token must be text (str) or a function that returns text, not a coroutine function")
        try:
            return self.source()
        except Exception as error:
            raise source_failed(error) from error
