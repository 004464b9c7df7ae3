"""Rebuilds encoded parts: reads a part and all of its bases at once, decodes them in order, and checks each result.

The raw content of recent bases stays in memory, so that most saves and loads read no base. Content in the cache was
checked against its digest when this process read or wrote it, and the digest is part of its key.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, nullcontext
from hashlib import sha256
from typing import Any, TypeVar

from holdfast_server.layout.v1.marker_pb2 import Marker, PartBase, PartEncoding, StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.invariants import BASE_DIGEST_BYTES
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.payload import frames
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreDamagedError
from holdfast_server.stores.retried import RetriedStore

BASES_BYTES = 64 << 20
# Markers that hold the bases of several parts are kept while those parts are read.
_KEPT_MARKERS_BYTES = 4 << 20
_MOST_MARKERS = 64
# Below this size, computing a digest takes less time than handing it to a thread.
_INLINE_BYTES = 64 << 10
# Parts of this size or more are rebuilt a few at a time.
_LARGE_BYTES = 1 << 20
_LARGE_AT_ONCE = 4

_Result = TypeVar("_Result")
_ContentKey = tuple[WorkflowKeys, str, bytes]
_MarkerKey = tuple[WorkflowKeys, int]


class Bases:
    """The raw content of recent bases, within a budget of memory.

    Args:
        limit_bytes: how many bytes of content are kept.

    Attributes:
        held_bytes: how many bytes of content are kept now.

    """

    def __init__(self, limit_bytes: int = BASES_BYTES) -> None:
        self.held_bytes = 0
        self._limit_bytes = limit_bytes
        self._contents: OrderedDict[_ContentKey, bytes] = OrderedDict()
        self._markers: OrderedDict[_MarkerKey, tuple[int, dict[str, StoredPart]]] = OrderedDict()
        self._markers_bytes = 0
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    def get(self, keys: WorkflowKeys, name: str, digest: bytes) -> bytes | None:
        """Return the content of a part, by its digest as in a marker's base; None if it is not kept."""
        key = (keys, name, digest)
        found = self._contents.get(key)
        if found is not None:
            self._contents.move_to_end(key)
        return found

    def keep(self, keys: WorkflowKeys, name: str, digest: bytes, data: bytes) -> None:
        """Keep the content of a part that matches its digest, and drop the least recently used ones."""
        key = (keys, name, digest)
        if len(data) > self._limit_bytes // 4 or key in self._contents:
            return
        self._contents[key] = data
        self.held_bytes += len(data)
        while self.held_bytes > self._limit_bytes:
            self.held_bytes -= len(self._contents.popitem(last=False)[1])

    async def rebuild(self, store: ObjectStore, keys: WorkflowKeys, part: StoredPart) -> bytes:
        """Return the bytes of an encoded part, checked against its digest.

        Args:
            store: the store. Reads are retried.
            keys: the workflow.
            part: the part.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED. If a base is damaged, the metadata has its `base_revision`.
            StoreError: the store cannot be used.

        """
        async with self.room(part.size_bytes):
            return await self._rebuild(store, keys, part)

    @asynccontextmanager
    async def room(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait until few large parts are being encoded or rebuilt, so that their memory is bounded."""
        async with self._large if size_bytes >= _LARGE_BYTES else nullcontext():
            yield

    async def base(self, store: ObjectStore, keys: WorkflowKeys, name: str, chain: Sequence[PartBase]) -> bytes:
        """Return the content of the last base of a chain, checked against its digest.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED; the metadata has the `base_revision`.
            StoreError: the store cannot be used.

        """
        start, content = self._kept(keys, name, chain)
        found = await _all([self._frame_of_base(store, keys, name, base) for base in chain[start:]])
        return await self._decoded(keys, name, chain[start:], found, content)

    async def _rebuild(self, store: ObjectStore, keys: WorkflowKeys, part: StoredPart) -> bytes:
        start, content = self._kept(keys, part.name, part.bases)
        rest = part.bases[start:]
        reads = [self._frame_of_base(store, keys, part.name, base) for base in rest]
        *found, frame = await _all([*reads, _frame(store, keys, part)])
        base = await self._decoded(keys, part.name, rest, found, content) if part.bases else None
        if isinstance(frame, HoldfastError):
            raise frame
        try:
            data = await frames.decode(frame, part.size_bytes, base)
        except frames.FrameError as error:
            raise damaged(part.name, str(error)) from None
        if await _sha256(data) != part.sha256:
            raise damaged(part.name, "does not match its digest")
        return data

    def _kept(self, keys: WorkflowKeys, name: str, chain: Sequence[PartBase]) -> tuple[int, bytes | None]:
        """Return how many bases of a chain need not be read, and the content of the last of them."""
        for index in range(len(chain) - 1, -1, -1):
            content = self.get(keys, name, chain[index].digest)
            if content is not None:
                return index + 1, content
        return 0, None

    async def _decoded(
        self,
        keys: WorkflowKeys,
        name: str,
        chain: Sequence[PartBase],
        found: Sequence[bytes | HoldfastError],
        content: bytes | None,
    ) -> bytes:
        """Decode a chain against the content before it. Return the content of its last base, and keep that."""
        for base, frame in zip(chain, found, strict=True):
            if isinstance(frame, HoldfastError):
                raise frame
            content = await self._content(name, base, frame, content)
            if base is chain[-1]:
                self.keep(keys, name, base.digest, content)
        assert content is not None
        return content

    async def _content(self, name: str, base: PartBase, frame: bytes, before: bytes | None) -> bytes:
        if base.encoding == PartEncoding.PART_ENCODING_IDENTITY:
            content = frame
        else:
            try:
                content = await frames.decode(frame, base.size_bytes, before)
            except frames.FrameError as error:
                raise _damaged_base(name, base, str(error)) from None
        if (await _sha256(content))[:BASE_DIGEST_BYTES] != base.digest:
            raise _damaged_base(name, base, "does not match its digest")
        return content

    async def _frame_of_base(
        self, store: ObjectStore, keys: WorkflowKeys, name: str, base: PartBase
    ) -> bytes | HoldfastError:
        """Return what is stored of a base, or the error that says why it cannot be read."""
        try:
            if base.blob:
                data = await _read_blob(store, keys.blob(base.blob), name, base.stored_bytes, base.stored_bytes)
            else:
                data = (await self._inline_part(store, keys, name, base)).inline
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            return _damaged_base(name, base, error.message)
        if len(data) != base.stored_bytes:
            return _damaged_base(name, base, f"has {len(data)} bytes, expected {base.stored_bytes}")
        return data

    async def _inline_part(self, store: ObjectStore, keys: WorkflowKeys, name: str, base: PartBase) -> StoredPart:
        """Return the part of a base from the marker that holds its bytes.

        Raises:
            HoldfastError: the marker is missing or damaged, or has no such part.

        """
        kept = self._markers.get((keys, base.revision))
        if kept is None:
            key = keys.marker(base.revision)
            try:
                frame = await read_whole(RetriedStore(store), key)
            except ObjectNotFoundError:
                raise HoldfastError(Reason.CHECKPOINT_CORRUPTED, "its commit marker is gone", key=key) from None
            marker = await _marker_of(frame, key)
            parts = {part.name: part for part in marker.parts}
            if len(parts) > 1:
                self._keep_marker((keys, base.revision), len(frame), parts)
        else:
            parts = kept[1]
        part = parts.get(name)
        if part is None or _encoding(part) != base.encoding or part.WhichOneof("location") != "inline":
            raise HoldfastError(Reason.CHECKPOINT_CORRUPTED, "its commit marker does not hold it")
        return part

    def _keep_marker(self, key: _MarkerKey, size_bytes: int, parts: dict[str, StoredPart]) -> None:
        if size_bytes > _KEPT_MARKERS_BYTES or key in self._markers:
            return
        self._markers[key] = (size_bytes, parts)
        self._markers_bytes += size_bytes
        while self._markers_bytes > _KEPT_MARKERS_BYTES or len(self._markers) > _MOST_MARKERS:
            self._markers_bytes -= self._markers.popitem(last=False)[1][0]


async def require_presence(store: ObjectStore, keys: WorkflowKeys, part: StoredPart) -> None:
    """Check that what is stored of an encoded part, and of its bases, exists. Blobs must have their sizes.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED.
        StoreError: the store cannot be used.

    """

    async def require(base: PartBase) -> HoldfastError | None:
        try:
            if base.blob:
                await _read_blob(store, keys.blob(base.blob), part.name, base.stored_bytes, 1)
            else:
                await RetriedStore(store).get(keys.marker(base.revision), length=1)
        except ObjectNotFoundError:
            return _damaged_base(part.name, base, "is gone")
        except HoldfastError as error:
            return _damaged_base(part.name, base, error.message)
        return None

    for error in await _all([require(base) for base in part.bases]):
        if error is not None:
            raise error
    if part.WhichOneof("location") == "inline":
        _require_length(part, len(part.inline))
    else:
        await _read_blob(store, keys.blob(part.blob), part.name, part.stored_bytes, 1)


def damaged(name: str, problem: str, **metadata: object) -> HoldfastError:
    """Return the error for a part that differs from its description in the marker."""
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"part {name!r} {problem}", part=name, **metadata)


def _damaged_base(name: str, base: PartBase, problem: str) -> HoldfastError:
    return damaged(name, f"rests on revision {base.revision}: {problem}", base_revision=base.revision)


async def _read_blob(store: ObjectStore, key: str, name: str, stored_bytes: int, length: int) -> bytes:
    try:
        found = await RetriedStore(store).get(key, length=length)
    except ObjectNotFoundError:
        raise damaged(name, "is gone") from None
    except StoreDamagedError as error:
        raise damaged(name, f"cannot be read: {error}") from error
    if found.size_bytes != stored_bytes or len(found.data) != length:
        raise damaged(name, f"has {found.size_bytes} bytes, expected {stored_bytes}")
    return found.data


async def _frame(store: ObjectStore, keys: WorkflowKeys, part: StoredPart) -> bytes | HoldfastError:
    """Return what is stored of a part, or the error that says why it cannot be read."""
    try:
        if part.WhichOneof("location") != "inline":
            return await _read_blob(store, keys.blob(part.blob), part.name, part.stored_bytes, part.stored_bytes)
        _require_length(part, len(part.inline))
    except HoldfastError as error:
        return error
    return part.inline


def _encoding(part: StoredPart) -> PartEncoding.ValueType:
    return part.encoding or PartEncoding.PART_ENCODING_IDENTITY


def _require_length(part: StoredPart, found: int) -> None:
    if found != part.stored_bytes:
        raise damaged(part.name, f"has {found} bytes, expected {part.stored_bytes}")


async def _marker_of(frame: bytes, key: str) -> Marker:
    if len(frame) > _INLINE_BYTES:
        return await asyncio.to_thread(marker_codec.decode, frame, key)
    return marker_codec.decode(frame, key)


async def _sha256(data: bytes) -> bytes:
    if len(data) > _INLINE_BYTES:
        return await asyncio.to_thread(lambda: sha256(data).digest())
    return sha256(data).digest()


async def _all(reads: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Return the results of reads that run at once. None is left running."""
    if len(reads) == 1:
        return [await reads[0]]
    tasks = [asyncio.create_task(read) for read in reads]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
