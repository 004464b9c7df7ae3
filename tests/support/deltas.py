"""Workflows whose checkpoints rest on earlier ones, and texts that grow and change like the states of engines."""

import asyncio
import random
import uuid

from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.encoding import HeldPart, PartEncoder, Payload
from holdfast_server.protocol.payload.policy import DeltaRules
from holdfast_server.protocol.payload.reads import read_part
from holdfast_server.stores.memory import MemoryStore

from tests.support.workflows import GRACE, KEYS, Workflow


def text(seed, size=3000):
    """Return a text that compresses like prose."""
    chosen = random.Random(f"text {seed}")
    words = [bytes(chosen.choices(b"abcdefghijklmnopqrstuvwxyz", k=chosen.randint(2, 9))) for _ in range(400)]
    return b" ".join(chosen.choices(words, k=size))[:size]


def noise(seed, size=3000):
    """Return bytes that do not compress."""
    return random.Random(f"noise {seed}").randbytes(size)


class Deltas(Workflow):
    """A workflow whose parts are stored as deltas.

    Args:
        store: the store.
        inline: how many bytes a commit marker may hold.
        rules: the rules for what is encoded.
        bases: the content in memory; None for the default.
        keys: the workflow.
        grace_seconds: the grace of the store.

    """

    def __init__(self, store=None, *, inline=1000, rules=None, bases=None, keys=KEYS, grace_seconds=GRACE):
        super().__init__(Log(store or MemoryStore(), grace_seconds=grace_seconds), keys)
        self.encoder = PartEncoder(self.log.store, rules or DeltaRules(), bases or Bases(), inline_limit_bytes=inline)

    def another_process(self):
        """Return the same workflow as another server sees it, with nothing in memory."""
        return Deltas(
            self.log.store,
            inline=self.encoder.inline_limit_bytes,
            rules=self.encoder.rules,
            keys=self.keys,
            grace_seconds=self.log.grace_seconds,
        )

    async def keep(self, data, *, epoch=None, request_id=None, **fields):
        """Save a checkpoint with the given bytes, or parts by name, and return its entry."""
        given = data if isinstance(data, dict) else {"": data}
        parts = [await HeldPart.of(name, each) for name, each in given.items()]
        wanted = CheckpointSpec(Request(self.keys, request_id or uuid.uuid4().hex, epoch), "f", 1, **fields)
        payload = Payload(self.encoder, self.keys, parts)
        return (await save(self.log, wanted, payload, deadline=self.deadline())).entry

    async def read(self, revision, *, bases=None, name=""):
        """Return the content of a part of a revision, read from the store."""
        entry = await self.log.read_unbounded(self.keys, revision)
        (part,) = [part for part in entry.marker.parts if part.name == name]
        return b"".join([block async for block in read_part(self.log.store, self.keys, part, bases=bases)])


class Counting(MemoryStore):
    """A store that notes which keys are read, and how many reads run at once."""

    def __init__(self):
        super().__init__()
        self.read = []
        self.at_once = self.most_at_once = 0

    async def get(self, key, *, offset=0, length=None):
        self.read.append(key)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            return await super().get(key, offset=offset, length=length)
        finally:
            self.at_once -= 1
