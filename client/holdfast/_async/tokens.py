"""Gets the token of an asynchronous client; `_sync/tokens.py` has the same interface."""

import asyncio
import inspect
import weakref

from holdfast._core.tokens import KeptToken, Metadata, Token, source_failed, source_late


class CurrentToken(KeptToken):
    """The token of one client, on any number of event loops.

    Args:
        token: the token, or a function that returns one; one that is not a coroutine function runs in a thread.

    """

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()

    async def current(self, seconds: float) -> Metadata:
        """Return the metadata that send the token. Call the function if there is no token.

        Args:
            seconds: how long the function may take.

        Raises:
            UnauthenticatedError: the function raised an exception.
            DeadlineExceededError: it took too long.
            InvalidRequestError: it returned what cannot be sent.
            TypeError: it returned no text.

        """
        if self.metadata:
            return self.metadata
        try:
            async with asyncio.timeout(seconds), self._lock():
                # Another call may have taken one while this one waited.
                return self.metadata or self.take(await self._made())
        except TimeoutError:
            raise source_late(seconds) from None

    async def _made(self) -> object:
        assert self.source is not None
        try:
            if inspect.iscoroutinefunction(self.source):
                return await self.source()
            made = await asyncio.to_thread(self.source)
            return await made if inspect.isawaitable(made) else made
        except Exception as error:
            raise source_failed(error) from error

    def _lock(self) -> asyncio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
