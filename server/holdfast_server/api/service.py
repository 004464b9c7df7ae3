"""What all parts of the service share: the log, the admission of calls, a checkpoint's contents as messages."""

from typing import Any

from crc32c import crc32c
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer

from holdfast_server import telemetry
from holdfast_server.api import messages
from holdfast_server.api.admission import Place
from holdfast_server.api.calls import Calls
from holdfast_server.protocol import load, records
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.payload import read_part
from holdfast_server.protocol.records import Records, Stamps


class Service(CheckpointServiceServicer):
    """A part of the service.

    Args:
        log: the commit log of the store.
        calls: admits calls.

    """

    def __init__(self, log: Log, calls: Calls) -> None:
        self._log = log
        self._calls = calls
        self._stamps = Stamps()
        self._records_room = records.Room(log.store)

    async def add_payload(self, place: Place, answer: Any, keys: WorkflowKeys, entry: Entry) -> None:
        """Read a checkpoint's payload into an answer, which has fields for it.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, CHECKPOINT_DELETED, OVERLOADED.

        """
        size_bytes = sum(part.size_bytes for part in entry.marker.parts)
        place.hold(place.held_bytes + size_bytes)
        try:
            for part in entry.marker.parts:
                data = b"".join([block async for block in read_part(self._log.store, keys, part)])
                answer.parts.add(name=part.name, data=data, crc32c=crc32c(data))
        except HoldfastError as error:
            raise await load.as_of_now(self._log, keys, entry, error) from None
        answer.payload_included = True
        telemetry.PAYLOAD_BYTES.add(size_bytes, {"holdfast.direction": "loaded"})

    async def add_records(
        self, place: Place, answer: Any, keys: WorkflowKeys, checkpoint_id: str, limit_bytes: int
    ) -> int:
        """Read a checkpoint's records into an answer, which has fields for them, unless they are too large.

        Returns:
            The largest stamp among them.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, OVERLOADED.

        """
        found = await self.read_records(place, keys, checkpoint_id, "", limit_bytes)
        added = [messages.record(each) for each in found.records]
        if found.is_whole and sum(map(messages.field_bytes, added)) <= limit_bytes:
            answer.records.extend(added)
            answer.records_included = True
        return found.stamp

    async def read_records(
        self, place: Place, keys: WorkflowKeys, checkpoint_id: str, after: str, limit_bytes: int
    ) -> Records:
        """Read the records of a checkpoint that follow a key, as many as fit, and count what that holds in memory.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, OVERLOADED.

        """
        before = place.held_bytes
        found = await records.read(
            self._log.store,
            keys,
            checkpoint_id,
            after=after,
            limit_bytes=limit_bytes,
            hold=lambda count: place.hold(before + count),
        )
        place.hold(before + sum(each.ByteSize() for each in found.records))
        return found
