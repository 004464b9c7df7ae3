"""What all parts of the service share: the log, the admission of calls, a checkpoint's contents as messages."""

from typing import Any

from crc32c import crc32c
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer

from holdfast_server import telemetry
from holdfast_server.api import messages
from holdfast_server.api.calls import Calls
from holdfast_server.protocol import load, records
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.payload import read_part
from holdfast_server.protocol.records import Stamps


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

    async def add_payload(self, answer: Any, keys: WorkflowKeys, entry: Entry) -> None:
        """Read a checkpoint's payload into an answer, which has fields for it.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED, CHECKPOINT_DELETED.

        """
        try:
            for part in entry.marker.parts:
                data = b"".join([block async for block in read_part(self._log.store, keys, part)])
                answer.parts.add(name=part.name, data=data, crc32c=crc32c(data))
        except HoldfastError as error:
            raise await load.as_of_now(self._log, keys, entry, error) from None
        answer.payload_included = True
        size_bytes = sum(part.size_bytes for part in entry.marker.parts)
        telemetry.PAYLOAD_BYTES.add(size_bytes, {"holdfast.direction": "loaded"})

    async def add_records(self, answer: Any, keys: WorkflowKeys, checkpoint_id: str, limit_bytes: int) -> int:
        """Read a checkpoint's records into an answer, which has fields for them, unless they are too large.

        Returns:
            The largest stamp among them.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED.

        """
        found = await records.read(self._log.store, keys, checkpoint_id)
        if found.size_bytes <= limit_bytes:
            answer.records.extend(messages.record(each) for each in found.records)
            answer.records_included = True
        return found.stamp
