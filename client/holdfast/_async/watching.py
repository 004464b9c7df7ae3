"""Watching a workflow: its entries as they are committed, over as many streams as it takes."""

import os
import time
from collections.abc import AsyncGenerator
from typing import Any

from holdfast._async import runtime
from holdfast._async.calls import ACCEPTED_KEY, Attempt, Caller
from holdfast._async.opening import Opening
from holdfast._async.transport import Transport
from holdfast._async.watch_connections import Place
from holdfast._core.answers import answered
from holdfast._core.checkpoint import LogEntry
from holdfast._core.errors import HoldfastError, unavailable
from holdfast._core.watches import ENDED, FORKED, LATE, Position
from holdfast.v1 import checkpoint_service_pb2 as api

# The longest time that one stream is open. Servers end it before.
_STREAM_SECONDS = 3600.0
# A stream that brought something, or lasted as long, was of use: the next one is opened at once.
_USEFUL_SECONDS = 5.0


class Watching:
    """The watches of one client."""

    def __init__(self, transport: Transport, opening: Opening) -> None:
        self._transport = transport
        self._opening = opening

    async def entries(
        self, request: api.WatchWorkflowRequest, *, silence: float | None, timeout: float | None
    ) -> AsyncGenerator[LogEntry, None]:
        """Iterate over the entries of a log as they are committed.

        Args:
            request: the workflow, and the revision to begin after.
            silence: end once no entry has come for so many seconds; None to go on for ever.
            timeout: seconds for each attempt to reach a server, retries included; None for the client's own.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        position = Position(request, self._transport.heads)
        caller = self._transport.caller()
        heard = time.monotonic()
        fruitless = 0
        while True:
            began = time.monotonic()
            broken: HoldfastError | None = None
            was_useful = False
            owner, stream = os.getpid(), None
            place = self._transport.watch_connections.take()
            try:
                stream, message = await self._open(caller, place, position, timeout)
                while message is not ENDED and message is not FORKED:
                    for entry in position.take(message):
                        # If this fails, the caller continues after the entry before it: the watch may not pass over it.
                        opened = await self._opening.entry(entry, self._transport.budget(timeout))
                        was_useful, heard = True, time.monotonic()
                        yield opened
                        if silence is not None:
                            # The caller's own time with an entry is not silence.
                            heard = time.monotonic()
                    # The caller may have forked with an entry.
                    if owner != os.getpid():
                        break
                    left = None if silence is None else heard + silence - time.monotonic()
                    if left is not None and position.is_behind:
                        left = max(left, self._transport.seconds(timeout))
                    try:
                        message = await self._next(stream, left)
                    except HoldfastError as error:
                        # With credentials that have expired since, the next stream gets new ones or the refusal.
                        if not error.retryable and ACCEPTED_KEY not in error.metadata:
                            raise
                        broken = error if error.retryable else None
                        break
                    if message is LATE:
                        return
            finally:
                place.give_back()
                # A process that was forked off has no part in the stream of its parent.
                if stream is not None and owner == os.getpid():
                    stream.cancel()
            was_useful = was_useful or message is FORKED or time.monotonic() - began > _USEFUL_SECONDS
            fruitless = 0 if was_useful else fruitless + 1
            if fruitless:
                reason = broken or unavailable("the server ends each watch at once")
                await caller.pause_after(reason, fruitless, self._transport.seconds(timeout))

    async def _open(self, caller: Caller, place: Place, position: Position, timeout: float | None) -> tuple[Any, Any]:
        """Open a stream, and return it with its first message."""
        request = position.begin()
        stream: Any = None

        async def send(attempt: Attempt) -> Any:
            nonlocal stream
            stream = place.stub.WatchWorkflow(request, timeout=_STREAM_SECONDS, metadata=attempt.metadata)
            try:
                message = await runtime.next_message(stream, attempt.timeout_seconds)
                if message in (ENDED, FORKED, LATE):
                    raise unavailable("the server did not begin the watch in time")
                return answered(message)
            except BaseException:
                stream.cancel()
                raise

        first = await caller.call(
            "WatchWorkflow",
            send,
            watch=self._transport.heads.watch(request),
            timeout_seconds=self._transport.seconds(timeout),
        )
        return stream, first

    async def _next(self, stream: Any, seconds: float | None) -> Any:
        """Return the next message, `ENDED`, `FORKED` or `LATE`."""
        with self._transport.border():
            message = await runtime.next_message(stream, None if seconds is None else max(seconds, 0.001))
        return message if message in (ENDED, FORKED, LATE) else answered(message)
