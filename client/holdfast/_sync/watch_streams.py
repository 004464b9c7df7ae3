"""The streams of watches of one channel of a synchronous client. A fork ends them, and the watches begin new ones.

gRPC cannot prepare itself for a fork while its thread that reads a stream is at work: the new process would hang or
end in gRPC's library.
"""

import threading
import weakref
from functools import partial
from typing import Any

# How long a fork waits for the end of a stream.
_END_SECONDS = 1.0

_ended_by_fork: "weakref.WeakSet[Any]" = weakref.WeakSet()


class WatchStreams:
    """The open streams of watches.

    Args:
        stub: the methods of the service.

    """

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        # Held during a fork.
        self._gate = threading.Lock()
        # Each has an event that is set once gRPC is done with the stream, even if nothing refers to the stream.
        self._open: dict[threading.Event, weakref.ref[Any]] = {}

    def open(self, request: Any, **options: Any) -> Any:
        """Open a stream. Wait if the process is being forked.

        Args:
            request: the first message.
            options: the options of the call.

        """
        with self._gate:
            stream = self._stub.WatchWorkflow(request, **options)
            ended = threading.Event()
            self._open[ended] = weakref.ref(stream)
        if not stream.add_callback(partial(self._ended, ended)):
            self._ended(ended)
        return stream

    def before_fork(self) -> None:
        """End the streams, and let those that begin wait."""
        self._gate.acquire()
        streams = dict(self._open)
        for reference in streams.values():
            if (stream := reference()) is not None:
                _ended_by_fork.add(stream)
                stream.cancel()
        for ended in streams:
            ended.wait(_END_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Let streams begin."""
        self._gate.release()

    def _ended(self, ended: threading.Event) -> None:
        self._open.pop(ended, None)
        ended.set()


def was_ended_by_fork(stream: Any) -> bool:
    """Return whether a fork of this process has ended a stream."""
    return stream in _ended_by_fork
