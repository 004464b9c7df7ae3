"""An object store in an S3 bucket, through aioboto3.

Put-if-absent is one PutObject with `If-None-Match: *`. Large uploads are multipart, with a bounded number of parts in
memory. The HTTP client may send a request twice, so a 412 never proves that another writer won; the protocol handles
that. Every write carries Content-MD5, which every S3 server verifies, or a checksum that this one verifies.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aioboto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from holdfast_server.stores import s3_errors
from holdfast_server.stores.base import ObjectSummary, StoreAccessDeniedError, StoredObject, StoreError
from holdfast_server.stores.s3_bucket import Bucket
from holdfast_server.stores.s3_checksums import PartChecksums
from holdfast_server.stores.s3_errors import PreconditionFailedError, RangeError
from holdfast_server.stores.s3_upload import Upload

# Answers of servers that do not support CopyObject, or not for this object.
_CANNOT_COPY = (400, 405, 501)
_RACING_WRITES = 16


class S3Store:
    """A store in a bucket, below a prefix. Created by `open`.

    Args:
        bucket: the bucket, with an open client.

    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._checksums = PartChecksums(bucket)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, bucket: str, prefix: str = "", *, endpoint_url: str | None = None, region: str | None = None
    ) -> AsyncIterator["S3Store"]:
        """Open a store and its connections. Credentials come from the usual AWS variables.

        Args:
            bucket: the bucket.
            prefix: the prefix of all keys.
            endpoint_url: the server; None for AWS.
            region: the region; None for that of AWS_REGION, AWS_DEFAULT_REGION or the profile.

        Raises:
            StoreSettingsError: the library does not accept the settings.

        """
        where = f"{endpoint_url or 'AWS S3'}, bucket {bucket!r}"
        async with AsyncExitStack() as resources:
            try:
                client = await resources.enter_async_context(_client(endpoint_url, region))
            except (BotoCoreError, ValueError, OSError) as error:
                raise s3_errors.settings_error(error, where) from error
            yield cls(Bucket(client, bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "", where))

    async def probe(self) -> None:
        """Check that the bucket has the properties that the protocol requires.

        Raises:
            StoreAccessDeniedError: it does not have them, or refuses access.
            StoreUnavailableError: it cannot be reached.

        """
        folder = f"probe/{uuid.uuid4().hex}/"
        keys = [f"{folder}{name}" for name in ("a", "b-", "b/c")]
        try:
            await self._probe_put_if_absent(keys[0])
            for key in reversed(keys[1:]):
                await self.put_if_absent(key, b"")
            if [each.key for each in await self.list(folder)] != keys:
                raise self._unfit("its listings are stale or unordered")
        finally:
            for key in keys:
                with suppress(StoreError):
                    await self.delete(key)

    async def _probe_put_if_absent(self, key: str) -> None:
        """Write one key concurrently over several connections: one write must win, and its object must stay."""
        racing = [f"racer {number}".encode() for number in range(_RACING_WRITES)]
        won = await asyncio.gather(*(self.put_if_absent(key, data) for data in racing))
        winners = [data for data, is_won in zip(racing, won, strict=True) if is_won]
        found = (await self.get(key)).data
        # No write may report success if the winning request was sent twice.
        if len(winners) > 1 or found not in (winners or racing):
            raise self._unfit(
                f"of {_RACING_WRITES} concurrent writes with If-None-Match {len(winners)} succeeded, and the "
                f"object {'is one of these' if found in winners else 'is another one'}: put-if-absent does not hold"
            )
        if await self.put_if_absent(key, b"late") or (await self.get(key)).data != found:
            raise self._unfit("a write with If-None-Match replaced an object: put-if-absent does not hold")

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        try:
            await self._bucket.put_object(key, data, IfNoneMatch="*")
        except PreconditionFailedError:
            return False
        return True

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        byte_range = {}
        if offset or length is not None:
            byte_range["Range"] = (
                f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + max(length, 1) - 1}"
            )
        try:
            with self._bucket.errors_mapped(key):
                response = await self._bucket.client.get_object(**self._bucket.object_arguments(key), **byte_range)
                async with response["Body"]:
                    data = await response["Body"].read()
        except RangeError:
            return StoredObject(b"", await self._bucket.size(key))
        total = response.get("ContentRange", "").rpartition("/")[2]
        size = int(total) if total.isdigit() else len(data)
        return StoredObject(data if length is None else data[:length], size)

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator[Upload]:
        """Write an object under a fresh key."""
        upload = Upload(self._bucket, self._checksums, key)
        try:
            yield upload
        finally:
            await upload.abandon()

    async def replace(self, key: str, data: bytes) -> None:
        """Replace an object. A bucket with versioning keeps the old version."""
        await self._bucket.put_object(key, data)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        found: list[ObjectSummary] = []
        while len(found) < limit:
            page = min(1000, limit - len(found))
            after = {"StartAfter": self._bucket.prefix + start_after} if start_after else {}
            with self._bucket.errors_mapped(prefix):
                response = await self._bucket.client.list_objects_v2(
                    Bucket=self._bucket.name, Prefix=self._bucket.prefix + prefix, MaxKeys=page, **after
                )
            for listed in response.get("Contents", ()):
                key = listed["Key"].removeprefix(self._bucket.prefix)
                found.append(ObjectSummary(key, listed["Size"], listed["LastModified"].timestamp()))
            if not response.get("IsTruncated") or not found:
                break
            start_after = found[-1].key
        return found

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object within the bucket, if the server supports it."""
        arguments = self._bucket.object_arguments(target)
        with self._bucket.errors_mapped(source):
            try:
                await self._bucket.client.copy_object(**arguments, CopySource=self._bucket.object_arguments(source))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] in _CANNOT_COPY:
                    return False
                raise
        return True

    async def delete(self, key: str) -> None:
        """Delete an object."""
        with self._bucket.errors_mapped(key):
            await self._bucket.client.delete_object(**self._bucket.object_arguments(key))

    def _unfit(self, why: str) -> StoreAccessDeniedError:
        message = f"the store cannot be used: {why}"
        return StoreAccessDeniedError(message, detail=f"{self._bucket.where}: {message}")


def _client(endpoint_url: str | None, region: str | None) -> AbstractAsyncContextManager[Any]:
    """Return a client of the library, not yet open. The library itself does not read AWS_REGION."""
    config = Config(
        max_pool_connections=64,
        retries={"total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=30,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # The signature covers Content-MD5, which covers the body. A second hash would only block the event loop.
        s3={"payload_signing_enabled": False, "addressing_style": "path" if endpoint_url else "auto"},
    )
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None
    opened: AbstractAsyncContextManager[Any] = aioboto3.Session().client(
        "s3", endpoint_url=endpoint_url, region_name=region, config=config
    )
    return opened
