"""An object store in an S3 bucket, through aioboto3 or, for small requests, through obstore.

Put-if-absent is one PutObject with `If-None-Match: *`. Large uploads are multipart, with a bounded number of parts in
memory. The HTTP client may send a request twice, so a 412 never proves that another writer won; the protocol handles
that. Every write carries a digest that this server verifies: Content-MD5, a checksum or, through obstore, a signed
SHA-256.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import aioboto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from holdfast_server.stores import s3_errors
from holdfast_server.stores.answers import PreconditionFailedError
from holdfast_server.stores.base import ObjectSummary, StoredObject
from holdfast_server.stores.listing import ServedListing
from holdfast_server.stores.s3_bucket import Bucket
from holdfast_server.stores.s3_checksums import PartChecksums
from holdfast_server.stores.s3_settings import DEFAULTS, S3Settings
from holdfast_server.stores.s3_upload import Upload

# Answers of servers that do not support CopyObject, or not for this object.
_CANNOT_COPY = (400, 405, 501)


class S3Store:
    """A store in a bucket, below a prefix. Created by `open`.

    Args:
        bucket: the bucket, with an open client.
        encryption: how each object must be encrypted; "" for the bucket's own default.

    """

    def __init__(self, bucket: Bucket, *, encryption: str = "") -> None:
        self._bucket = bucket
        self._encryption = encryption
        self._checksums = PartChecksums(bucket)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        settings: S3Settings = DEFAULTS,
    ) -> AsyncIterator["S3Store"]:
        """Open a store and its connections. Credentials come from the usual AWS variables.

        Args:
            bucket: the bucket.
            prefix: the prefix of all keys.
            endpoint_url: the server; None for AWS.
            region: the region; None for that of AWS_REGION, AWS_DEFAULT_REGION or the profile.
            settings: the client, the encryption at rest and the owner of the bucket.

        Raises:
            StoreSettingsError: the library does not accept the settings, or is not installed.

        """
        where = f"{endpoint_url or 'AWS S3'}, bucket {bucket!r}"
        below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        async with AsyncExitStack() as resources:
            try:
                session = aioboto3.Session()
                connected = await resources.enter_async_context(_client(session, endpoint_url, region))
                _add_arguments(connected, settings.request_arguments)
                if settings.client == "obstore":
                    # Imported if it is used: it is an extra.
                    from holdfast_server.stores.s3_obstore import ObstoreBucket  # noqa: PLC0415

                    opened: Bucket = await ObstoreBucket.open(
                        session, connected, bucket, below, where, settings=settings
                    )
                else:
                    opened = Bucket(connected, bucket, below, where)
            except (BotoCoreError, ValueError, OSError) as error:
                raise s3_errors.settings_error(error, where) from error
            yield cls(opened, encryption=settings.encryption)

    @property
    def where(self) -> str:
        """Endpoint and bucket, for operators."""
        return self._bucket.where

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        try:
            await self._bucket.put_object(key, data, if_absent=True)
        except PreconditionFailedError:
            return False
        return True

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        return await self._bucket.get_object(key, offset=offset, length=length)

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
        below = self._bucket.prefix
        first, after = below + prefix, below + start_after if start_after else ""
        listing = ServedListing(first, after, self._bucket.where)
        found: list[ObjectSummary] = []
        token = ""
        while len(found) < limit:
            position = {"StartAfter": after} if after else {}
            if token:
                position = {"ContinuationToken": token}
            with self._bucket.errors_mapped(prefix):
                response = await self._bucket.client.list_objects_v2(
                    Bucket=self._bucket.name, Prefix=first, MaxKeys=min(1000, limit - len(found)), **position
                )
            page = response.get("Contents", ())
            for each in page:
                taken = listing.take(each.get("Key"), each.get("Size"), each.get("LastModified"))
                after = taken.key
                found.append(replace(taken, key=taken.key.removeprefix(below)))
            if not response.get("IsTruncated"):
                break
            # An empty page has no last key from which to go on.
            token = "" if page else listing.pass_empty_page(response.get("NextContinuationToken"))
        return found[:limit]

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

    async def why_unprotected(self, key: str) -> str:
        """Return how an object differs from what the settings require of it, "" if it does not.

        Some servers accept a request for encryption, and ignore it.
        """
        if not self._encryption:
            return ""
        with self._bucket.errors_mapped(key):
            found = await self._bucket.client.head_object(**self._bucket.object_arguments(key))
        encryption = found.get("ServerSideEncryption", "none")
        if encryption == self._encryption:
            return ""
        return f"it was to encrypt an object with {self._encryption!r}, and the encryption is {encryption!r}"

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self._bucket.delete_object(key)


def _client(
    session: aioboto3.Session, endpoint_url: str | None, region: str | None
) -> AbstractAsyncContextManager[Any]:
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
    opened: AbstractAsyncContextManager[Any] = session.client(
        "s3", endpoint_url=endpoint_url, region_name=region, config=config
    )
    return opened


def _add_arguments(client: Any, arguments: Mapping[str, str]) -> None:
    """Add arguments to each request of a client whose operation knows them, so that none is forgotten."""

    def add(params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        known = model.input_shape.members
        return {**params, **{name: value for name, value in arguments.items() if name in known}}

    if arguments:
        client.meta.events.register("provide-client-params.s3", add)
