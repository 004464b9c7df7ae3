"""A bucket whose small requests go through obstore. Listings, copies and uploads in parts go through aioboto3.

A PUT through aioboto3 costs about six times as much of the processor, most of it on the event loop. Listings stay with
aioboto3 because obstore always requests whole pages, and uploads in parts because it leaves the parts of a cancelled
one in the bucket. Endpoint, region and credentials are those of the AWS session.

The library signs the SHA-256 of every body, which every S3 server verifies.
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials

from holdfast_server.stores import obstore_errors, s3_errors
from holdfast_server.stores.answers import DENIED_BY_S3
from holdfast_server.stores.base import StoredObject, StoreSettingsError
from holdfast_server.stores.obstore_library import obstore
from holdfast_server.stores.obstore_objects import CLIENT_OPTIONS, NO_RETRIES, Objects, require_plain
from holdfast_server.stores.s3_bucket import Bucket
from holdfast_server.stores.s3_settings import S3Settings

_KEPT_SECONDS = 60


class ObstoreBucket(Bucket):
    """A bucket, below a prefix. Created by `open`.

    Args:
        client: an open client of aioboto3.
        name: the bucket.
        prefix: the prefix of every key, "" or with a slash at its end.
        where: endpoint and bucket, for operators.
        login: the credentials.
        store: the bucket as a store of obstore.

    """

    def __init__(self, client: Any, name: str, prefix: str, where: str, *, login: "Login", store: Any) -> None:
        super().__init__(client, name, prefix, where)
        self._login = login
        self._objects = Objects(store, prefix, where, DENIED_BY_S3)

    @classmethod
    async def open(
        cls, session: Any, client: Any, name: str, prefix: str, where: str, *, settings: S3Settings
    ) -> "ObstoreBucket":
        """Open a bucket.

        Args:
            session: the AWS session, which has the credentials.
            client: its open client, which has the endpoint and the region.
            name: the bucket.
            prefix: the prefix of every key, "" or with a slash at its end.
            where: endpoint and bucket, for operators.
            settings: the encryption at rest.

        Raises:
            StoreSettingsError: the library does not accept the settings.
            OSError: the file of certificates cannot be read.

        """
        require_plain(prefix.removesuffix("/"), where)
        login = Login(await session.get_credentials(), where)
        scheme, host = urlsplit(client.meta.endpoint_url)[:2]
        # AWS prefers the bucket in the host's name. A certificate for any bucket does not cover a name with a dot.
        is_virtual = ".amazonaws.com" in host and "." not in name
        options: dict[str, Any] = {**CLIENT_OPTIONS, "allow_http": scheme == "http"}
        bundle = os.environ.get("AWS_CA_BUNDLE")
        if bundle:
            options["root_certificate"] = await asyncio.to_thread(Path(bundle).read_bytes)
        config = {
            "endpoint": f"{scheme}://{name}.{host}" if is_virtual else client.meta.endpoint_url,
            "region": client.meta.region_name,
            "virtual_hosted_style_request": is_virtual,
            "disable_bulk_delete": True,
        }
        if settings.encryption:
            config["aws_server_side_encryption"] = settings.encryption
        if settings.kms_key:
            config["aws_sse_kms_key_id"] = settings.kms_key
        try:
            store = obstore.store.S3Store(
                name, config=config, client_options=options, retry_config=NO_RETRIES, credential_provider=login
            )
        except obstore.exceptions.BaseError as error:
            raise obstore_errors.settings_error(error, where) from error
        return cls(client, name, prefix, where, login=login, store=store)

    async def put_object(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        await self._login.refresh()
        await self._objects.put(key, data, if_absent=if_absent)

    async def get_object(self, key: str, *, offset: int, length: int | None) -> StoredObject:
        await self._login.refresh()
        return await self._objects.get(key, offset=offset, length=length)

    async def delete_object(self, key: str) -> None:
        await self._login.refresh()
        await self._objects.delete(key)


class Login:
    """The credentials of the AWS session, kept fresh, and called by obstore from a thread of its own.

    Args:
        credentials: the session's credentials; None if it found none.
        where: endpoint and bucket, for operators.

    """

    # obstore asks again when the credentials that it keeps are within this time of their end.
    refresh_threshold = timedelta(0)

    def __init__(self, credentials: Credentials | None, where: str) -> None:
        self._credentials = credentials
        self._where = where
        self._current: ReadOnlyCredentials | None = None

    async def refresh(self) -> None:
        """Renew the credentials if they end soon. Called before each request, so that its errors are exact.

        Raises:
            StoreSettingsError: there are none.
            NothingWrittenError: they cannot be renewed at the moment.

        """
        if self._credentials is None:
            message = "the server has no credentials for the store"
            raise StoreSettingsError(message, detail=f"{self._where}: no source of credentials has any")
        try:
            self._current = await self._credentials.get_frozen_credentials()
        except (*s3_errors.RAISED, RuntimeError) as error:
            raise s3_errors.mapped(error, self._where, has_answered=False) from error

    def __call__(self) -> dict[str, Any]:
        """Return the credentials as obstore expects them."""
        current = self._current
        assert current is not None
        is_temporary = isinstance(self._credentials, RefreshableCredentials)
        return {
            "access_key_id": current.access_key,
            "secret_access_key": current.secret_key,
            "token": current.token,
            # The session renews them minutes before their end.
            "expires_at": datetime.now(UTC) + timedelta(seconds=_KEPT_SECONDS) if is_temporary else None,
        }
