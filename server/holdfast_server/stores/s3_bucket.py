"""A bucket through its client: where keys lie in it, and the library's errors as the store's own."""

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.parsers import ResponseParserError

from holdfast_server.stores.base import ObjectNotFoundError, StoreAccessDeniedError, StoreUnavailableError

_THREAD_DIGEST_BYTES = 256 << 10
_REFUSALS = {
    "AccessDenied": "refuses access",
    "AllAccessDisabled": "refuses access",
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "does not accept the secret key",
    "ExpiredToken": "says that the session token has expired",
    "RequestTimeTooSkewed": "says that this machine's clock is wrong",
    "NoSuchBucket": "does not have the bucket",
    "InvalidBucketName": "does not accept the bucket's name",
}


class PreconditionFailedError(Exception):
    """The key has an object."""


class RangeError(Exception):
    """The range begins behind the object's end."""


_SIGNALS: dict[int, type[Exception]] = {412: PreconditionFailedError, 416: RangeError}


class Bucket:
    """A bucket below a prefix.

    Args:
        client: an S3 client that is open.
        name: the bucket.
        prefix: what every key begins with, "" or ending with a slash.
        where: endpoint and bucket, for messages.

    """

    def __init__(self, client: Any, name: str, prefix: str, where: str) -> None:
        self.client = client
        self.name = name
        self.prefix = prefix
        self.where = where

    def place(self, key: str) -> dict[str, str]:
        """The arguments that name an object."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    async def put_object(self, key: str, data: bytes, **conditions: str) -> None:
        """Write an object with one request.

        Raises:
            PreconditionFailedError: a condition does not hold.

        """
        digest = await md5(data)
        with self.errors_mapped(key):
            await self.client.put_object(**self.place(key), Body=data, ContentMD5=digest, **conditions)

    async def size(self, key: str) -> int:
        """The size of an object."""
        with self.errors_mapped(key):
            response = await self.client.head_object(**self.place(key))
        return int(response["ContentLength"])

    @contextmanager
    def errors_mapped(self, key: str) -> Iterator[None]:
        """Turn the library's errors into the store's."""
        try:
            yield
        except ClientError as error:
            raise self._of_response(error, key) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreAccessDeniedError(f"{self.where}: no credentials are configured") from error
        except ResponseParserError as error:
            raise StoreUnavailableError(f"{self.where}: the server's answer cannot be read") from error
        except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise StoreUnavailableError(f"{self.where}: cannot be reached, or the connection broke") from error

    def _of_response(self, error: ClientError, key: str) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _REFUSALS:
            return StoreAccessDeniedError(f"{self.where}: the server {_REFUSALS[code]}")
        if status in _SIGNALS:
            return _SIGNALS[status]()
        if status == 404:
            return ObjectNotFoundError(key)
        if status in (401, 403):
            return StoreAccessDeniedError(f"{self.where}: the server refuses access")
        if status in (429, 503):
            return StoreUnavailableError(f"{self.where}: the server throttles")
        return StoreUnavailableError(f"{self.where}: the server answered with status {status}")


async def md5(data: bytes) -> str:
    """MD5 as Content-MD5 wants it."""
    if len(data) > _THREAD_DIGEST_BYTES:
        return await asyncio.to_thread(_md5_now, data)
    return _md5_now(data)


def _md5_now(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
