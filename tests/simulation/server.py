"""The server's side of a call: the real protocol code, asked as the API asks it."""

from contextlib import aclosing

from holdfast_server.protocol import load, ownership, pruning
from holdfast_server.protocol.entries import Request
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.fsck import fsck
from holdfast_server.protocol.gc import collect
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.payload import PartUpload, read_part
from holdfast_server.protocol.retention import Retention
from holdfast_server.protocol.save import SaveRequest, save
from holdfast_server.protocol.sweep import store_time

from tests.simulation import linearizability as spec
from tests.simulation.linearizability import Checkpoint, Operation
from tests.simulation.plans import Step

KEYS = WorkflowKeys("n", "w")


async def serve(log: Log, step: Step, asked: Operation, request: Request, deadline: float) -> Operation:
    """What was asked, with the answer."""
    match step.kind:
        case spec.SAVE:
            return await _save(log, step, asked, request, deadline)
        case spec.LOAD:
            found = await load.find(log, KEYS, asked.checkpoint_id, (), fallback=step.falls_back)
            skipped = frozenset(each.revision for each in found.skipped)
            value = await read_value(log, found.entry)
            return asked.answered(revision=found.entry.revision, answer=value, skipped=skipped)
        case spec.PAGE:
            return asked.answered(listed=await listed(log, asked.below, step.size))
        case spec.COLLECT:
            await collect(log, KEYS, Retention(keep_last=step.keep_last), await store_time(log.store))
            return asked
        case spec.REPAIR:
            await fsck(log, repair=True)
            return asked
        case spec.FENCE:
            done = await ownership.acquire_writer(log, request, deadline=deadline)
            return asked.answered(revision=done.entry.revision, answer=done.entry.marker.writer_epoch)
        case spec.PRUNE:
            return asked.answered(answer=await pruning.prune(log, request, step.keep_last, deadline=deadline))
        case spec.DELETE:
            done = await ownership.delete(log, request, asked.checkpoint_id, deadline=deadline)
        case _:
            done = await ownership.delete_workflow(log, request, deadline=deadline)
    return asked.answered(revision=done.entry.revision)


async def _save(log: Log, step: Step, asked: Operation, request: Request, deadline: float) -> Operation:
    base = await log.known_revision(KEYS)
    async with PartUpload(log.store, KEYS, base, "", 0 if step.has_blob else 100) as upload:
        await upload.write(asked.value.encode())
        part = await upload.finish()
    wanted = SaveRequest(
        request,
        "f",
        1,
        checkpoint_id=asked.checkpoint_id,
        expected_revision=asked.expected,
        replace=asked.replaces,
        labels={"value": asked.value},
    )
    saved = await save(log, wanted, [part], deadline=deadline)
    return asked.answered(revision=saved.entry.revision, answer=saved.entry.marker.checkpoint_id)


async def listed(log: Log, below: int | None, size: int) -> list[Checkpoint]:
    """A page of checkpoints, newest first."""
    found: list[Checkpoint] = []
    async with aclosing(load.history(log, KEYS, below)) as history:
        async for entry in history:
            found.append(Checkpoint(entry.revision, entry.marker.checkpoint_id, entry.marker.labels["value"]))
            if len(found) == size:
                break
    return found


async def read_value(log: Log, entry: Entry) -> str:
    (part,) = entry.marker.parts
    try:
        async with aclosing(read_part(log.store, KEYS, part)) as blocks:
            return b"".join([block async for block in blocks]).decode(errors="replace")
    except HoldfastError as error:
        raise await load.as_of_now(log, KEYS, entry, error) from None
