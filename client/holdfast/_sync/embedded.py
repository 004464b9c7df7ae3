"""The connection of a `Client` to a folder: the service runs on a loop in a thread of this process.

It has the interface of `runtime.Channels`. Any thread may use it; a forked process has a session of its own.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from holdfast._core.errors import HoldfastError
from holdfast._embedded.calls import ERROR, MESSAGE, Call, Metadata
from holdfast._embedded.client import EmbeddedClient, deadline_passed
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
        self._closing = threading.Event()
        self.stub: Any = _Methods(self._client)

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed."""
        return self._client.is_closed

    def current(self) -> Session:
        """Return the session of this process.

        Raises:
            ClientClosedError: the client was closed, or the process is ending.

        """
        return self._client.session()

    def close(self) -> None:
        """Close the client, and the folder if no other client of this process has it open."""
        closed = threading.Event()
        is_closing = self._client.close(closed.set)
        self._closing.set()
        if is_closing:
            closed.wait()

    def pause(self, seconds: float) -> None:
        """Wait between two attempts.

        Raises:
            ClientClosedError: the client was closed.

        """
        self._closing.wait(seconds)
        self.current()

    def explained(self, error: HoldfastError, left_seconds: float) -> HoldfastError:
        """Return the error of an attempt: there is no connection that could fail."""
        return error

    def border(self, *, trace_id: str, request_id: str) -> AbstractContextManager[None]:
        """Convert the exceptions of an attempt to errors of the SDK."""
        self.current()
        return self._client.border(trace_id=trace_id, request_id=request_id)


class _Methods:
    """The methods of the service."""

    def __init__(self, client: EmbeddedClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        if name == "SaveStream":
            return _SaveStream(self._client)
        if name in ("LoadStream", "WatchWorkflow"):
            return partial(_Answers, self._client, name)
        return partial(_unary, self._client, name)


class _SaveStream:
    """The method SaveStream."""

    def __init__(self, client: EmbeddedClient) -> None:
        self._client = client

    def future(self, messages: Iterator[Any], *, timeout: float, metadata: Metadata) -> "_Save":
        """Begin a save. Its messages are read when its result is requested."""
        return _Save(self._client, messages, timeout=timeout, metadata=metadata)


class _Exchange:
    """A call, from its caller's side.

    Args:
        client: the client.
        name: the method's name in the service.
        request: the request; None if the caller sends messages.
        timeout: the seconds that the call may take.
        metadata: the call's metadata.

    """

    def __init__(self, client: EmbeddedClient, name: str, request: Any, *, timeout: float, metadata: Metadata) -> None:
        self._events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._session = client.session()
        self._call = Call(name, request, timeout, metadata, self._take)
        self._session.start(self._call)

    def cancel(self) -> None:
        """End the call if it has not ended."""
        self._session.cancel(self._call)

    def next(self) -> tuple[str, Any]:
        """Wait for the next event.

        Raises:
            DeadlineExceededError: there was none before the deadline.

        """
        try:
            return self._events.get(timeout=max(0.0, self._call.end - time.monotonic()))
        except Empty:
            raise deadline_passed() from None

    def _take(self, kind: str, value: Any) -> None:
        self._events.put((kind, value))


def _unary(client: EmbeddedClient, name: str, request: Any, *, timeout: float, metadata: Metadata) -> Any:
    """Make a call that is one message and its answer."""
    call = _Exchange(client, name, request, timeout=timeout, metadata=metadata)
    try:
        kind, value = call.next()
    except BaseException:
        call.cancel()
        raise
    if kind == ERROR:
        raise value
    return value


class _Answers(_Exchange):
    """A load or a watch, as an iterator over its messages."""

    def __init__(self, client: EmbeddedClient, name: str, request: Any, *, timeout: float, metadata: Metadata) -> None:
        super().__init__(client, name, request, timeout=timeout, metadata=metadata)
        self._has_ended = False

    def cancel(self) -> None:
        """End the call if it has not ended, also for a thread that waits for its next message."""
        super().cancel()
        # The end of the process has woken all threads, and nothing can be imported any more.
        if self._session.process.is_usable:
            self._take(ERROR, deadline_passed())

    def __iter__(self) -> "_Answers":
        return self

    def __next__(self) -> Any:
        if self._has_ended:
            raise StopIteration
        kind, value = self.next()
        if kind == MESSAGE:
            self._session.process.post(self._call.make_room)
            return value
        self._has_ended = True
        if kind == ERROR:
            raise value
        raise StopIteration


class _Save(_Exchange):
    """A save. Its messages are read by the thread that waits for its result."""

    def __init__(self, client: EmbeddedClient, messages: Iterator[Any], *, timeout: float, metadata: Metadata) -> None:
        super().__init__(client, "SaveStream", None, timeout=timeout, metadata=metadata)
        self._messages = messages
        self._seen = SaveEvents()

    def initial_metadata(self) -> Metadata:
        """Wait for the service's initial metadata.

        Raises:
            CallFailedError: the call failed before.

        """
        while self._seen.initial is None:
            self._seen.take(*self.next())
        return self._seen.initial

    def result(self) -> Any:
        """Send the messages, and return the answer. An answer that comes early ends the call."""
        try:
            for message in self._messages:
                while not self._seen.room or not self._events.empty():
                    self._seen.take(*self.next())
                self._seen.room -= 1
                self._session.process.post(self._call.put, message)
            self._session.process.post(self._call.put, None)
            while True:
                self._seen.take(*self.next())
        except AnsweredError as answered:
            return answered.answer
        finally:
            self.cancel()
