"""Collections on a schedule: their metrics and their log."""

import asyncio
import logging
from collections import Counter

from holdfast_server import scheduled_gc, telemetry
from holdfast_server.api.stored import Stored
from holdfast_server.layout.v1.marker_pb2 import RecordBatch
from holdfast_server.protocol.checkpoints.records import attach
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.sweep import Policies
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust.quotas import Quotas

from tests.support.workflows import Workflow

KEYS = WorkflowKeys("n", "w")


class Counted:
    """A replacement for a counter of the metrics."""

    def __init__(self):
        self.counts = Counter()
        self.is_enough = asyncio.Event()

    def add(self, number, attributes):
        self.counts[attributes["holdfast.collected"]] += number
        if self.counts["records"] and self.counts["blobs"] and self.counts["markers"]:
            self.is_enough.set()


async def test_the_metric_counts_records_like_all_other_collected_objects(monkeypatch):
    counted = Counted()
    monkeypatch.setattr(telemetry, "COLLECTED", counted)
    log = Log(MemoryStore(), grace_seconds=0.0)
    run = Workflow(log, KEYS)
    for number in range(3):
        batch = RecordBatch(checkpoint_id=f"gone-{number}", request_id="r", stamp=number + 1, records=[{"key": "k"}])
        await attach(log, KEYS, batch, deadline=run.deadline())
        await run.save(checkpoint_id=f"c{number}")
    policies = Policies({"*": Retention(keep_last=1)})
    async with scheduled_gc.collecting_garbage(log, policies, 0.01, stored=Stored(Quotas)), asyncio.timeout(10):
        await counted.is_enough.wait()
    assert counted.counts["records"] == 3
    assert counted.counts["retired"] == 2
    assert counted.counts["blobs"] == 2


async def test_a_workflow_that_cannot_be_collected_is_named_in_the_log(caplog):
    log = Log(MemoryStore(), grace_seconds=0.0)
    await Workflow(log, KEYS).save()
    await Workflow(log, KEYS).save()
    log.store.objects.write(KEYS.marker(1), b"rotten")
    logged = asyncio.Event()
    caplog.handler.addFilter(lambda record: logged.set() or True)
    with caplog.at_level(logging.WARNING, "holdfast.server"):
        async with scheduled_gc.collecting_garbage(log, Policies({}), 0.01, stored=Stored(Quotas)), asyncio.timeout(10):
            await logged.wait()
    assert caplog.records[0].prefix == KEYS.prefix
    assert "damaged" in caplog.records[0].error
