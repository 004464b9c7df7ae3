"""An object store in an S3 bucket, through aioboto3.

Put-if-absent is one PutObject with `If-None-Match: *`. Large uploads are multipart, driven part by part
with a bound on what is in memory. The HTTP client may send a request twice underneath, so a 412 never
proves loss; the protocol settles that. Content-MD5 goes with every write, which every S3 server verifies.
"""

import asyncio
import base64
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aioboto3
import aiohttp
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from holdfast_server.stores.base import (
    ObjectNotFoundError,
    ObjectSummary,
    StoreAccessDeniedError,
    StoredObject,
    StoreUnavailableError,
)

_PART_BYTES = 7 << 20
_PARTS_IN_FLIGHT = 2
_THREAD_DIGEST_BYTES = 256 << 10
_REFUSALS = {
    "AccessDenied": "refuses access",
    "AllAccessDisabled": "refuses access",
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "does not accept the secret key",
    "ExpiredToken": "says that the session token has expired",
    "NoSuchBucket": "does not have the bucket",
    "InvalidBucketName": "does not accept the bucket's name",
}


class S3Store:
    """Keeps objects in a bucket below a prefix. Made by `open`.

    Args:
        client: an S3 client that is open.
        bucket: the bucket.
        prefix: what every key begins with, "" or ending with a slash.
        where: endpoint and bucket, for messages.

    """

    def __init__(self, client: Any, bucket: str, prefix: str, where: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._where = where

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
            region: its region; None as AWS_REGION has it.

        Raises:
            StoreAccessDeniedError: there are no credentials.

        """
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
        session = aioboto3.Session()
        async with session.client("s3", endpoint_url=endpoint_url, region_name=region, config=config) as client:
            where = f"{endpoint_url or 'AWS S3'}, bucket {bucket!r}"
            yield cls(client, bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "", where)

    async def probe(self) -> None:
        """Check that the bucket keeps what the protocol relies on.

        Raises:
            StoreAccessDeniedError: it does not, or refuses access.
            StoreUnavailableError: it cannot be reached.

        """
        folder = f"probe/{uuid.uuid4().hex}/"
        keys = [f"{folder}{name}" for name in ("a", "b-", "b/c")]
        try:
            won = [await self.put_if_absent(keys[0], data) for data in (b"first", b"second")]
            if won != [True, False] or (await self.get(keys[0])).data != b"first":
                raise StoreAccessDeniedError(f"{self._where}: put-if-absent is not kept; Holdfast cannot use it")
            for key in reversed(keys[1:]):
                await self.put_if_absent(key, b"")
            if [each.key for each in await self.list(folder)] != keys:
                raise StoreAccessDeniedError(f"{self._where}: listings are stale or unordered; Holdfast cannot use it")
        finally:
            for key in keys:
                await self.delete(key)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        try:
            await self._put_object(key, data, IfNoneMatch="*")
        except _PreconditionFailedError:
            return False
        return True

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        span = {}
        if offset or length is not None:
            span["Range"] = f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + max(length, 1) - 1}"
        try:
            with self._errors_mapped(key):
                response = await self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **span)
                async with response["Body"]:
                    data = await response["Body"].read()
        except _RangeError:
            return StoredObject(b"", await self._size(key))
        total = response.get("ContentRange", "").rpartition("/")[2]
        size = int(total) if total.isdigit() else len(data)
        return StoredObject(data if length is None else data[:length], size)

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator["_S3Writer"]:
        """Write an object under a fresh key."""
        writer = _S3Writer(self, key)
        try:
            yield writer
        finally:
            await writer.abandon()

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order."""
        found: list[ObjectSummary] = []
        while len(found) < limit:
            page = min(1000, limit - len(found))
            after = {"StartAfter": self._prefix + start_after} if start_after else {}
            with self._errors_mapped(prefix):
                response = await self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix + prefix, MaxKeys=page, **after
                )
            for each in response.get("Contents", ()):
                key = each["Key"].removeprefix(self._prefix)
                found.append(ObjectSummary(key, each["Size"], each["LastModified"].timestamp()))
            if not response.get("IsTruncated") or not found:
                break
            start_after = found[-1].key
        return found

    async def delete(self, key: str) -> None:
        """Remove an object."""
        with self._errors_mapped(key):
            await self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    async def _size(self, key: str) -> int:
        with self._errors_mapped(key):
            response = await self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        return int(response["ContentLength"])

    async def _put_object(self, key: str, data: bytes, **conditions: str) -> None:
        digest = await _md5(data)
        with self._errors_mapped(key):
            await self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + key, Body=data, ContentMD5=digest, **conditions
            )

    @contextmanager
    def _errors_mapped(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._of_response(error, key) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreAccessDeniedError(f"{self._where}: no credentials are configured") from error
        except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise StoreUnavailableError(f"{self._where}: cannot be reached, or the connection broke") from error

    def _of_response(self, error: ClientError, key: str) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _REFUSALS:
            return StoreAccessDeniedError(f"{self._where}: the server {_REFUSALS[code]}")
        if status in _SIGNALS:
            return _SIGNALS[status]()
        if status == 404:
            return ObjectNotFoundError(key)
        if status in (401, 403):
            return StoreAccessDeniedError(f"{self._where}: the server refuses access")
        if status in (429, 503):
            return StoreUnavailableError(f"{self._where}: the server throttles")
        return StoreUnavailableError(f"{self._where}: the server answered with status {status}")


class _PreconditionFailedError(Exception):
    """The key has an object."""


class _RangeError(Exception):
    """The range begins behind the object's end."""


_SIGNALS: dict[int, type[Exception]] = {412: _PreconditionFailedError, 416: _RangeError}


class _S3Writer:
    """Collects bytes into parts, and has a bounded number of them on their way."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._store = store
        self._key = key
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._upload_id = ""
        self._parts: list[asyncio.Task[str]] = []
        self._finished = False

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._pieces_bytes += len(data)
        while self._pieces_bytes >= _PART_BYTES:
            await self._send_part()

    async def finish(self) -> None:
        if not self._upload_id:
            await self._store._put_object(self._key, self._take())
        else:
            if self._pieces:
                await self._send_part()
            await self._complete([await part for part in self._parts])
        self._finished = True

    async def abandon(self) -> None:
        """Give up what is not finished: every task ends, and the server forgets the parts."""
        if self._finished or not self._upload_id:
            return
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)
        try:
            with self._store._errors_mapped(self._key):
                await self._store._client.abort_multipart_upload(**self._where, UploadId=self._upload_id)
        except (StoreUnavailableError, StoreAccessDeniedError, ObjectNotFoundError):
            # It holds no visible object; a lifecycle rule of the bucket clears what is left.
            return

    @property
    def _where(self) -> dict[str, str]:
        return {"Bucket": self._store._bucket, "Key": self._store._prefix + self._key}

    def _take(self) -> bytes:
        """The next part: all of one size but the last, as some stores want it."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        if len(taken) > _PART_BYTES:
            self._pieces.append(taken[_PART_BYTES:])
            taken = taken[:_PART_BYTES]
        self._pieces_bytes -= len(taken)
        return taken

    async def _send_part(self) -> None:
        if not self._upload_id:
            with self._store._errors_mapped(self._key):
                created = await self._store._client.create_multipart_upload(**self._where)
            self._upload_id = created["UploadId"]
        if len(self._parts) >= _PARTS_IN_FLIGHT:
            await self._parts[-_PARTS_IN_FLIGHT]
        self._parts.append(asyncio.create_task(self._upload_part(len(self._parts) + 1, self._take())))

    async def _upload_part(self, number: int, data: bytes) -> str:
        digest = await _md5(data)
        with self._store._errors_mapped(self._key):
            sent = await self._store._client.upload_part(
                **self._where, UploadId=self._upload_id, PartNumber=number, Body=data, ContentMD5=digest
            )
        return str(sent["ETag"])

    async def _complete(self, tags: Sequence[str]) -> None:
        parts = [{"ETag": tag, "PartNumber": number} for number, tag in enumerate(tags, 1)]
        with self._store._errors_mapped(self._key):
            await self._store._client.complete_multipart_upload(
                **self._where, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
            )


async def _md5(data: bytes) -> str:
    if len(data) > _THREAD_DIGEST_BYTES:
        return await asyncio.to_thread(_md5_now, data)
    return _md5_now(data)


def _md5_now(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
