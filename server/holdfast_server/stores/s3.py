"""An object store in an S3 bucket, through aioboto3.

Put-if-absent is one PutObject with `If-None-Match: *`. Large uploads are multipart, driven part by part
with a bound on what is in memory. The HTTP client may send a request twice underneath, so a 412 never
proves loss; the protocol settles that. Content-MD5 goes with every write, which every S3 server verifies.
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
from holdfast_server.stores.s3_errors import PreconditionFailedError, RangeError
from holdfast_server.stores.s3_upload import Upload

# Of servers that know no CopyObject, or not of such an object.
_CANNOT_COPY = (400, 405, 501)
_RACERS = 16


class S3Store:
    """Keeps objects in a bucket below a prefix. Made by `open`.

    Args:
        bucket: the bucket, whose client is open.

    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @classmethod
    @asynccontextmanager
    async def open(
        cls, bucket: str, prefix: str = "", *, endpoint_url: str | None = None, region: str | None = None
    ) -> AsyncIterator["S3Store"]:
        """A store, with its connections. Credentials come from the usual AWS variables.

        Args:
            bucket: the bucket.
            prefix: below which to keep everything.
            endpoint_url: the server; None for AWS.
            region: its region; None as AWS_REGION, AWS_DEFAULT_REGION or the profile has it.

        Raises:
            StoreSettingsError: the library does not take the settings.

        """
        where = f"{endpoint_url or 'AWS S3'}, bucket {bucket!r}"
        async with AsyncExitStack() as resources:
            try:
                client = await resources.enter_async_context(_client(endpoint_url, region))
            except (BotoCoreError, ValueError, OSError) as error:
                raise s3_errors.settings_error(error, where) from error
            yield cls(Bucket(client, bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "", where))

    async def probe(self) -> None:
        """Check that the bucket keeps what the protocol relies on.

        Raises:
            StoreAccessDeniedError: it does not, or refuses access.
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
        """Race writes of one key over several connections: one must win, and stay."""
        racing = [f"racer {number}".encode() for number in range(_RACERS)]
        won = await asyncio.gather(*(self.put_if_absent(key, data) for data in racing))
        winners = [data for data, is_won in zip(racing, won, strict=True) if is_won]
        found = (await self.get(key)).data
        # The winner may have been told that it lost, where its request was sent twice underneath.
        if len(winners) > 1 or found not in (winners or racing):
            raise self._unfit(
                f"of {_RACERS} writes of one key at once with If-None-Match {len(winners)} won, and the object "
                f"{'is one of them' if found in winners else 'is another one'}: put-if-absent is not kept"
            )
        if await self.put_if_absent(key, b"late") or (await self.get(key)).data != found:
            raise self._unfit("a write with If-None-Match replaced an object: put-if-absent is not kept")

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        try:
            await self._bucket.put_object(key, data, IfNoneMatch="*")
        except PreconditionFailedError:
            return False
        return True

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        span = {}
        if offset or length is not None:
            span["Range"] = f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + max(length, 1) - 1}"
        try:
            with self._bucket.errors_mapped(key):
                response = await self._bucket.client.get_object(**self._bucket.place(key), **span)
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
        upload = Upload(self._bucket, key)
        try:
            yield upload
        finally:
            await upload.abandon()

    async def replace(self, key: str, data: bytes) -> None:
        """Put other bytes in the place of an object. Where the bucket keeps versions, it keeps the old ones, too."""
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
            for each in response.get("Contents", ()):
                key = each["Key"].removeprefix(self._bucket.prefix)
                found.append(ObjectSummary(key, each["Size"], each["LastModified"].timestamp()))
            if not response.get("IsTruncated") or not found:
                break
            start_after = found[-1].key
        return found

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object within the bucket, where the server can."""
        place = self._bucket.place(target)
        with self._bucket.errors_mapped(source):
            try:
                await self._bucket.client.copy_object(**place, CopySource=self._bucket.place(source))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] in _CANNOT_COPY:
                    return False
                raise
        return True

    async def delete(self, key: str) -> None:
        """Remove an object."""
        with self._bucket.errors_mapped(key):
            await self._bucket.client.delete_object(**self._bucket.place(key))

    def _unfit(self, why: str) -> StoreAccessDeniedError:
        message = f"the store is not fit for Holdfast: {why}"
        return StoreAccessDeniedError(message, detail=f"{self._bucket.where}: {message}")


def _client(endpoint_url: str | None, region: str | None) -> AbstractAsyncContextManager[Any]:
    """A client of the library, not yet open. The library itself does not read AWS_REGION."""
    config = Config(
        max_pool_connections=64,
        retries={"total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=30,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # The signature covers Content-MD5, and that the body: hashing it twice would only stall the loop.
        s3={"payload_signing_enabled": False, "addressing_style": "path" if endpoint_url else "auto"},
    )
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None
    opened: AbstractAsyncContextManager[Any] = aioboto3.Session().client(
        "s3", endpoint_url=endpoint_url, region_name=region, config=config
    )
    return opened
