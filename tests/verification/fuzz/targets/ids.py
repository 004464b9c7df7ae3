"""The index of checkpoint ids, with hostile objects: of other revisions, with foreign ids, incomplete, damaged.

A load by id never returns another checkpoint. An id is found as long as its object is refused, or has its digest or the
mark for an unknown one at its place: so an object can hide only what it lies about. fsck names each object that is
refused, and repairs it.
"""

from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from holdfast_server.layout.v1.marker_pb2 import IdIndex
from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.id_index import BLOCK, NO_CHECKPOINT, UNKNOWN, digest_of
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import Finding, fsck

from tests.support.bounded_store import BoundedStore
from tests.support.frames import newest
from tests.support.inline_loop import run
from tests.support.workflows import GRACE, KEYS, Workflow
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader

_SAVES = 3 * BLOCK + 20
# What the index of so many checkpoints consists of, and the objects that may be put there.
_RANGES = ((1, 2 * BLOCK), (2 * BLOCK + 1, 3 * BLOCK))
_SUPERSEDED = (1, BLOCK)
_REVISIONS = (1, 2, 20, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, 150, 3 * BLOCK, 3 * BLOCK + 1)
# The same for all inputs, written once.
_BEFORE: dict[str, tuple[bytes, float]] = {}


@dataclass
class _Scene:
    """A store, and which digests each object of the index has, by revision; None for an object that is refused."""

    store: BoundedStore
    known: dict[tuple[int, int], dict[int, bytes] | None] = field(default_factory=dict)

    def log(self) -> Log:
        """Return a log that knows nothing yet, and may make as many requests as one operation needs."""
        self.store.requests = 0
        return Log(self.store, grace_seconds=GRACE)

    def must_find(self, revision: int) -> bool:
        """Return whether no object hides the id of a revision."""
        for revisions in _RANGES:
            if revisions[0] <= revision <= revisions[1] and (known := self.known[revisions]) is not None:
                return known.get(revision) in (digest_of(_name(revision)), UNKNOWN)
        return True


def check(data: bytes) -> None:
    run(_check(Reader(data)))


async def _check(reader: Reader) -> None:
    scene = await _scene()
    for _ in range(reader.below(3) + 1):
        _spoil(scene, reader)
    await _require_found(scene)
    await reader.choice((_extend, _repair, _leave))(scene)


async def _extend(scene: _Scene) -> None:
    """Save until there is a larger object of the index, which contains what those before it say."""
    await Workflow(scene.log()).save_fresh(*(f"more-{number}" for number in range(BLOCK)))
    await _require_found(scene)


async def _repair(scene: _Scene) -> None:
    refused = {KEYS.index(*revisions) for revisions in _RANGES if scene.known[revisions] is None}
    assert await _findings(scene, repair=True) == refused
    await _require_found(scene)
    assert not await _findings(scene)


async def _leave(scene: _Scene) -> None:
    pass


async def _findings(scene: _Scene, *, repair: bool = False) -> set[str]:
    """Return the keys that fsck names."""
    found: list[Finding] = []
    await fsck(scene.log(), on_finding=found.append, repair=repair)
    return {each.key for each in found}


async def _scene() -> _Scene:
    if not _BEFORE:
        store = BoundedStore()
        made = Workflow(Log(store, grace_seconds=GRACE))
        for revision in range(1, _SAVES + 1):
            store.requests = 0
            await made.save_fresh(_name(revision))
        _BEFORE.update(store.objects.by_key)
    scene = _Scene(BoundedStore())
    for key, (data, _) in _BEFORE.items():
        scene.store.objects.write(key, data)
    for revisions in _RANGES:
        scene.known[revisions] = {revision: digest_of(_name(revision)) for revision in range(*_closed(revisions))}
    return scene


def _spoil(scene: _Scene, reader: Reader) -> None:
    """Replace an object of the index."""
    revisions = reader.choice((*_RANGES, _SUPERSEDED))
    first, last = revisions
    key = KEYS.index(first, last)
    body = IdIndex(first_revision=first, digests=b"".join(digest_of(_name(each)) for each in range(first, last + 1)))
    framed_for = key
    kind = reader.below(7)
    if kind == 0:
        scene.store.objects.write(key, reader.raw())
        scene.known[revisions] = None
        return
    if kind == 1:
        scene.store.objects.delete(key)
        scene.known[revisions] = None
        return
    if kind == 2:
        body.first_revision += reader.integer() % (2 * BLOCK) - BLOCK
    elif kind == 3:
        body.digests = body.digests[4 * reader.byte() :] + reader.raw()
    elif kind == 4:
        place = 4 * (reader.byte() % (last - first + 1))
        digest = reader.choice((digest_of(_name(reader.byte())), UNKNOWN, NO_CHECKPOINT))
        body.digests = body.digests[:place] + digest + body.digests[place + 4 :]
    elif kind == 5:
        framed_for = KEYS.index(*reader.choice((*_RANGES, _SUPERSEDED)))
    else:
        fill(body, reader)
    stored = body.SerializeToString()
    scene.store.objects.write(key, newest(stored, framed_for))
    scene.known[revisions] = _known(stored, revisions) if framed_for == key else None


def _known(stored: bytes, revisions: tuple[int, int]) -> dict[int, bytes] | None:
    """Return the digests in a body by revision; None if it must be refused."""
    try:
        body = IdIndex.FromString(stored)
    except DecodeError:
        return None
    first, digests = body.first_revision, body.digests
    if len(digests) % 4 or first < revisions[0] or first + len(digests) // 4 - 1 != revisions[1]:
        return None
    return {first + place // 4: digests[place : place + 4] for place in range(0, len(digests), 4)}


async def _require_found(scene: _Scene) -> None:
    for revision in _REVISIONS:
        try:
            found = await load.find(scene.log(), KEYS, _name(revision), (), fallback=False)
        except HoldfastError as error:
            assert error.reason is Reason.CHECKPOINT_NOT_FOUND, f"{error.reason} of revision {revision}"
            assert not scene.must_find(revision), f"revision {revision} is not found"
        else:
            assert found.entry.revision == revision, f"revision {found.entry.revision} in place of {revision}"


def _name(revision: int) -> str:
    return f"id-{revision}"


def _closed(revisions: tuple[int, int]) -> tuple[int, int]:
    return revisions[0], revisions[1] + 1
