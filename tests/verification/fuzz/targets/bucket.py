"""A bucket with any objects: markers with nonsense, and foreign objects in any place.

The protocol raises only its own errors, in a bounded number of store requests. Foreign objects stay unchanged and fsck
names them. Another workflow in the bucket is not affected.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from holdfast_server.layout.v1.marker_pb2 import Claim
from holdfast_server.protocol.checkpoints import delete, fence, load, workflows
from holdfast_server.protocol.checkpoints.load import Depth
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.checkpoints.validate import validate
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import Finding, fsck
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.protocol.payload.parts import PartUpload
from holdfast_server.stores.base import StoreError

from tests.support.bounded_store import BoundedStore
from tests.support.frames import frame
from tests.support.inline_loop import run
from tests.support.markers import sound
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader

KEYS, BESIDE = WorkflowKeys("n", "w"), WorkflowKeys("n", "x")
GRACE = 1000.0
_CUT = "[0-9a-f]{3}/[0-9a-f]{3}/[0-9a-f]{3}"
_NAME = "[A-Za-z0-9_%~-]{1,200}"
_OURS = re.compile(
    rf"ns/{_NAME}/wf/{_NAME}/(log/{_CUT}|blob/{_CUT}-[0-9a-f]{{32}}|id/{_CUT}/{_NAME}"
    rf"|idx/{_CUT}-[0-9a-f]{{9}}"
    rf"|rec/[0-9a-f]{{2}}/{_NAME}[.][0-9a-f]{{16}}-[0-9a-f]{{32}})"
)
# Two workflows with three checkpoints each, written once.
_BEFORE: dict[str, tuple[bytes, float]] = {}
_PLACES = ("ns/", "ns/n/", "ns/n/wf/", KEYS.prefix, KEYS.log, KEYS.blobs, KEYS.claims)
_REVISIONS = (1, 2, 3, 4, 5, 6, 70)
_FAR_REVISIONS = (10**9, 16**9 - 1)


@dataclass
class Bucket:
    """The store, and the objects that were put into it from outside."""

    store: BoundedStore
    foreign: dict[str, bytes] = field(default_factory=dict)


def check(data: bytes) -> None:
    run(_check(Reader(data)))


async def _check(reader: Reader) -> None:
    bucket = await _bucket(reader)
    for _ in range(reader.below(5) + 1):
        await _do(reader.choice(_OPERATIONS), bucket)
    bucket.store.age(2 * GRACE)
    for operation in (_collect, _check_all, _load, _save):
        await _do(operation, bucket)
    # The other workflow is sound.
    bucket.store.requests = 0
    found = await load.find(_log(bucket), BESIDE, "", (), fallback=False)
    await load.check(_log(bucket), BESIDE, found.entry, Depth.CHECKSUM)


async def _bucket(reader: Reader) -> Bucket:
    bucket = Bucket(BoundedStore())
    if not _BEFORE:
        for keys in (BESIDE, KEYS):
            for number in range(3):
                await _commit(_log(bucket), keys, f"{number}", chosen=f"c{number}" if number == 1 else "")
        _BEFORE.update(bucket.store.objects.by_key)
        bucket = Bucket(BoundedStore())
    for key, (data, _) in _BEFORE.items():
        bucket.store.objects.write(key, data)
    for _ in range(reader.below(4) + 1):
        key, data = _object(reader)
        if key.startswith(BESIDE.prefix) or not key:
            continue
        bucket.store.objects.write(key, data)
        if _OURS.fullmatch(key) is None or key.endswith("/log/fff/fff/fff"):
            bucket.foreign[key] = data
    return bucket


def _object(reader: Reader) -> tuple[str, bytes]:
    kind = reader.below(4)
    if kind == 0:
        key = reader.choice(_PLACES) + reader.raw().decode(errors="surrogateescape")
        return key, reader.raw()
    if kind == 1:
        claim = fill(Claim(checkpoint_id="c1"), reader)
        return KEYS.claim(reader.below(3), "c1"), frame(claim.SerializeToString())
    revision = reader.choice(_REVISIONS + _FAR_REVISIONS)
    body = reader.raw() if kind == 2 else fill(sound(revision), reader).SerializeToString()
    data = frame(body) if reader.below(8) else body
    return KEYS.marker(revision), data


async def _do(operation: Callable[[Bucket], Awaitable[None]], bucket: Bucket) -> None:
    bucket.store.requests = 0
    with suppress(HoldfastError, StoreError):
        await operation(bucket)
    for key, data in bucket.foreign.items():
        assert bucket.store.objects.by_key.get(key, (None,))[0] == data, f"{key!r} is not Holdfast's to change"


def _log(bucket: Bucket) -> Log:
    return Log(bucket.store, grace_seconds=GRACE)


async def _commit(log: Log, keys: WorkflowKeys, name: str, chosen: str = "") -> None:
    parts = []
    for part, inline in (("a", 100), ("b", 0)):
        async with PartUpload(log.store, keys, await log.known_revision(keys), part, inline) as upload:
            await upload.write(name.encode() * 3)
            parts.append(await upload.finish())
    wanted = CheckpointSpec(Request(keys, f"r-{name}"), "f", 1, checkpoint_id=chosen)
    await save(log, wanted, parts, deadline=_deadline())


def _deadline() -> float:
    return asyncio.get_running_loop().time() + 5


async def _save(bucket: Bucket) -> None:
    await _commit(_log(bucket), KEYS, "again")


async def _save_chosen(bucket: Bucket) -> None:
    await _commit(_log(bucket), KEYS, "chosen", chosen="c1")


async def _load(bucket: Bucket) -> None:
    found = await load.find(_log(bucket), KEYS, "", (), fallback=True)
    await load.check(_log(bucket), KEYS, found.entry, Depth.CHECKSUM)


async def _load_chosen(bucket: Bucket) -> None:
    await load.find(_log(bucket), KEYS, "c1", (), fallback=False)


async def _history(bucket: Bucket) -> None:
    async for entry in load.history(_log(bucket), KEYS, None):
        entry.marker.create_time.ToNanoseconds()


async def _validate(bucket: Bucket) -> None:
    await validate(_log(bucket), KEYS, "", Depth.PRESENCE, ())


async def _list_workflows(bucket: Bucket) -> None:
    await _required(_require_listed(bucket))


async def _require_listed(bucket: Bucket) -> None:
    found = await workflows.page(_log(bucket), "n", "", 10)
    assert BESIDE.workflow_id in {head.marker.workflow_id for head in found.heads}
    assert len({head.marker.workflow_id for head in found.heads}) == len(found.heads)


async def _delete(bucket: Bucket) -> None:
    await delete.delete_checkpoint(_log(bucket), Request(KEYS, "d"), "c1", deadline=_deadline())


async def _delete_workflow(bucket: Bucket) -> None:
    await delete.delete_workflow(_log(bucket), Request(KEYS, "dw"), deadline=_deadline())


async def _acquire(bucket: Bucket) -> None:
    await fence.acquire_writer(_log(bucket), Request(KEYS, "f"), deadline=_deadline())


async def _collect(bucket: Bucket) -> None:
    bucket.store.age(GRACE + 1)
    await _required(sweep(_log(bucket), Policies({"*": Retention(keep_last=1)})))


async def _check_all(bucket: Bucket) -> None:
    findings: list[Finding] = []
    await _required(fsck(_log(bucket), on_finding=findings.append))
    assert {key for key in bucket.foreign if key.startswith("ns/")} <= {each.key for each in findings}


async def _repair(bucket: Bucket) -> None:
    await _required(fsck(_log(bucket), repair=True))


async def _required(work: Awaitable[object]) -> None:
    """Await work on the whole store, which must end whatever one workflow contains."""
    try:
        await work
    except (HoldfastError, StoreError) as error:
        raise AssertionError(f"one workflow stopped all: {error}") from error


_OPERATIONS = (
    _save,
    _save_chosen,
    _load,
    _load_chosen,
    _history,
    _validate,
    _list_workflows,
    _delete,
    _delete_workflow,
    _acquire,
    _collect,
    _check_all,
    _repair,
)
