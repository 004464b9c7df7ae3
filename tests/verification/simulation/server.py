"""The server's side of a call: the real protocol code, called as the API calls it."""

from contextlib import aclosing, suppress
from dataclasses import replace
from weakref import WeakKeyDictionary

from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredPart, StoredRecord
from holdfast_server.protocol.checkpoints import copy, delete, fence, load, prune, purge, records
from holdfast_server.protocol.checkpoints.heads import OvertakenError, read_head
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.indexer import Indexer
from holdfast_server.protocol.log.leases import Lease
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.protocol.maintenance.sweep import store_time
from holdfast_server.protocol.payload.encoding import HeldPart, Payload
from holdfast_server.protocol.payload.parts import PartUpload
from holdfast_server.protocol.payload.reads import read_part
from holdfast_server.stores.listing import list_all

from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.linearizability import Checkpoint, Operation
from tests.verification.simulation.plans import Step
from tests.verification.simulation.resting import encoder_of, payload_of, value_in

KEYS = WorkflowKeys("n", "w")
COPY = WorkflowKeys("n", "copy")
# Each batch has a record under its own key, and these two: of one the first batch wins, of the other the last.
FIRST, LAST = "first", "last"
LEASE_SECONDS = 600.0

INDEXERS: WeakKeyDictionary[Log, Indexer] = WeakKeyDictionary()
_STAMPS: WeakKeyDictionary[Log, records.Stamps] = WeakKeyDictionary()


async def serve(log: Log, step: Step, operation: Operation, request: Request, deadline: float) -> Operation:
    """Run an operation. Return it with its answer."""
    match step.kind:
        case spec.SAVE:
            return await _save(log, step, operation, request, deadline)
        case spec.LOAD:
            while True:
                found = await load.find(
                    log, KEYS, operation.checkpoint_id, (), fallback=step.falls_back, bases=encoder_of(log).bases
                )
                with suppress(OvertakenError):
                    return await _load(log, step, operation, found)
        case spec.PAGE:
            head = await read_head(log, KEYS)
            return operation.answered(listed=await listed(log, head, operation.below, step.size), head=head)
        case spec.COPY:
            to_copy = replace(request, keys=COPY)
            copied = await copy.copy_workflow(log, KEYS, to_copy, deadline=deadline, encoder=encoder_of(log))
            return operation.answered(answer=copied.checkpoints, head=copied.source)
        case spec.COLLECT_COPY:
            await collect(log, COPY, Retention(), await store_time(log.store))
            return operation
        case spec.COLLECT:
            await collect(log, KEYS, Retention(keep_last=step.keep_last), await store_time(log.store))
            return operation
        case spec.REPAIR:
            await fsck(log, repair=True)
            return operation
        case spec.FENCE:
            lease = Lease(LEASE_SECONDS if step.leases else None, operation.client, step.forces)
            done = await fence.acquire_writer(
                log, request, expected_revision=operation.expected, lease=lease, deadline=deadline
            )
            return operation.answered(
                revision=done.entry.revision,
                answer=done.entry.marker.writer_epoch,
                head=done.entry,
                is_replay=done.replayed,
            )
        case spec.PRUNE:
            deletion = await prune.prune(log, request, step.keep_last, deadline=deadline)
            return operation.answered(answer=deletion.checkpoints, head=deletion.head)
        case spec.ATTACH:
            return await _attach(log, operation, request, deadline)
        case spec.DELETE:
            delete_one = purge.purge if operation.purges else delete.delete_checkpoint
            done = await delete_one(log, request, operation.checkpoint_id, deadline=deadline)
        case _:
            if operation.purges:
                attached = [each.key async for each in list_all(log.store, KEYS.records)]
                done = await purge.purge_workflow(log, request, attached, deadline=deadline)
            else:
                done = await delete.delete_workflow(log, request, deadline=deadline)
    return operation.answered(revision=done.entry.revision, head=done.entry, is_replay=done.replayed)


async def _save(log: Log, step: Step, operation: Operation, request: Request, deadline: float) -> Operation:
    base = await log.known_revision(KEYS)
    data = payload_of(operation.value, rests=step.rests)
    part: StoredPart | HeldPart
    if step.rests:
        part = await HeldPart.of("", data)
    else:
        async with PartUpload(log.store, KEYS, base, "", 0 if step.has_blob else 100) as upload:
            await upload.write(data)
            part = await upload.finish()
    wanted = CheckpointSpec(
        request,
        "f",
        1,
        checkpoint_id=operation.checkpoint_id,
        expected_revision=operation.expected,
        replace=operation.replaces,
        pinned=operation.pinned,
        fresh_id=step.is_fresh,
        labels={"value": operation.value},
    )
    payload = Payload(encoder_of(log, has_blob=step.has_blob), KEYS, [part])
    saved = await save(log, wanted, payload, deadline=deadline)
    INDEXERS.setdefault(log, Indexer(log)).extend_soon(saved.entry)
    return operation.answered(
        revision=saved.entry.revision,
        answer=saved.entry.marker.checkpoint_id,
        head=saved.entry,
        is_replay=saved.replayed,
    )


async def _load(log: Log, step: Step, operation: Operation, found: load.Found) -> Operation:
    if step.reads_records:
        await _read_records(log, operation)
    value = await read_value(log, found.entry)
    skipped = frozenset(each.revision for each in found.skipped)
    return operation.answered(revision=found.entry.revision, answer=value, skipped=skipped, head=found.head)


async def _attach(log: Log, operation: Operation, request: Request, deadline: float) -> Operation:
    head = await fence.require_unfenced(log, request)
    batch = RecordBatch(
        checkpoint_id=operation.checkpoint_id,
        request_id=request.request_id,
        stamp=_STAMPS.setdefault(log, records.Stamps()).next(operation.stamp),
        records=[
            StoredRecord(key=key, data=operation.value.encode(), replace=key == LAST)
            for key in (FIRST, LAST, operation.name)
        ],
    )
    await records.attach(log, KEYS, batch, deadline=deadline)
    return operation.answered(stamp=batch.stamp, head=head)


async def _read_records(log: Log, operation: Operation) -> None:
    found = await records.read(log.store, KEYS, operation.checkpoint_id)
    operation.answered(records={each.key: each.data.decode() for each in found.records}, stamp=found.stamp)


async def listed(log: Log, head: Entry, below: int | None, size: int) -> list[Checkpoint]:
    """Return a page of checkpoints, newest first."""
    found: list[Checkpoint] = []
    async with aclosing(load.history_of(log, KEYS, head, below)) as history:
        async for entry in history:
            marker = entry.marker
            found.append(Checkpoint(entry.revision, marker.checkpoint_id, marker.labels["value"], marker.pinned))
            if len(found) == size:
                break
    return found


async def read_value(log: Log, entry: Entry, keys: WorkflowKeys = KEYS) -> str:
    (part,) = entry.marker.parts
    try:
        async with aclosing(read_part(log.store, keys, part, bases=encoder_of(log).bases)) as blocks:
            return value_in(b"".join([block async for block in blocks]))
    except HoldfastError as error:
        raise await load.as_of_now(log, keys, entry, error) from None
