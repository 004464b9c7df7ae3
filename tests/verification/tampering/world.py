"""A store with MACs, the true history of its workflows, and what its readers may see after an attack."""

import asyncio
import random
from collections import defaultdict
from contextlib import aclosing

from holdfast_server.layout.v1.marker_pb2 import RecordBatch, StoredRecord
from holdfast_server.protocol.checkpoints import delete, fence, load, purge, records
from holdfast_server.protocol.checkpoints.heads import Skipped
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import fresh_ids
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.protocol.payload.parts import PartUpload
from holdfast_server.protocol.payload.reads import read_part
from holdfast_server.stores.memory import MemoryStore

from tests.support.mac_keys import STORE_ID, keyed

GRACE = 1000.0
WORKFLOWS = (WorkflowKeys("n", "w"), WorkflowKeys("n", "v"), WorkflowKeys("m", "w"))
_IDS = ("x", "y", "z")
_STEPS = 40
_MISSING = (Reason.WORKFLOW_NOT_FOUND, Reason.CHECKPOINT_NOT_FOUND, Reason.CHECKPOINT_DELETED)


class ViolationError(Exception):
    """A broken promise."""


class World:
    """Three workflows in two namespaces, written by one server.

    Attributes:
        objects: the objects of the bucket, by key path, with the time of the last write.
        versions: all bytes that ever were under a key path.
        live: by workflow and revision, the ids and values of the checkpoints that exist.

    """

    def __init__(self, store_id: str = STORE_ID) -> None:
        self.store = MemoryStore()
        self.objects = self.store.objects.by_key
        self.versions: dict[str, set[bytes]] = defaultdict(set)
        self.live: dict[WorkflowKeys, dict[int, tuple[str, str]]] = {keys: {} for keys in WORKFLOWS}
        self._store_id = store_id
        self._records: dict[tuple[WorkflowKeys, str], dict[str, str]] = defaultdict(dict)
        self._stamps = records.Stamps()
        self._log = self.server()
        self._number = 0

    def server(self) -> Log:
        """Return the log of a server that was just started."""
        return Log(keyed(self.store, store_id=self._store_id), grace_seconds=GRACE)

    async def grow(self, chance: random.Random) -> None:
        """Save, delete, fence and attach at random."""
        for keys in WORKFLOWS:
            await self._save(keys, "x", has_blob=False)
        for _ in range(_STEPS):
            keys = chance.choice(WORKFLOWS)
            step = chance.choices((self._save_some, self._delete, self._fence, self._attach), (6, 2, 1, 2))[0]
            await step(keys, chance)
            self._remember()
        for keys in WORKFLOWS:
            await self._save(keys, "", has_blob=False)
        self._remember()

    async def observe(self, *, may_fail: bool) -> None:
        """Load, list and read all workflows by a new server.

        Args:
            may_fail: whether an answer may be that the checkpoint is damaged.

        Raises:
            ViolationError: an answer is wrong, or hides something.

        """
        log = self.server()
        for keys, live in self.live.items():
            newest = max(live)
            await self._require(log, keys, "", {newest}, falls_back=False, may_fail=may_fail)
            await self._require(log, keys, "", set(live) if may_fail else {newest}, falls_back=True, may_fail=may_fail)
            for chosen in {each for each, _ in live.values()}:
                revisions = {revision for revision, (each, _) in live.items() if each == chosen}
                await self._require(log, keys, chosen, revisions, falls_back=False, may_fail=may_fail)
                await self._require_records(log, keys, chosen, may_fail=may_fail)
            await self._require_list(log, keys, may_fail=may_fail)

    async def check(self) -> set[str]:
        """Return the key paths that fsck reports."""
        found: set[str] = set()
        await fsck(self.server(), on_finding=lambda finding: found.add(finding.key))
        return found

    async def collect(self) -> None:
        """Collect all garbage, long after the last write."""
        for key, (data, modified) in list(self.objects.items()):
            self.objects[key] = (data, modified - 3 * GRACE)
        await sweep(self.server(), Policies({}))

    async def go_on(self, chance: random.Random) -> None:
        """Save more by a new server, as far as that is possible."""
        self._log = self.server()
        for keys in WORKFLOWS:
            try:
                await self._save_some(keys, chance)
            except HoldfastError as error:
                if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                    raise

    async def fork(self) -> str:
        """Let the adversary put back a marker that it had removed, after a server wrote another one of its revision.

        Returns:
            The key path of the marker after it, which follows the other one.

        """
        keys = WORKFLOWS[0]
        await self._save(keys, "", has_blob=False)
        revision = max(self.live[keys])
        data, _ = self.objects[keys.marker(revision)]
        self.store.objects.delete(keys.marker(revision))
        self._log = self.server()
        for _ in range(2):
            await self._save(keys, "", has_blob=False)
        self.store.objects.write(keys.marker(revision), data)
        return keys.marker(revision + 1)

    def _remember(self) -> None:
        for key, (data, _) in self.objects.items():
            self.versions[key].add(data)

    async def _save_some(self, keys: WorkflowKeys, chance: random.Random) -> None:
        free = [each for each in _IDS if each not in {known for known, _ in self.live[keys].values()}]
        self._number += 1
        chosen = chance.choice(["", f"c{self._number}", f"new{self._number}", *free])
        await self._save(keys, chosen, has_blob=chance.random() < 0.4, is_fresh=chosen.startswith("new"))

    async def _save(self, keys: WorkflowKeys, chosen: str, *, has_blob: bool, is_fresh: bool = False) -> None:
        request = self._request(keys)
        value = f"{keys.prefix} {request.request_id}"
        base = await self._log.known_revision(keys)
        async with PartUpload(self._log.store, keys, base, "", 0 if has_blob else 100) as upload:
            await upload.write(value.encode())
            part = await upload.finish()
        wanted = CheckpointSpec(request, "f", 1, checkpoint_id=chosen, fresh_id=is_fresh, labels={"value": value})
        try:
            entry = (await save(self._log, wanted, [part], deadline=_deadline())).entry
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_ID_REUSED:
                raise
            return
        if fresh_ids.is_due(self._log, entry):
            await fresh_ids.extend(self._log, entry, deadline=_deadline())
        if entry.marker.checkpoint_id in {each for each, _ in self.live[keys].values()}:
            raise ViolationError(f"{keys.prefix}: a second checkpoint has the id {entry.marker.checkpoint_id}")
        self.live[keys][entry.revision] = (entry.marker.checkpoint_id, value)

    async def _delete(self, keys: WorkflowKeys, chance: random.Random) -> None:
        if len(self.live[keys]) < 2:
            return
        revision, (chosen, _) = chance.choice(sorted(self.live[keys].items()))
        remove = chance.choice((delete.delete_checkpoint, purge.purge))
        await remove(self._log, self._request(keys), chosen, deadline=_deadline())
        del self.live[keys][revision]
        self._records.pop((keys, chosen), None)

    async def _fence(self, keys: WorkflowKeys, chance: random.Random) -> None:
        await fence.acquire_writer(self._log, self._request(keys), deadline=_deadline())

    async def _attach(self, keys: WorkflowKeys, chance: random.Random) -> None:
        chosen, _ = chance.choice(sorted(self.live[keys].values()))
        request = self._request(keys)
        batch = RecordBatch(
            checkpoint_id=chosen,
            request_id=request.request_id,
            stamp=self._stamps.next(),
            records=[StoredRecord(key=request.request_id, data=keys.prefix.encode())],
        )
        await records.attach(self._log, keys, batch, deadline=_deadline())
        self._records[keys, chosen][request.request_id] = keys.prefix

    def _request(self, keys: WorkflowKeys) -> Request:
        self._number += 1
        return Request(keys, f"r{self._number}")

    async def _require(
        self, log: Log, keys: WorkflowKeys, chosen: str, revisions: set[int], *, falls_back: bool, may_fail: bool
    ) -> None:
        what = f"load of {chosen or 'the newest'} of {keys.prefix}"
        try:
            found = await load.find(log, keys, chosen, (), fallback=falls_back)
            (part,) = found.entry.marker.parts
            async with aclosing(read_part(log.store, keys, part)) as blocks:
                value = b"".join([block async for block in blocks]).decode()
        except HoldfastError as error:
            _require_damage(error, what, may_fail=may_fail)
            return
        served = (found.entry.marker.checkpoint_id, value)
        if found.entry.revision not in revisions or self.live[keys][found.entry.revision] != served:
            raise ViolationError(f"{what} returned {served} of revision {found.entry.revision}")
        if found.entry.marker.labels["value"] != value:
            raise ViolationError(f"{what} has other labels")

    async def _require_list(self, log: Log, keys: WorkflowKeys, *, may_fail: bool) -> None:
        listed = {}
        skipped: list[Skipped] = []
        try:
            async with aclosing(load.history(log, keys, None, skipped)) as history:
                async for entry in history:
                    listed[entry.revision] = (entry.marker.checkpoint_id, entry.marker.labels["value"])
        except HoldfastError as error:
            _require_damage(error, f"list of {keys.prefix}", may_fail=may_fail)
            return
        skipped_revisions = {each.revision for each in skipped}
        if listed != {each: known for each, known in self.live[keys].items() if each not in skipped_revisions}:
            raise ViolationError(f"list of {keys.prefix} returned {listed}")

    async def _require_records(self, log: Log, keys: WorkflowKeys, chosen: str, *, may_fail: bool) -> None:
        try:
            found = (await records.read(log.store, keys, chosen)).records
        except HoldfastError as error:
            _require_damage(error, f"records of {chosen} of {keys.prefix}", may_fail=may_fail)
            return
        if {each.key: each.data.decode() for each in found} != self._records[keys, chosen]:
            raise ViolationError(f"records of {chosen} of {keys.prefix}: {found}")


def _require_damage(error: HoldfastError, what: str, *, may_fail: bool) -> None:
    if error.reason in _MISSING:
        raise ViolationError(f"{what} is hidden: {error.reason}: {error.message}")
    if error.reason is not Reason.CHECKPOINT_CORRUPTED:
        raise ViolationError(f"{what} failed: {error.reason}: {error.message}")
    if not may_fail:
        raise ViolationError(f"{what} is damaged: {error.message}")


def _deadline() -> float:
    return asyncio.get_running_loop().time() + 10
