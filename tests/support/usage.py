"""What workflows take in a store, counted naively, and workflows with everything that a store can hold."""

import random
import uuid

from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.protocol.checkpoints import copy, fence, load, prune, purge, records
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.indexer import Indexer
from holdfast_server.protocol.maintenance import usage_pages
from holdfast_server.protocol.maintenance.usage import Usage
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.listing import list_all

from tests.support.deltas import Deltas, noise, text

NAMES = ("a", "b", "ü" * 100)
FIELDS = ("objects", "stored_bytes", "index_bytes", "record_bytes", "head_revision")
ACTIONS = ("save", "save", "save", "fresh", "large", "replace", "delete", "purge", "prune", "drop", "copy", "attach")
ALL_ACTIONS = (*ACTIONS, "orphan", "collect", "fence")
FAR_SECONDS = 10**9


class Workflows:
    """Some workflows of namespace `n`, which a random generator works on.

    Args:
        store: the store.
        seed: of the generator.

    """

    def __init__(self, store: ObjectStore, seed: int) -> None:
        self._random = random.Random(seed)
        self.runs = [Deltas(store, inline=200, keys=WorkflowKeys("n", name), grace_seconds=1.0) for name in NAMES]
        self.log = self.runs[0].log

    async def act(self, action: str) -> None:
        """Do something to one of the workflows, if that is possible."""
        run = self._random.choice(self.runs)
        try:
            await self._act(run, action)
        except HoldfastError as error:
            expected = (Reason.WORKFLOW_NOT_FOUND, Reason.CHECKPOINT_NOT_FOUND, Reason.CHECKPOINT_DELETED)
            if error.reason not in (*expected, Reason.REVISION_CONFLICT, Reason.CHECKPOINT_ID_REUSED):
                raise

    async def _act(self, run: Deltas, action: str) -> None:
        number, deadline = self._random.randrange(6), run.deadline()
        request = Request(run.keys, uuid.uuid4().hex)
        if action == "save":
            await run.keep(text(0, 3000 + 10 * number))
        elif action == "fresh":
            entry = await run.keep(b"small", checkpoint_id=uuid.uuid4().hex, fresh_id=True)
            indexer = Indexer(run.log)
            indexer.extend_soon(entry)
            await indexer.close()
        elif action == "large":
            await run.keep({"x": noise(number), "y": text(number)}, ttl_seconds=self._random.choice([None, 5.0]))
        elif action == "replace":
            await run.keep(text(number), checkpoint_id=f"c{number}", replace=True)
        elif action == "delete":
            await run.delete(f"c{number}")
        elif action == "purge":
            await purge.purge(run.log, request, f"c{number}", deadline=deadline)
        elif action == "prune":
            await prune.prune(run.log, request, 2, deadline=deadline)
        elif action == "drop":
            await run.delete_workflow()
        elif action == "copy":
            other = self._random.choice([each for each in self.runs if each is not run])
            await copy.copy_workflow(run.log, run.keys, Request(other.keys, uuid.uuid4().hex), deadline=deadline)
        elif action == "attach":
            batch = RecordBatch(
                checkpoint_id=f"c{number}", request_id=uuid.uuid4().hex, stamp=self._random.randrange(1, 1 << 40)
            )
            batch.records.append(StoredRecord(key="k", data=noise(number, 500)))
            await records.attach(run.log, run.keys, batch, deadline=deadline)
        elif action == "orphan":
            await run.upload(noise(number), inline=0)
        elif action == "collect":
            await run.collect(Retention(keep_last=3), passed=self._random.choice([0.0, FAR_SECONDS]))
        elif action == "fence":
            await fence.acquire_writer(run.log, request, deadline=deadline)


async def naive(run: Deltas) -> dict[str, int]:
    """Return what a workflow takes, from everything that the store lists and every live checkpoint."""
    prefix, keys = run.keys.prefix, run.keys
    objects = {each.key: each.size_bytes async for each in list_all(run.log.store, prefix)}
    revisions = [revision for key in objects if (revision := keys.revision(key)) is not None]
    head = await run.log.head(keys)
    live = [] if head is None else [entry async for entry in load.history_of(run.log, keys, head, None)]
    parts = [part for entry in live for part in entry.marker.parts]
    live_blobs = {keys.blob(part.blob) for part in parts if part.blob}
    live_markers = {keys.marker(each) for each in revisions if head is None or not head.gone(each)}

    def below(*kinds: str) -> int:
        return sum(size for key, size in objects.items() if key.removeprefix(prefix).startswith(kinds))

    return {
        "objects": len(objects),
        "stored_bytes": sum(objects.values()),
        "index_bytes": below("id/", "idx/"),
        "record_bytes": below("rec/"),
        "head_revision": max(revisions, default=0),
        "checkpoints": len(live),
        "size_bytes": sum(part.size_bytes for part in parts),
        "live_bytes": sum(objects[key] for key in live_blobs | live_markers),
        "damaged_markers": 0,
    }


def figures(usage: Usage) -> dict[str, int]:
    """Return what was measured, under the names of a naive count. The parts add up."""
    assert usage.stored_bytes == sum((usage.live_bytes, usage.deleted_bytes, usage.index_bytes, usage.record_bytes))
    assert usage.deleted_bytes >= 0
    names = (*FIELDS, "checkpoints", "size_bytes", "live_bytes", "damaged_markers")
    return {name: getattr(usage, name) for name in names}


async def measured(log, namespace="n", *, size=1000, id_prefix="", reads_markers=True, end_seconds=float("inf")):
    """Return the usage of each workflow by its prefix, over all pages, and the number of pages."""
    found: dict[str, usage_pages.WorkflowUsage] = {}
    token, pages = "", 0
    while True:
        page = await usage_pages.page(
            log, namespace, token, size, id_prefix=id_prefix, reads_markers=reads_markers, end_seconds=end_seconds
        )
        assert len(page.workflows) <= size
        assert not page.damaged_listings
        for each in page.workflows:
            assert each.prefix not in found
            found[each.prefix] = each
        token, pages = page.next_token, pages + 1
        if not token:
            return found, pages
