"""Checkpoints that rest on others, with hostile deltas: bombs, circles, sizes and digests that lie, foreign bases.

Content is returned only if it is what the marker states, otherwise the error is CHECKPOINT_CORRUPTED and names the base
that is damaged. The next save succeeds and does not rest on damage, and a deletion harms no whole checkpoint.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, PartBase, PartEncoding, StoredPart
from holdfast_server.protocol.checkpoints import copy, load, purge
from holdfast_server.protocol.checkpoints.load import Depth
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.validate import validate
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.reads import is_encoded, read_part, require_presence

from tests.support.inline_loop import run
from tests.support.workflows import GRACE, KEYS
from tests.verification.fuzz.hostile_deltas import CONTENTS, NAMES, REVISIONS, Scene, spoil
from tests.verification.fuzz.hostile_deltas import scene as resting
from tests.verification.fuzz.hostile_frames import strict, unpacked
from tests.verification.fuzz.reader import Reader
from tests.verification.fuzz.targets.marker import require_sense

_COPY = WorkflowKeys("n", "copy")
_MOST_READS = 4
_REFUSALS = (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED)


def check(data: bytes) -> None:
    with strict():
        run(_check(Reader(data)))


async def _check(reader: Reader) -> None:
    scene = await resting()
    for _ in range(reader.below(4) + 1):
        spoil(scene, reader)
    for revision in REVISIONS:
        await _require_precise(scene, revision)
    await _require_fallback(scene)
    for _ in range(reader.below(3) + 1):
        await reader.choice(_OPERATIONS)(scene)
        await _require_whole(scene)


def _expected(scene: Scene, part: StoredPart) -> bytes | int:
    """Return the content of a part, by a plain decoder; if it is damaged, the revision of the damaged base or 0."""
    content: bytes | None = None
    for base in part.bases:
        frame = _stored_of_base(scene, part.name, base)
        if frame is None or len(frame) != base.stored_bytes:
            return base.revision
        is_plain = base.encoding == PartEncoding.PART_ENCODING_IDENTITY
        content = frame if is_plain else unpacked(frame, base.size_bytes, content)
        if content is None or sha256(content).digest()[:16] != base.digest:
            return base.revision
    frame = scene.stored(KEYS.blob(part.blob)) if part.WhichOneof("location") == "blob" else part.inline
    if frame is None:
        return 0
    if is_encoded(part):
        content = unpacked(frame, part.size_bytes, content) if len(frame) == part.stored_bytes else None
    else:
        content = frame if len(frame) == part.size_bytes else None
    return 0 if content is None or sha256(content).digest() != part.sha256 else content


def _stored_of_base(scene: Scene, name: str, base: PartBase) -> bytes | None:
    if base.blob:
        return scene.stored(KEYS.blob(base.blob))
    marker = scene.marker(base.revision)
    if not isinstance(marker, Marker):
        return None
    for part in marker.parts:
        if part.name == name and part.WhichOneof("location") == "inline":
            encoding = part.encoding or PartEncoding.PART_ENCODING_IDENTITY
            return part.inline if encoding == base.encoding else None
    return None


async def _require_precise(scene: Scene, revision: int) -> None:
    """Check that the parts of a checkpoint are returned or refused as a plain decoder would do it."""
    marker = scene.marker(revision)
    if not isinstance(marker, Marker):
        assert marker is None or marker.reason in _REFUSALS
        return
    require_sense(marker)
    found = [await _required(scene, part) for part in marker.parts]
    if all(isinstance(each, bytes) for each in found):
        scene.whole[revision] = [each for each in found if isinstance(each, bytes)]


async def _required(scene: Scene, part: StoredPart) -> bytes | int:
    expected = _expected(scene, part)
    scene.store.requests = 0
    bases = Bases()
    try:
        found: bytes | int = await _content(scene, part, bases)
    except HoldfastError as error:
        if error.reason is Reason.LAYOUT_UNSUPPORTED:
            assert any(_is_unknown(scene.marker(base.revision)) for base in part.bases if not base.blob)
            return 0
        assert error.reason is Reason.CHECKPOINT_CORRUPTED
        found = int(error.metadata.get("base_revision", 0))
    if is_encoded(part):
        assert scene.store.requests <= _MOST_READS
        assert found == expected
    else:
        # Its blocks may have checksums of their own, which a plain decoder does not know.
        assert found in (0, expected)
    for (_, _, digest), kept in bases._contents.items():
        assert sha256(kept).digest()[:16] == digest
    try:
        await require_presence(scene.store, KEYS, part)
    except HoldfastError as error:
        assert error.reason is Reason.CHECKPOINT_CORRUPTED
        assert isinstance(found, int), "whole content was reported as missing"
    return found


def _is_unknown(marker: Marker | HoldfastError | None) -> bool:
    return isinstance(marker, HoldfastError) and marker.reason is Reason.LAYOUT_UNSUPPORTED


async def _content(scene: Scene, part: StoredPart, bases: Bases | None = None) -> bytes:
    return b"".join([block async for block in read_part(scene.store, KEYS, part, bases=bases)])


async def _require_fallback(scene: Scene) -> None:
    """Check that a load with fallback returns the newest whole checkpoint, and a validation names it."""
    markers = [scene.marker(revision) for revision in REVISIONS]
    knows_all = not any(map(_is_unknown, markers))
    scene.store.requests = 0
    try:
        found = await load.find(Log(scene.store, grace_seconds=GRACE), KEYS, "", (), fallback=True)
        assert found.entry.revision == max(scene.whole)
    except HoldfastError as error:
        assert error.reason in _REFUSALS
        assert not scene.whole or not knows_all
    result = await validate(Log(scene.store, grace_seconds=GRACE), KEYS, "", Depth.CHECKSUM, ())
    if knows_all:
        # A base that was read for a newer checkpoint is not read again for an older one that states it wrongly.
        assert (result.last_good.revision if result.last_good else 0) >= max(scene.whole, default=0)


async def _require_whole(scene: Scene) -> None:
    """Check that every checkpoint that was whole is as it was."""
    for revision, contents in scene.whole.items():
        marker = scene.marker(revision)
        assert isinstance(marker, Marker), f"revision {revision} was whole and is gone"
        assert [await _content(scene, part) for part in marker.parts] == contents


async def _save(scene: Scene) -> None:
    """Save the next version: nothing that is damaged may hinder it, or be built on."""
    last = REVISIONS[-1]
    state, other = CONTENTS[last, NAMES[0]] + b"and more", CONTENTS[last, NAMES[1]]
    scene.store.requests = 0
    try:
        entry = await scene.deltas().keep(dict(zip(NAMES, (state, other), strict=True)))
    except HoldfastError as error:
        # The head itself may be damaged.
        assert error.reason in _REFUSALS
        assert isinstance(scene.marker(last), HoldfastError)
        return
    require_sense(entry.marker)
    scene.whole[entry.revision] = [state, other]


def _purge(checkpoint_id: str) -> Callable[[Scene], Awaitable[None]]:
    async def purge_one(scene: Scene) -> None:
        scene.store.requests = 0
        scene.whole.pop(int(checkpoint_id[1:]), None)
        try:
            request = Request(KEYS, f"purge {checkpoint_id} {time.monotonic_ns()}")
            await purge.purge(Log(scene.store, grace_seconds=GRACE), request, checkpoint_id, deadline=_deadline())
        except HoldfastError as error:
            assert error.reason in (*_REFUSALS, Reason.CHECKPOINT_DELETED, Reason.CHECKPOINT_NOT_FOUND)

    return purge_one


async def _collect(scene: Scene) -> None:
    scene.store.requests = 0
    try:
        await collect(Log(scene.store, grace_seconds=GRACE), KEYS, Retention(), time.time() + 3 * GRACE)
    except HoldfastError as error:
        assert error.reason in _REFUSALS


async def _repair(scene: Scene) -> None:
    scene.store.requests = 0
    await fsck(Log(scene.store, grace_seconds=GRACE), repair=True)


async def _copy(scene: Scene) -> None:
    scene.store.requests = 0
    log = Log(scene.store, grace_seconds=GRACE)
    try:
        await copy.copy_workflow(
            log, KEYS, Request(_COPY, "copy"), deadline=_deadline(), encoder=scene.deltas().encoder
        )
    except HoldfastError as error:
        assert error.reason in (*_REFUSALS, Reason.REVISION_CONFLICT)


def _deadline() -> float:
    return asyncio.get_running_loop().time() + 5


_OPERATIONS = (_save, _purge("c1"), _collect, _save, _purge("c3"), _repair, _copy)
