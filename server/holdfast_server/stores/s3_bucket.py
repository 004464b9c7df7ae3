"""A bucket and its client: the names of objects, and the library's errors mapped to the store's."""

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from holdfast_server.stores import s3_errors

_THREAD_DIGEST_BYTES = 256 << 10


class Bucket:
    """A bucket, below a prefix.

    Args:
        client: an open S3 client.
        name: the bucket.
        prefix: the prefix of every key, "" or with a slash at its end.
        where: endpoint and bucket, for operators.

    """

    def __init__(self, client: Any, name: str, prefix: str, where: str) -> None:
        self.client = client
        self.name = name
        self.prefix = prefix
        self.where = where
        self._has_answered = False

    def object_arguments(self, key: str) -> dict[str, str]:
        """Return the request arguments that name an object."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    async def put_object(self, key: str, data: bytes, **conditions: str) -> None:
        """Write an object with one request.

        Raises:
            PreconditionFailedError: a condition does not hold.

        """
        digest = await md5(data)
        with self.errors_mapped(key):
            await self.client.put_object(**self.object_arguments(key), Body=data, ContentMD5=digest, **conditions)

    async def size(self, key: str) -> int:
        """Return the size of an object in bytes."""
        with self.errors_mapped(key):
            response = await self.client.head_object(**self.object_arguments(key))
        return int(response["ContentLength"])

    @contextmanager
    def errors_mapped(self, key: str) -> Iterator[None]:
        """Map the library's errors to the store's."""
        try:
            yield
        except s3_errors.RAISED as error:
            self._has_answered |= isinstance(error, ClientError)
            raise s3_errors.mapped(error, self.where, key, has_answered=self._has_answered) from error
        self._has_answered = True


async def md5(data: bytes) -> str:
    """Return the value of Content-MD5."""
    if len(data) > _THREAD_DIGEST_BYTES:
        return await asyncio.to_thread(_md5_now, data)
    return _md5_now(data)


def _md5_now(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
