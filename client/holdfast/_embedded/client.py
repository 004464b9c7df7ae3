"""What the connections of both embedded clients have in common: the folder, the session, errors."""

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
from holdfast_server import location
from holdfast_server.api.errors import CallFailedError
from holdfast_server.embedded import FolderFailedError

from holdfast._core import arguments
from holdfast._core.errors import HoldfastError, closed, of_reason
from holdfast._core.statuses import DETAILS_KEY, from_rpc_error
from holdfast._embedded.calls import ClosedError
from holdfast._embedded.process import Process
from holdfast._embedded.sessions import Session


class EmbeddedClient:
    """A client's folder, and its session in this process. A forked process has a session of its own.

    Args:
        target: the folder as `file:///path`.

    Raises:
        InvalidRequestError: the target is not the URL of a folder.

    """

    def __init__(self, target: str) -> None:
        try:
            found = location.parse_folder(target)
        except ValueError as error:
            raise arguments.invalid("target", f"is an invalid location, {target!r:.200}: {error}") from None
        self._url = target
        self._path = os.path.realpath(found.path)
        self._session: Session | None = None
        self.is_closed = False

    def session(self) -> Session:
        """Return the session of this process.

        Raises:
            ClientClosedError: the client was closed, or the process is ending.

        """
        if self.is_closed:
            raise closed()
        process = Process.current()
        session = self._session
        if session is None or session.process is not process:
            # Two threads that come here at once may each make one. The one that is lost has made no call.
            session = self._session = Session(process, self._url, self._path)
            weakref.finalize(self, _drop, session).atexit = False
        return session

    def close(self, closed: Callable[[], None]) -> bool:
        """Close the client: its calls end with `ClientClosedError`.

        Args:
            closed: called in another thread when the folder is closed, unless another client has it open.

        Returns:
            Whether `closed` is called; False if there is nothing to wait for.

        """
        self.is_closed = True
        session, self._session = self._session, None
        if session is None or not session.process.is_usable:
            return False
        session.close(closed)
        return True

    @contextmanager
    def border(self, *, trace_id: str, request_id: str) -> Iterator[None]:
        """Convert the exceptions of an attempt to errors of the SDK."""
        try:
            yield
        except HoldfastError:
            raise
        except ClosedError:
            raise closed(trace_id=trace_id, request_id=request_id) from None
        except CallFailedError as error:
            failure = from_rpc_error(_Status(error), trace_id=trace_id, request_id=request_id)
            if isinstance(error, FolderFailedError):
                failure.retryable = False
            raise failure from error.__cause__


class _Status:
    """A failed call, with the interface of gRPC's errors."""

    def __init__(self, error: CallFailedError) -> None:
        self._error = error

    def code(self) -> grpc.StatusCode:
        return self._error.code

    def details(self) -> str:
        return str(self._error.status.message)

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return ((DETAILS_KEY, self._error.status.SerializeToString()),)


def deadline_passed() -> HoldfastError:
    """Return the error of a call that has not ended in time."""
    return of_reason("DEADLINE_EXCEEDED", "the deadline passed before the call was done")


def _drop(session: Session) -> None:
    """Close the session of a client that was never closed."""
    if session.process.is_usable:
        session.close(lambda: None)
