"""A service over a store, as the targets call it."""

import asyncio

from holdfast_server.api.calls import Calls
from holdfast_server.api.pipeline.pipelines import Pipelines
from holdfast_server.api.service import CheckpointService
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.encoding import PartEncoder
from holdfast_server.stores.base import ObjectStore

_PAYLOAD_LIMIT_BYTES = 1000


class Service:
    """A service and its pipelines.

    Args:
        store: the store.
        most_calls: how many calls may be in flight.
        inline_limit_bytes: the longest part that lies in a marker.

    """

    def __init__(self, store: ObjectStore, *, most_calls: int, inline_limit_bytes: int) -> None:
        self._calls = Calls(limit=most_calls, bytes_limit=1 << 40, longest_seconds=60)
        encoder = PartEncoder(store, inline_limit_bytes=inline_limit_bytes)
        self.service = CheckpointService(Log(store), self._calls, encoder, payload_limit_bytes=_PAYLOAD_LIMIT_BYTES)
        self.pipelines = Pipelines(self.service, self._calls, age_seconds=60)

    async def close(self) -> None:
        """Close the service. Raise a TimeoutError if a call does not end."""
        await self.service.close()
        await asyncio.wait_for(self._calls.ended(), 10)
