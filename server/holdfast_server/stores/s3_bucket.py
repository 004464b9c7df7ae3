"""A bucket and its client: requests for single objects, and the library's errors mapped to the store's."""

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from holdfast_server.stores import s3_errors
from holdfast_server.stores.answers import RangeError
from holdfast_server.stores.base import StoredObject

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

    async def put_object(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Write an object with one request.

        Raises:
            PreconditionFailedError: it must be absent, and the key has an object.

        """
        digest = await md5(data)
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        with self.errors_mapped(key):
            await self.client.put_object(**self.object_arguments(key), Body=data, ContentMD5=digest, **condition)

    async def get_object(self, key: str, *, offset: int, length: int | None) -> StoredObject:
        """Read an object, or a range of it."""
        byte_range = {}
        if offset or length is not None:
            byte_range["Range"] = (
                f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + max(length, 1) - 1}"
            )
        try:
            with self.errors_mapped(key):
                response = await self.client.get_object(**self.object_arguments(key), **byte_range)
                async with response["Body"]:
                    data = await response["Body"].read()
        except RangeError:
            return StoredObject(b"", await self.size(key))
        total = response.get("ContentRange", "").rpartition("/")[2]
        size = int(total) if total.isdigit() else len(data)
        return StoredObject(data if length is None else data[:length], size)

    async def delete_object(self, key: str) -> None:
        """Delete an object. It is not an error if no object has the key."""
        with self.errors_mapped(key):
            await self.client.delete_object(**self.object_arguments(key))

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
