"""A workflow on an in-memory store, driven by the functions of the protocol, with a grace that a test lets pass."""

import asyncio
import time
import uuid

from holdfast_server.protocol.checkpoints import delete, load
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import fresh_ids
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.protocol.payload.parts import PartUpload
from holdfast_server.protocol.payload.reads import read_part
from holdfast_server.stores.memory import MemoryStore

KEYS = WorkflowKeys("n", "w")
GRACE = 1000.0
ALL = Retention()


def workflow(keys=KEYS):
    return Workflow(Log(MemoryStore(), grace_seconds=GRACE), keys)


class Workflow:
    def __init__(self, log, keys=KEYS):
        self.log = log
        self.keys = keys

    async def upload(self, data=b"x" * 100, base=None, inline=0):
        base = await self.log.known_revision(self.keys) if base is None else base
        async with PartUpload(self.log.store, self.keys, base, "", inline) as part:
            await part.write(data)
            return await part.finish()

    async def save(self, data=b"x" * 100, *, parts=None, epoch=None, **fields):
        parts = parts or [await self.upload(data)]
        wanted = CheckpointSpec(Request(self.keys, uuid.uuid4().hex, epoch), "f", 1, **fields)
        return (await save(self.log, wanted, parts, deadline=self.deadline())).entry

    async def save_fresh(self, *checkpoint_ids, indexes=True, **fields):
        """Save small checkpoints under new ids, and extend the index after each as a server does."""
        part = await self.upload(b"x", inline=100)
        for checkpoint_id in checkpoint_ids:
            entry = await self.save(parts=[part], checkpoint_id=checkpoint_id, fresh_id=True, **fields)
            if indexes and fresh_ids.is_due(self.log, entry):
                await fresh_ids.extend(self.log, entry, deadline=self.deadline())
        return entry

    async def load(self, checkpoint_id=""):
        found = await load.find(Log(self.log.store), self.keys, checkpoint_id, (), fallback=False)
        (part,) = found.entry.marker.parts
        return b"".join([block async for block in read_part(self.log.store, self.keys, part)])

    async def delete(self, checkpoint_id):
        await delete.delete_checkpoint(
            self.log, Request(self.keys, uuid.uuid4().hex), checkpoint_id, deadline=self.deadline()
        )

    async def delete_workflow(self):
        await delete.delete_workflow(self.log, Request(self.keys, uuid.uuid4().hex), deadline=self.deadline())

    async def collect(self, retention=ALL, *, passed=0.0, dry_run=False):
        return await collect(self.log, self.keys, retention, time.time() + passed, dry_run=dry_run)

    async def objects(self, kind=""):
        return [each.key for each in await self.log.store.list(f"{self.keys.prefix}{kind}")]

    @staticmethod
    def deadline():
        return asyncio.get_running_loop().time() + 5


async def check(run, **options):
    findings = []
    checked = await fsck(Log(run.log.store, grace_seconds=GRACE), on_finding=findings.append, **options)
    assert checked.findings == len(findings)
    return checked, findings


def damage(run, key):
    data, modified = run.log.store.objects.by_key[key]
    run.log.store.objects.by_key[key] = (bytes([data[0] ^ 1]) + data[1:], modified)


async def sweep_after(run, passed, retention=ALL):
    store = run.log.store
    objects = store.objects.by_key
    for key, (data, modified) in list(objects.items()):
        objects[key] = (data, modified - passed)
    return await sweep(run.log, Policies({"*": retention}))
