"""Checkpoints that rest on others: whatever is saved, deleted, purged and collected, each live one is whole."""

import time
import uuid
from contextlib import suppress
from dataclasses import replace

from holdfast_server.protocol.checkpoints import delete, fence
from holdfast_server.protocol.checkpoints.copy import copy_workflow
from holdfast_server.protocol.checkpoints.heads import read_head
from holdfast_server.protocol.checkpoints.live import live_below
from holdfast_server.protocol.checkpoints.prune import prune
from holdfast_server.protocol.checkpoints.purge import purge, purge_workflow
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.protocol.payload.policy import DeltaRules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.budget import amount
from tests.support.deltas import Counting, Deltas, noise, text
from tests.support.workflows import GRACE

MOST_PER_BASE = 5
SHAPES = ("append", "append", "append", "edit", "rewrite", "noise", "short", "two parts")
STEPS = (
    *("save",) * 8,
    *("save elsewhere",) * 3,
    "replace",
    "delete newest",
    "delete any",
    "purge any",
    "prune",
    "fence",
    "collect",
    "collect",
    "retire",
    "delete workflow",
    "purge workflow",
    "copy",
)


class World:
    """A workflow, two servers that know it, and the content of every checkpoint that should be live."""

    def __init__(self, inline, grace_seconds):
        rules = DeltaRules(checkpoints_per_base=MOST_PER_BASE)
        self.one = Deltas(Counting(), inline=inline, rules=rules, grace_seconds=grace_seconds)
        self.two = self.one.another_process()
        self.live = {}
        self.state = text(0)
        self.number = 0

    async def step(self, what, shape, pick):
        run = self.two if "elsewhere" in what else self.one
        self.number += 1
        if what.startswith("save"):
            await self.save(run, f"c{self.number}", shape, pick)
        elif what == "replace" and self.live:
            await self.save(run, self.chosen(pick), shape, pick, replace=True)
        elif what == "delete newest" and self.live:
            await self.delete(run, list(self.live)[-1])
        elif what == "delete any" and self.live:
            await self.delete(run, self.chosen(pick))
        elif what == "purge any" and self.live:
            name = self.chosen(pick)
            del self.live[name]
            await purge(run.log, self.request(), name, deadline=run.deadline())
        elif what == "prune" and self.live:
            await prune(run.log, self.request(), 1 + pick % 4, deadline=run.deadline())
            self.live = dict(list(self.live.items())[-1 - pick % 4 :])
        elif what == "fence":
            await fence.acquire_writer(run.log, self.request(), deadline=run.deadline())
        elif what in ("collect", "retire"):
            kept = Retention(keep_last=1) if what == "retire" else Retention()
            await collect(run.log, run.keys, kept, time.time() + 1)
            if what == "retire":
                self.live = dict(list(self.live.items())[-1:])
        elif what.endswith("workflow") and self.number > 1:
            with suppress(HoldfastError):
                if what == "purge workflow":
                    await purge_workflow(run.log, self.request(), (), deadline=run.deadline())
                else:
                    await delete.delete_workflow(run.log, self.request(), deadline=run.deadline())
                self.live = {}
        elif what == "copy" and self.live:
            await self.copy(run)

    async def save(self, run, name, shape, pick, **fields):
        data = self.next(shape, pick)
        await run.keep(data, checkpoint_id=name, **fields)
        self.live.pop(name, None)
        self.live[name] = data

    def next(self, shape, pick):
        if shape == "short":
            return text(self.number, 10)
        if shape == "noise":
            return noise(self.number)
        if shape == "rewrite":
            self.state = text(self.number)
        elif shape == "edit":
            place = pick % len(self.state)
            self.state = self.state[:place] + text(self.number, 40) + self.state[place + 20 :]
        else:
            self.state += text(self.number, 60)
        return {"": self.state, "more": noise(1) + self.state[:1100]} if shape == "two parts" else {"": self.state}

    async def delete(self, run, name):
        await run.delete(name)
        del self.live[name]

    async def copy(self, run):
        target = WorkflowKeys("n", f"copy {self.number}")
        request = replace(self.request(), keys=target)
        await copy_workflow(run.log, run.keys, request, deadline=run.deadline(), encoder=run.encoder)
        await self.require_whole(Deltas(run.log.store, keys=target, grace_seconds=GRACE))

    def chosen(self, pick):
        return list(self.live)[pick % len(self.live)]

    def request(self):
        return Request(self.one.keys, uuid.uuid4().hex)

    async def require_whole(self, run):
        """A server without anything in memory finds every live checkpoint, with few reads, on bases that may be."""
        cold = run.another_process()
        if not self.live:
            return
        head = await read_head(cold.log, cold.keys)
        skipped = []
        found = [entry async for entry in live_below(cold.log, cold.keys, head, head.revision + 1, skipped)]
        assert not skipped
        assert {entry.marker.checkpoint_id for entry in found} == set(self.live)
        resting = {}
        for entry in found:
            data = self.live[entry.marker.checkpoint_id]
            expected = data if isinstance(data, dict) else {"": data}
            for part in entry.marker.parts:
                cold.log.store.read.clear()
                assert await cold.read(entry.revision, name=part.name) == expected[part.name]
                # One of them is the marker itself.
                assert len(cold.log.store.read) <= 5
                for base in part.bases:
                    resting.setdefault((part.name, base.revision), []).append(entry.revision)
        assert all(len(each) <= MOST_PER_BASE for each in resting.values())


@settings(max_examples=amount(small=40, full=400), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([0, 200, 10_000]),
    # With a grace, servers keep heads in memory that are out of date.
    st.sampled_from([0, GRACE]),
    st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(SHAPES), st.integers(0, 4000)), max_size=40),
)
async def test_every_live_checkpoint_is_whole_whatever_happened_to_others(inline, grace_seconds, steps):
    world = World(inline, grace_seconds)
    for what, shape, pick in steps:
        await world.step(what, shape, pick)
        await world.require_whole(world.one)
    findings = []
    await fsck(world.one.another_process().log, on_finding=findings.append)
    assert findings == []
