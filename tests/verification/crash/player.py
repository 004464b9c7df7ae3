"""The protocol on a real store, with a note before and after each operation of what it has promised."""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.checkpoints import delete, load, purge
from holdfast_server.protocol.checkpoints.load import Found
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Appended, Request
from holdfast_server.protocol.log.log import Log, now
from holdfast_server.protocol.maintenance.gc import collect
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.encoding import HeldPart, PartEncoder, Payload
from holdfast_server.protocol.payload.parts import PartUpload
from holdfast_server.protocol.payload.policy import DeltaRules
from holdfast_server.protocol.payload.reads import read_part
from holdfast_server.stores.base import ObjectStore, StoreError

GRACE_SECONDS = 1000.0
SMALL_BYTES = 100
# Too large for a marker; written in several pieces.
LARGE_BYTES = 20_000
# Nearly equal payloads, which are stored as deltas. The first of a chain is too large for a marker and for a row.
RESTING_BYTES = 6000
_OWN_BYTES = 200
_EQUAL = random.Random("equal").randbytes(RESTING_BYTES - _OWN_BYTES)
_INLINE_LIMIT_BYTES = 1000
_PIECE_BYTES = 8000
_DEADLINE_SECONDS = 60.0
_ATTEMPTS = 50

Note = dict[str, Any]
_Result = TypeVar("_Result")
_ABSENT = {Reason.WORKFLOW_NOT_FOUND, Reason.CHECKPOINT_NOT_FOUND, Reason.CHECKPOINT_DELETED}


def payload(name: str, size: int) -> bytes:
    """Return bytes that contain their name, and that no other payload begins like."""
    equal = _EQUAL if size == RESTING_BYTES else b""
    return f"{name} {size} ".encode() + equal + random.Random(name).randbytes(size - len(equal))


def name_in(data: bytes) -> str:
    """Return the name of a payload; "" if it is not whole."""
    name, _, rest = data.partition(b" ")
    size = rest.partition(b" ")[0]
    whole = size.isdigit() and data == payload(name.decode(), int(size))
    return name.decode() if whole else ""


def workflow(name: str) -> WorkflowKeys:
    return WorkflowKeys("n", name)


class Player:
    """A server that takes notes and reattempts when the store fails.

    Args:
        store: the store.
        note: writes a note.

    """

    def __init__(self, store: ObjectStore, note: Callable[[Note], None]) -> None:
        self.log = Log(store, grace_seconds=GRACE_SECONDS)
        self._encoder = PartEncoder(store, DeltaRules(), Bases(), inline_limit_bytes=_INLINE_LIMIT_BYTES)
        self._note = note

    async def save(self, to: str, name: str, size: int = SMALL_BYTES, checkpoint_id: str = "") -> None:
        """Save a payload. A chosen id that is in use is not a failure: another server saved it first."""
        self._note({"begins": "save", "workflow": to, "name": name})
        request_id, began = uuid.uuid4().hex, now()
        attempts = 0

        async def once() -> Appended:
            nonlocal attempts
            attempts += 1
            request = Request(workflow(to), request_id, first_attempt_at=None if attempts == 1 else began)
            spec = CheckpointSpec(request, "f", 1, checkpoint_id=checkpoint_id)
            data = payload(name, size)
            parts = [await self._upload(workflow(to), data) if size != RESTING_BYTES else await HeldPart.of("", data)]
            return await save(self.log, spec, Payload(self._encoder, workflow(to), parts), deadline=_deadline())

        saved = await _unless({Reason.CHECKPOINT_ID_REUSED}, once)
        if saved is not None:
            self._note_held(to, name, saved.entry.marker.checkpoint_id, saved.entry.revision)

    async def load(self, of: str, checkpoint_id: str = "") -> None:
        """Load a checkpoint. A checkpoint that was loaded once must survive."""
        keys = workflow(of)
        found = await _unless(_ABSENT, lambda: load.find(self.log, keys, checkpoint_id, (), fallback=False))
        if found is not None:
            name = name_in(await until_done(lambda: read(self.log, keys, found)))
            assert name
            self._note_held(of, name, found.entry.marker.checkpoint_id, found.entry.revision)

    async def delete(self, of: str, checkpoint_id: str, *, purges: bool = False) -> None:
        """Delete a checkpoint, unless it is gone already. A purge replaces its marker."""
        self._note({"begins": "delete", "workflow": of, "checkpoint_id": checkpoint_id})
        request = Request(workflow(of), uuid.uuid4().hex)
        delete_one = purge.purge if purges else delete.delete_checkpoint
        done = await _unless(_ABSENT, lambda: delete_one(self.log, request, checkpoint_id, deadline=_deadline()))
        if done is not None:
            self._note({"gone": checkpoint_id, "workflow": of, "revision": done.entry.revision})

    async def collect(self, of: str, keep_last: int, *, graces: float) -> None:
        """Collect garbage as if this many graces had passed."""
        live = await until_done(lambda: self._live(of))
        for checkpoint_id in live[keep_last:]:
            self._note({"begins": "delete", "workflow": of, "checkpoint_id": checkpoint_id})
        later = time.time() + graces * GRACE_SECONDS
        await until_done(lambda: collect(self.log, workflow(of), Retention(keep_last=keep_last), later))
        for checkpoint_id in live[keep_last:]:
            self._note({"gone": checkpoint_id, "workflow": of, "revision": 0})

    async def _upload(self, keys: WorkflowKeys, data: bytes) -> StoredPart:
        base = await self.log.known_revision(keys)
        async with PartUpload(self.log.store, keys, base, "", _INLINE_LIMIT_BYTES) as upload:
            for start in range(0, len(data), _PIECE_BYTES):
                await upload.write(data[start : start + _PIECE_BYTES])
            return await upload.finish()

    async def _live(self, of: str) -> list[str]:
        return [entry.marker.checkpoint_id async for entry in load.history(self.log, workflow(of), None)]

    def _note_held(self, in_workflow: str, name: str, checkpoint_id: str, revision: int) -> None:
        self._note({"held": checkpoint_id, "workflow": in_workflow, "name": name, "revision": revision})


async def _unless(reasons: set[Reason], operation: Callable[[], Awaitable[_Result]]) -> _Result | None:
    """Return the result of an operation; None if it is refused with one of these reasons."""
    try:
        return await until_done(operation)
    except HoldfastError as error:
        if error.reason not in reasons:
            raise
        return None


async def until_done(operation: Callable[[], Awaitable[_Result]]) -> _Result:
    """Retry an operation until the store succeeds. Return its result."""
    for _ in range(_ATTEMPTS):
        try:
            return await operation()
        except StoreError as error:
            failure: Exception = error
        except HoldfastError as error:
            if error.reason is not Reason.COMMIT_UNKNOWN:
                raise
            failure = error
    raise failure


async def read(log: Log, keys: WorkflowKeys, found: Found) -> bytes:
    """Return the payload of a checkpoint."""
    (part,) = found.entry.marker.parts
    return b"".join([block async for block in read_part(log.store, keys, part)])


def _deadline() -> float:
    return asyncio.get_running_loop().time() + _DEADLINE_SECONDS
