"""The cache of heads uses about as much memory as it counts, and no more than its limit."""

import json
import subprocess
import sys

import pytest

# Protobuf's arenas are outside of Python's allocator: only the process's own memory shows their size.
PROGRAM = """
import asyncio, gc, json, os, resource, sys
from holdfast_server.protocol.format import marker as codec
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import decode_entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.layout.v1.marker_pb2 import RevisionRange
from tests.support.markers import sound

shape = json.loads(sys.argv[1])
count, limit = shape["heads"], shape.get("limit", 1 << 40)

def taken():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

def frame(number):
    marker = sound(1_000_000)
    marker.workflow_id = f"w{number:06d}"
    marker.request_fingerprint = marker.previous_digest = os.urandom(32)
    del marker.recent[:]
    if shape.get("version", 2) == 2:
        marker.recent_digests = os.urandom(16 * 6)
    else:
        for each in range(16):
            checkpoint_id = f"cp-{each:012d}-abcdefabcdef"
            marker.recent.add(revision=1_000_000 - each, request_id="r" * 32, checkpoint_id=checkpoint_id)
    marker.deleted.extend(RevisionRange(first=2 * n + 1, last=2 * n + 1) for n in range(shape.get("ranges", 0)))
    marker.labels.update({f"key-{n}": "v" * 20 for n in range(shape.get("labels", 0))})
    marker.parts.add(name="", size_bytes=1).inline = os.urandom(shape.get("inline", 100))
    return codec.encode(marker, WorkflowKeys("n", marker.workflow_id).marker(1_000_000))

async def main():
    log = Log(None, cache_bytes=limit)
    async def keep(number):
        keys = WorkflowKeys("n", f"w{number:06d}")
        entry = await decode_entry(keys.marker(1_000_000), frame(number))
        assert entry.gone(1) is bool(shape.get("ranges", 0))
        log._keep(keys, entry, 0.0)
    # What is loaded by now counts to the process, not to the cache.
    for number in range(20):
        await keep(number)
    gc.collect()
    before, counted = taken(), log.heads.held_bytes
    for number in range(20, count):
        await keep(number)
    gc.collect()
    print(json.dumps({"taken": taken() - before, "counted": log.heads.held_bytes - counted, "heads": len(log.heads)}))

asyncio.run(main())
"""


def measured(**shape):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(shape)], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "shape",
    [
        {"heads": 3000, "inline": 0},
        {"heads": 3000},
        {"heads": 3000, "version": 1},
        {"heads": 3000, "labels": 20},
        {"heads": 3000, "inline": 4000},
        {"heads": 3000, "ranges": 50},
        {"heads": 500, "ranges": 1000},
        {"heads": 500, "inline": 60_000, "labels": 64},
    ],
    ids=lambda shape: "-".join(f"{name}-{value}" for name, value in shape.items()),
)
def test_the_memory_that_the_cache_counts_is_the_memory_that_it_uses(shape):
    found = measured(**shape)
    assert 0.7 < found["counted"] / found["taken"] < 1.45, found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_cache_stays_within_its_limit_for_all_shapes_of_heads():
    limit = 8 << 20
    found = measured(heads=6000, limit=limit)
    assert found["taken"] < 1.5 * limit
    assert 800 < found["heads"] < 3000
