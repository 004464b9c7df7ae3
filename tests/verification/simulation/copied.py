"""A copy of the workflow: what it must and must not contain, judged when everything has ended."""

import asyncio

from holdfast_server.protocol.checkpoints import load, records
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.protocol.maintenance.sweep import store_time
from holdfast_server.stores.memory import Objects

from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.linearizability import Operation
from tests.verification.simulation.resting import bases_in
from tests.verification.simulation.server import COPY, FIRST, KEYS, LAST, read_value
from tests.verification.simulation.store import GRACE


async def audit(log: Log, objects: Objects, history: list[Operation], beside: list[Operation]) -> str:
    """Read all of a copy and collect its garbage. Return what is wrong with it."""
    copy = next((each for each in beside if each.kind == spec.COPY), None)
    if copy is None:
        return ""
    try:
        found = await _read(log)
        wrong = _wrong(copy, found, history) or await _without_records(log, copy, found, beside)
        return f"{copy}: {wrong}" if wrong else await _garbage(log, objects)
    except HoldfastError as error:
        return f"{copy}: the audit met {error.reason}: {error.message} {error.metadata}"


async def _read(log: Log) -> list[Entry]:
    """Return the checkpoints of the copy, oldest first, each checked."""
    try:
        found = [entry async for entry in load.history(log, COPY, None)]
    except HoldfastError as error:
        if error.reason is not Reason.WORKFLOW_NOT_FOUND:
            raise
        return []
    for entry in found:
        value = await read_value(log, entry, COPY)
        if value != entry.marker.labels["value"]:
            raise HoldfastError(
                Reason.CHECKPOINT_CORRUPTED, f"{value!r} in the place of {entry.marker.labels['value']!r}"
            )
    return found[::-1]


def _wrong(copy: Operation, found: list[Entry], history: list[Operation]) -> str:
    saves = {each.value: each for each in history if each.kind == spec.SAVE}
    values = [entry.marker.labels["value"] for entry in found]
    for entry, value in zip(found, values, strict=True):
        saved = saves.get(value)
        if saved is None or saved.checkpoint_id not in ("", entry.marker.checkpoint_id):
            return f"{value!r} was never saved as {entry.marker.checkpoint_id!r}"
        if entry.marker.pinned != saved.pinned:
            return f"{value!r} is pinned: {entry.marker.pinned}"
        if saved.began > copy.ended:
            return f"{value!r} was saved after it"
    revisions = [saves[value].revision for value in values if saves[value].revision]
    if copy.is_first_attempt and revisions != sorted(revisions):
        return f"it is out of order: {values}"
    if copy.error is not None or copy.ended == spec.inf:
        return ""
    (audited,) = (each for each in history if each.kind == spec.AUDIT)
    # A checkpoint that is left was there since it was saved.
    stayed = [each.value for each in audited.listed if saves[each.value].ended < copy.began]
    missing = [each for each in stayed if each not in values]
    return f"it lacks {missing}" if missing else ""


async def _without_records(log: Log, copy: Operation, found: list[Entry], beside: list[Operation]) -> str:
    """Return the records of a checkpoint of the copy that were never attached to the original."""
    for entry in found:
        named = {each.name for each in beside if each.checkpoint_id == entry.marker.checkpoint_id}
        shown = {each.key for each in (await records.read(log.store, COPY, entry.marker.checkpoint_id)).records}
        if not shown <= {*named, FIRST, LAST}:
            return f"{entry.marker.checkpoint_id} has {sorted(shown - named)}"
        kept = {each.key for each in (await records.read(log.store, KEYS, entry.marker.checkpoint_id)).records}
        before = {each.name for each in beside if each.ended < copy.began}
        if copy.ended < spec.inf and not copy.error and not named & kept & before <= shown:
            return f"{entry.marker.checkpoint_id} lacks {sorted((named & kept & before) - shown)}"
    return ""


async def _garbage(log: Log, objects: Objects) -> str:
    for _ in range(3):
        await collect(log, COPY, Retention(), await store_time(log.store))
        await asyncio.sleep(1.5 * GRACE)
    needed = set()
    for entry in await _read(log):
        needed |= {COPY.blob(part.blob) for part in entry.marker.parts if part.blob}
        needed |= {COPY.blob(blob) for _, blob in bases_in(entry.marker) if blob}
    lying = {key for key in objects.by_key if key.startswith(COPY.blobs)}
    return f"left behind: {sorted(lying - needed)}, missing: {sorted(needed - lying)}" if lying != needed else ""
