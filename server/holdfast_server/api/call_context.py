"""The seam between the service and a transport: what a call needs to know of the way by which it came.

A call of gRPC, a call of a pipeline and a call inside a process have the same admission, deadlines, spans and errors.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class CallerGoneError(Exception):
    """The caller has cancelled the call or vanished. Nothing can be sent to it."""


class CallContext(Protocol):
    """A call, as its transport knows it.

    Attributes:
        peer: names the connection that the call came on.
        headers: the call's metadata that is text, by lower-case key.

    """

    @property
    def peer(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def certificate(self) -> Mapping[str, Iterable[bytes]]:
        """Return what gRPC knows of the client's verified certificate, by gRPC's own names; empty without one."""

    def time_remaining(self) -> float | None:
        """Return how many seconds the caller still waits; None if it sets no deadline."""


class StreamContext(CallContext, Protocol):
    """A call that answers before it ends."""

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """Send metadata before any message."""

    async def write(self, message: Any) -> None:
        """Send a message. Wait until the caller has room for it.

        Raises:
            CallerGoneError: the caller has gone, and the call is about to be cancelled.

        """
