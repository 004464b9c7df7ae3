"""A wrapper of any object store that traces and counts its requests."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from holdfast_server.stores.base import (
    LeavesFiles,
    ObjectNotFoundError,
    ObjectStore,
    ObjectSummary,
    ObjectWriter,
    StoredObject,
)
from holdfast_server.telemetry import StoreRequest


class TracedStore:
    """Forwards every request to a store, within a span.

    Args:
        store: the store.
        bucket: the name of an S3 bucket, for the spans; "" for other stores.
        prefix: the prefix of the bucket's keys.

    """

    def __init__(self, store: ObjectStore, *, bucket: str = "", prefix: str = "") -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        with StoreRequest("put_if_absent", partial(self._attributes, key)):
            return await self._store.put_if_absent(key, data)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it. A missing object does not mark the span as failed."""
        absent: ObjectNotFoundError | None = None
        with StoreRequest("get", partial(self._attributes, key)):
            try:
                return await self._store.get(key, offset=offset, length=length)
            except ObjectNotFoundError as error:
                absent = error
        raise absent

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator[ObjectWriter]:
        """Write an object under a fresh key. The span covers the whole upload."""
        with StoreRequest("put", partial(self._attributes, key)):
            async with self._store.put(key) as writer:
                yield writer

    async def replace(self, key: str, data: bytes) -> None:
        """Replace an object."""
        with StoreRequest("replace", partial(self._attributes, key)):
            await self._store.replace(key, data)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        with StoreRequest("list", partial(self._attributes, prefix)):
            return await self._store.list(prefix, start_after=start_after, limit=limit)

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object to a fresh key."""
        with StoreRequest("copy", partial(self._attributes, target)):
            return await self._store.copy(source, target)

    async def delete(self, key: str) -> None:
        """Delete an object."""
        with StoreRequest("delete", partial(self._attributes, key)):
            await self._store.delete(key)

    async def sweep_files(self, grace_seconds: float) -> int:
        """Remove the files of uploads that were cut off, if the store has such files."""
        return await self._store.sweep_files(grace_seconds) if isinstance(self._store, LeavesFiles) else 0

    def _attributes(self, key: str) -> dict[str, str]:
        if self._bucket:
            return {"aws.s3.bucket": self._bucket, "aws.s3.key": self._prefix + key}
        return {"holdfast.store.key": key}
