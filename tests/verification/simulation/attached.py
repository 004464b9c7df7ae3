"""Records stay as long as their checkpoint, in the order in which their callers knew of each other.

They are judged apart from the search for an order of all operations, which records would only make longer: they
change no checkpoint, and each can be judged alone.
"""

from collections.abc import Mapping
from math import inf

from holdfast_server.protocol.checkpoints import load, records
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import batch_owner, records_of
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import Objects

from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.linearizability import Operation
from tests.verification.simulation.server import FIRST, KEYS, LAST
from tests.verification.simulation.store import GRACE


async def audit(log: Log, history: list[Operation], attached: list[Operation]) -> str:
    """Read the records of all remaining checkpoints. Return what is wrong with them or with those of loads."""
    saves = {each.value: each for each in history if each.kind == spec.SAVE and each.error is None}
    for each in history:
        if each.kind == spec.LOAD and each.records is not None and each.error is None:
            before = [batch for batch in attached if batch.ended < each.began]
            saved = saves.get(str(each.answer))
            # During a load of a grace, a collection may remove the checkpoint that it found.
            if saved is not None and each.ended - each.began < GRACE:
                wrong = _wrong(each.checkpoint_id, each.records, before, attached, saved)
                if wrong:
                    return f"{each} without {wrong}"
    try:
        async for entry in load.history(log, KEYS, None):
            found = await records.read(log.store, KEYS, entry.marker.checkpoint_id)
            shown = {each.key: each.data.decode() for each in found.records}
            saved = saves.get(entry.marker.labels["value"])
            if saved is not None:
                wrong = _wrong(entry.marker.checkpoint_id, shown, attached, attached, saved)
                if wrong:
                    return f"the audit of {entry.marker.checkpoint_id} @{entry.revision} without {wrong}"
    except HoldfastError as error:
        if error.reason is not Reason.WORKFLOW_NOT_FOUND:
            return f"the audit of records met {error.reason}: {error.message} {error.metadata}"
    return ""


def _wrong(
    checkpoint_id: str,
    shown: Mapping[str, str],
    before: list[Operation],
    everything: list[Operation],
    saved: Operation,
) -> str:
    """Return the records that are missing, and those that others should have replaced."""
    known = {each.name: each for each in everything if each.checkpoint_id == checkpoint_id}
    if not set(shown) <= {*known, FIRST, LAST} or not set(shown.values()) <= set(known):
        return f"reason: {sorted(shown)}"
    stay = [each for each in before if each.name in known and _stays(each, saved)]
    for each in stay:
        if each.name not in shown:
            return str(each)
    if not stay:
        return ""
    first, last = known[shown[FIRST]], known[shown[LAST]]
    for each in stay:
        if each.client == first.client and each.ended < first.began:
            return f"{each} as the first, but {first}"
        if each.client == last.client and last.ended < each.began:
            return f"{each} as the last, but {last}"
    return ""


def _stays(batch: Operation, saved: Operation) -> bool:
    """Return whether a batch must exist as long as its checkpoint: it was acknowledged, less than a grace before it."""
    return batch.ended < inf and saved.ended < inf and saved.ended - batch.began < GRACE - 1


async def garbage(log: Log, objects: Objects) -> str:
    """Return the records without a checkpoint, after everything has ended and was collected."""
    living = set()
    if await log.head(KEYS) is not None:
        living = {records_of(entry.marker.checkpoint_id) async for entry in load.history(log, KEYS, None)}
    left = [
        key
        for key in objects.by_key
        if key.startswith(KEYS.records) and batch_owner(key.removeprefix(KEYS.prefix)) not in living
    ]
    return f"records of dead checkpoints kept: {left}" if left else ""
