"""The connection of an `AsyncClient` to a folder: the service runs on a loop in a thread of this process.

It has the interface of `runtime.Channels`. A client may be used on any number of event loops.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractContextManager, aclosing, suppress
from functools import partial
from typing import Any

from holdfast._core.errors import HoldfastError
from holdfast._embedded.calls import ERROR, MESSAGE, RESULT, Call, Metadata
from holdfast._embedded.client import EmbeddedClient, deadline_passed
from holdfast._embedded.mailbox import Mailbox
from holdfast._embedded.saves import AnsweredError, SaveEvents
from holdfast._embedded.sessions import Session


class Folder:
    """The connection of one client to its folder.

    Args:
        target: the folder, as `file:///path`.

    Attributes:
        stub: the methods of the service.

    """

    def __init__(self, target: str) -> None:
        self._client = EmbeddedClient(target)
        self._pauses: set[asyncio.Future[None]] = set()
        self.stub: Any = _Methods(self._client)

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed."""
        return self._client.is_closed

    def current(self) -> Session:
        """Return the session of this process.

        Raises:
            ClientClosedError: the client was closed, or the process is ending.
            RuntimeError: no asyncio event loop is running.

        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("an AsyncClient works on a running asyncio event loop only") from None
        return self._client.session()

    async def close(self) -> None:
        """Close the client, and the folder if no other client of this process has it open."""
        loop = asyncio.get_running_loop()
        closed = loop.create_future()
        is_closing = self._client.close(partial(_settle_soon, loop, closed))
        for pause in list(self._pauses):
            _settle_soon(pause.get_loop(), pause)
        if is_closing:
            await closed

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts.

        Raises:
            ClientClosedError: the client was closed.

        """
        self.current()
        pause = asyncio.get_running_loop().create_future()
        self._pauses.add(pause)
        try:
            await asyncio.wait([pause], timeout=seconds)
        finally:
            self._pauses.discard(pause)
        self.current()

    async def explained(self, error: HoldfastError, left_seconds: float) -> HoldfastError:
        """Return the error of an attempt as it is. No connection can have failed."""
        return error

    def border(self, *, trace_id: str, request_id: str) -> AbstractContextManager[None]:
        """Convert the exceptions of an attempt to errors of the SDK."""
        self.current()
        return self._client.border(trace_id=trace_id, request_id=request_id)


class _Methods:
    """The methods of the service."""

    def __init__(self, client: EmbeddedClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "SaveStream":
            return partial(_Save, self._client)
        if name in ("LoadStream", "WatchWorkflow"):
            return partial(_Answers, self._client, name)
        return partial(_unary, self._client, name)


async def _unary(client: EmbeddedClient, name: str, request: Any, *, timeout: float, metadata: Metadata) -> Any:
    """Make a call that is one message and its answer."""
    session = client.session()
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    mailbox = session.process.mailboxes.of(loop)
    call = Call(name, request, timeout, metadata, partial(mailbox.post, _take_outcome, outcome))
    timer = loop.call_later(timeout, _settle_error, outcome, deadline_passed)
    session.start(call)
    try:
        return await outcome
    except BaseException:
        session.cancel(call)
        raise
    finally:
        timer.cancel()


def _take_outcome(outcome: asyncio.Future[Any], kind: str, value: Any) -> None:
    if outcome.done():
        return
    if kind == RESULT:
        outcome.set_result(value)
    elif kind == ERROR:
        outcome.set_exception(value)


def _settle_soon(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    """Set a future of a loop from any thread. The loop may have ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _settle_error(future: asyncio.Future[Any], error: Callable[[], Exception]) -> None:
    if not future.done():
        future.set_exception(error())


class _Stream:
    """A call that streams, from its caller's side.

    Args:
        client: the client.
        name: the method's name in the service.
        request: the request; None if the caller sends messages.
        timeout: the seconds that the call may take.
        metadata: the call's metadata.

    """

    def __init__(self, client: EmbeddedClient, name: str, request: Any, *, timeout: float, metadata: Metadata) -> None:
        self._session = client.session()
        self._events: deque[tuple[str, Any]] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        mailbox: Mailbox = self._session.process.mailboxes.of(self._loop)
        self._call = Call(name, request, timeout, metadata, partial(mailbox.post, self._take))
        self._ends_at = self._loop.time() + timeout
        self._timer = self._loop.call_at(self._ends_at, lambda: self._take(ERROR, deadline_passed()))
        self._session.start(self._call)

    def cancel(self) -> None:
        """End the call if it has not ended."""
        self._timer.cancel()
        self._session.cancel(self._call)

    def _take(self, kind: str, value: Any) -> None:
        self._events.append((kind, value))
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _next(self) -> tuple[str, Any]:
        """Return the next event."""
        while not self._events:
            self._waiting = self._loop.create_future()
            await self._waiting
        return self._events.popleft()


class _Answers(_Stream):
    """A load or a watch, as an iterator over its messages."""

    def __init__(self, client: EmbeddedClient, name: str, request: Any, *, timeout: float, metadata: Metadata) -> None:
        super().__init__(client, name, request, timeout=timeout, metadata=metadata)
        self._has_ended = False

    def __aiter__(self) -> "_Answers":
        return self

    async def __anext__(self) -> Any:
        if self._has_ended:
            raise StopAsyncIteration
        kind, value = await self._next()
        if kind == MESSAGE:
            self._session.process.post(self._call.make_room)
            return value
        self._has_ended = True
        self.cancel()
        if kind == ERROR:
            raise value
        raise StopAsyncIteration


class _Save(_Stream):
    """A save, to be awaited. Its messages are read while it is awaited."""

    def __init__(
        self, client: EmbeddedClient, messages: AsyncIterator[Any], *, timeout: float, metadata: Metadata
    ) -> None:
        super().__init__(client, "SaveStream", None, timeout=timeout, metadata=metadata)
        self._messages = messages
        self._seen = SaveEvents()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result().__await__()

    async def initial_metadata(self) -> Metadata:
        """Wait for the service's initial metadata.

        Raises:
            CallFailedError: the call failed before.

        """
        while self._seen.initial is None:
            self._seen.take(*await self._next())
        return self._seen.initial

    async def _result(self) -> Any:
        seconds = max(0.0, self._ends_at - self._loop.time())
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._exchange()
        except TimeoutError:
            if limit.expired():
                raise deadline_passed() from None
            raise
        finally:
            self.cancel()

    async def _exchange(self) -> Any:
        """Send the messages, and return the answer. An answer that comes early ends the call."""
        try:
            async with aclosing(self._messages) as messages:  # type: ignore[type-var]
                async for message in messages:
                    while not self._seen.room or self._events:
                        self._seen.take(*await self._next())
                    self._seen.room -= 1
                    self._session.process.post(self._call.put, message)
            self._session.process.post(self._call.put, None)
            while True:
                self._seen.take(*await self._next())
        except AnsweredError as answered:
            return answered.answer
