"""The store at the end of a run, when everything has ended: it too must fit the history."""

import asyncio

from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.protocol.maintenance.sweep import store_time
from holdfast_server.stores.memory import Objects

from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.linearizability import Checkpoint, Operation
from tests.verification.simulation.resting import bases_in
from tests.verification.simulation.rot import BLOB, Damage
from tests.verification.simulation.server import KEYS, read_value
from tests.verification.simulation.store import GRACE


async def audit(log: Log, history: list[Operation], damaged: frozenset[Damage]) -> str:
    """Repair damage and read everything. Add both to the history, and return what is wrong."""
    now = asyncio.get_running_loop().time
    if damaged:
        history.append(Operation("last", spec.REPAIR, began=now()))
        await fsck(log, repair=True)
    listed = Operation("audit", spec.AUDIT, began=now())
    try:
        found = [entry async for entry in load.history(log, KEYS, None)]
        for entry in reversed(found):
            known_id = _known_id(entry, history)
            listed.listed.append(Checkpoint(entry.revision, known_id, _value(entry), entry.marker.pinned))
            await _require_readable(log, entry, (BLOB, entry.revision) in damaged)
    except HoldfastError as error:
        if error.reason is not Reason.WORKFLOW_NOT_FOUND:
            return f"the audit met {error.reason}: {error.message} {error.metadata}"
    except AssertionError as error:
        return f"the audit found {error}"
    listed.revision = await log.known_revision(KEYS)
    listed.ended = now()
    history.append(listed)
    return ""


def _value(entry: Entry) -> str:
    return entry.marker.labels["value"]


def _known_id(entry: Entry, history: list[Operation]) -> str:
    """Return the id of a checkpoint if any caller has learnt it."""
    saves = [each for each in history if each.kind == spec.SAVE and each.value == _value(entry)]
    return entry.marker.checkpoint_id if any(each.checkpoint_id or each.answer for each in saves) else ""


async def _require_readable(log: Log, entry: Entry, is_damaged: bool) -> None:
    again = await load.find(log, KEYS, entry.marker.checkpoint_id, (), fallback=False)
    if again.entry.revision != entry.revision:
        raise AssertionError(f"{entry.marker.checkpoint_id} as both {entry.revision} and {again.entry.revision}")
    try:
        value = await read_value(log, entry)
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED or not is_damaged:
            raise
    else:
        if value != _value(entry):
            raise AssertionError(f"{value!r} in the place of {_value(entry)!r}")


async def garbage(log: Log, objects: Objects, damaged: frozenset[Damage]) -> str:
    """Check that after two graces and some collections only needed objects are left. Return what is wrong."""
    needed, found = set(), set()
    try:
        for _ in range(3):
            await collect(log, KEYS, Retention(), await store_time(log.store))
            await asyncio.sleep(1.5 * GRACE)
        if await log.head(KEYS) is not None:
            async for entry in load.history(log, KEYS, None):
                blobs = {KEYS.blob(part.blob) for part in entry.marker.parts if part.blob}
                blobs |= {KEYS.blob(blob) for _, blob in bases_in(entry.marker) if blob}
                needed |= blobs
                found |= blobs if (BLOB, entry.revision) in damaged else set()
    except HoldfastError as error:
        return f"the last collection met {error.reason}: {error.message} {error.metadata}"
    found |= {key for key in objects.by_key if key.startswith(KEYS.blobs)}
    return f"left behind: {sorted(found - needed)}, missing: {sorted(needed - found)}" if found != needed else ""
