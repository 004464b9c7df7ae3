"""Payloads and records of checkpoints as fields of an answer."""

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server import telemetry
from holdfast_server.api import messages
from holdfast_server.api.admission import Permit
from holdfast_server.protocol.checkpoints import load, records
from holdfast_server.protocol.checkpoints.window import Records
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.reads import read_whole_part, rebuilding_bytes
from holdfast_server.stores.base import ObjectStore

# Both have the fields of a payload and of records.
Answer = api.LoadResponse | api.Content


async def add_payload(
    log: Log, permit: Permit, answer: Answer, keys: WorkflowKeys, entry: Entry, *, bases: Bases
) -> None:
    """Read a checkpoint's payload into an answer.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED, CHECKPOINT_DELETED, OVERLOADED.

    """
    size_bytes = sum(part.size_bytes for part in entry.marker.parts)
    held_bytes = permit.held_bytes + size_bytes
    permit.hold(held_bytes + rebuilding_bytes(entry.marker.parts))
    try:
        for part in entry.marker.parts:
            data = await read_whole_part(log.store, keys, part, bases=bases)
            answer.parts.add(name=part.name, data=data, crc32c=part.crc32c)
    except HoldfastError as error:
        raise await load.as_of_now(log, keys, entry, error) from None
    permit.hold(held_bytes)
    answer.payload_included = True
    telemetry.count_loaded(entry.marker.format.name, size_bytes)


async def add_records(
    store: ObjectStore, permit: Permit, answer: Answer, keys: WorkflowKeys, checkpoint_id: str, *, limit_bytes: int
) -> int:
    """Read a checkpoint's records into an answer, unless they exceed the limit.

    Returns:
        The largest stamp among them.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED, OVERLOADED.

    """
    found = await read_records(store, permit, keys, checkpoint_id, after="", limit_bytes=limit_bytes)
    added = [messages.record(record) for record in found.records]
    if found.is_whole and sum(map(messages.field_bytes, added)) <= limit_bytes:
        answer.records.extend(added)
        answer.records_included = True
    return found.stamp


async def read_records(
    store: ObjectStore,
    permit: Permit,
    keys: WorkflowKeys,
    checkpoint_id: str,
    *,
    after: str,
    limit_bytes: int,
    max_records: int | None = None,
) -> Records:
    """Read the records of a checkpoint whose keys follow `after`, as many as fit, and count the memory they take.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED, OVERLOADED.

    """
    held_before = permit.held_bytes
    found = await records.read(
        store,
        keys,
        checkpoint_id,
        after=after,
        limit_bytes=limit_bytes,
        max_records=max_records,
        hold=lambda count: permit.hold(held_before + count),
    )
    permit.hold(held_before + sum(record.ByteSize() for record in found.records))
    return found
