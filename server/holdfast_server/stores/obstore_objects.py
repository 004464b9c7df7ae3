"""Single objects of a bucket or container, through obstore: requests in Rust, without a share of the event loop.

A request is sent once: whether a write may be sent again is for the protocol to decide.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from holdfast_server.stores import obstore_errors
from holdfast_server.stores.answers import RangeError
from holdfast_server.stores.base import ObjectNotFoundError, StoredObject, StoreSettingsError
from holdfast_server.stores.obstore_library import obstore

# The limits of the S3 store's other client. The timeout of a whole request bounds a server that sends byte by byte.
CLIENT_OPTIONS = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "300s"}
NO_RETRIES = {"max_retries": 0}


class Objects:
    """The objects below a prefix.

    Args:
        store: a store of obstore, without retries.
        prefix: the prefix of every key, "" or with a slash at its end.
        where: endpoint and bucket, for operators.
        denied: the server's codes that deny access.

    """

    def __init__(self, store: Any, prefix: str, where: str, denied: Mapping[str, str]) -> None:
        self._store = store
        self._prefix = prefix
        self._where = where
        self._denied = denied

    async def put(self, key: str, data: bytes, *, if_absent: bool) -> None:
        """Write an object with one request.

        Raises:
            PreconditionFailedError: it must be absent, and the key has an object.

        """
        mode = "create" if if_absent else "overwrite"
        with self.errors_mapped(key):
            await obstore.put_async(self._store, self._prefix + key, data, mode=mode, use_multipart=False)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        options: dict[str, Any] = {}
        if length is not None:
            options["range"] = (offset, offset + max(length, 1))
        elif offset:
            options["range"] = {"offset": offset}
        try:
            with self.errors_mapped(key):
                found = await obstore.get_async(self._store, self._prefix + key, options=options)
                data = bytes(await found.bytes_async())
        except RangeError:
            return StoredObject(b"", await self.size(key))
        return StoredObject(data if length is None else data[:length], found.meta["size"])

    async def size(self, key: str) -> int:
        """Return the size of an object in bytes."""
        with self.errors_mapped(key):
            return int((await obstore.head_async(self._store, self._prefix + key))["size"])

    async def delete(self, key: str) -> None:
        """Delete an object. It is not an error if no object has the key."""
        try:
            with self.errors_mapped(key):
                await obstore.delete_async(self._store, self._prefix + key)
        except ObjectNotFoundError:
            return

    @contextmanager
    def errors_mapped(self, key: str) -> Iterator[None]:
        """Map the library's errors to the store's."""
        try:
            yield
        except obstore_errors.RAISED as error:
            raise obstore_errors.mapped(error, self._where, self._denied, key) from error


def require_plain(prefix: str, where: str) -> None:
    """Check that the library takes a prefix as it is.

    Raises:
        StoreSettingsError: it would change the prefix or refuse every key below it.

    """
    if prefix and not all(part not in ("", ".", "..") for part in prefix.split("/")):
        message = f"the prefix {prefix!r} cannot be used through obstore: expected no empty part and no '.' or '..'"
        raise StoreSettingsError("the server's settings for the store are wrong", detail=f"{where}: {message}")
