"""Signs that a log was rolled back: objects that name a revision which the log does not have any more.

Three kinds of objects name a revision that their log had when they were written: a blob that of the head when its
upload began, a claim the same and that of the last deletion of the workflow, an object of the index of ids those that
it covers. A save in flight is no sign, since its log has the revisions that it names. Records name no revision.

The newest marker alone may be removed without a sign, and a collection removes the signs with other dead objects.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from holdfast_server.protocol.format.keys import WorkflowKeys, blob_base, index_range
from holdfast_server.protocol.log import claims
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.inventory import Inventory


@dataclass(frozen=True, slots=True)
class AboveHead:
    """The objects of a workflow that name a revision above the head of its log.

    Attributes:
        key: the key of one of those with the highest revision.
        revision: that revision.
        objects: how many were above the head when the workflow was listed.
        newest: the revision of the newest marker; 0 if there is none.

    """

    key: str
    revision: int
    objects: int
    newest: int


async def find_above_head(log: Log, inventory: Inventory, keys: WorkflowKeys) -> AboveHead | None:
    """Return the objects of a workflow that name a revision above its head; None if there are none.

    Claims that are older than the newest marker are not read: the log had their revisions when that was written.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    newest, since = 0, 0.0
    async for revision, marker in inventory.markers(keys):
        newest, since = revision, marker.modified_seconds
        break
    highest, objects = (newest, ""), 0
    async for named in _named(log, inventory, keys, since):
        if named[0] > newest:
            highest, objects = max(highest, named), objects + 1
    revision, key = highest
    if not objects:
        return None
    # Entries may have been appended since the inventory was taken.
    newest = await log.newest(keys) or 0
    return AboveHead(key, revision, objects, newest) if revision > newest else None


async def _named(log: Log, inventory: Inventory, keys: WorkflowKeys, since: float) -> AsyncIterator[tuple[int, str]]:
    """Yield the revisions that objects name, with the objects' keys."""
    async for each in inventory.below(keys.blobs):
        base = blob_base(each.key.removeprefix(keys.prefix))
        if base is not None:
            yield base, each.key
    async for each in inventory.below(keys.indexes):
        covered = index_range(each.key.removeprefix(keys.prefix))
        if covered is not None:
            yield covered[1], each.key
    async for each in inventory.below(keys.claims):
        generation = keys.generation(each.key)
        if generation is None:
            continue
        base = await claims.base_at(log, each.key) if each.modified_seconds >= since else None
        yield max(generation, base or 0), each.key
