"""Uploads whose stream broke, kept for a while so that their retry need not begin anew."""

import asyncio
from collections.abc import Hashable

from holdfast_server.api.incoming import Incoming

_MOST = 16
_SECONDS = 60.0


class ParkedUploads:
    """A few uploads by their request. What nobody asks for again is discarded."""

    def __init__(self) -> None:
        self._parked: dict[Hashable, tuple[Incoming, asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def park(self, request: Hashable, incoming: Incoming) -> None:
        """Keep an upload for its retry, unless it has failed; beyond the limit the oldest goes."""
        self._drop(request)
        if incoming.has_failed:
            # What it has written so far may be what a full disk lacks.
            self.discard(incoming)
            return
        if len(self._parked) >= _MOST:
            self._drop(next(iter(self._parked)))
        timer = asyncio.get_running_loop().call_later(_SECONDS, self._drop, request)
        self._parked[request] = (incoming, timer)

    async def take(self, request: Hashable) -> Incoming | None:
        """The upload that a request began, if it is here and whole so far."""
        found = self._parked.pop(request, None)
        if found is None:
            return None
        incoming, timer = found
        timer.cancel()
        try:
            is_whole = await incoming.settle()
        except asyncio.CancelledError:
            self.park(request, incoming)
            raise
        if is_whole:
            return incoming
        self.discard(incoming)
        return None

    def discard(self, incoming: Incoming) -> None:
        """Forget an upload. This is done behind the caller, who may be cancelled."""
        task = asyncio.create_task(incoming.discard())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget all of them."""
        for request in list(self._parked):
            self._drop(request)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _drop(self, request: Hashable) -> None:
        found = self._parked.pop(request, None)
        if found is not None:
            found[1].cancel()
            self.discard(found[0])
