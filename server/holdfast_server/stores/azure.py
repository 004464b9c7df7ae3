"""An object store in a container of Azure Blob Storage, through obstore.

Put-if-absent is one Put Blob with `If-None-Match: *`. Large uploads are blocks, of which few are in memory; a blob
appears when its list of blocks is committed, and Azure discards blocks that never are. Account, endpoint and
credentials come from the AZURE_STORAGE variables.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from holdfast_server.stores import obstore_errors
from holdfast_server.stores.answers import DENIED_BY_AZURE, PreconditionFailedError
from holdfast_server.stores.base import ObjectSummary, StoredObject, StoreUnavailableError
from holdfast_server.stores.listing import ServedListing
from holdfast_server.stores.obstore_library import obstore
from holdfast_server.stores.obstore_objects import CLIENT_OPTIONS, NO_RETRIES, Objects, require_plain

_BLOCK_BYTES = 8 << 20
_BLOCKS_IN_FLIGHT = 2
# Above the library's own timeout of one request.
_PAGE_SECONDS = 330.0
# The library sends a request of an upload again, but never one that creates an object only if it is absent.
_UPLOAD_RETRIES = {
    "max_retries": 4,
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=1.6), "base": 2},
}


class AzureStore:
    """A store in a container, below a prefix. Created by `open`.

    Args:
        container: the container as a store of obstore, without retries.
        uploads: the same, with retries for requests that may be sent twice.
        prefix: the prefix of every key, "" or with a slash at its end.
        where: account or endpoint, and container, for operators.

    """

    def __init__(self, container: Any, uploads: Any, prefix: str, where: str) -> None:
        self._container = container
        self._uploads = uploads
        self._prefix = prefix
        self._objects = Objects(container, prefix, where, DENIED_BY_AZURE)
        self.where = where

    @classmethod
    @asynccontextmanager
    async def open(
        cls, container: str, prefix: str = "", *, endpoint_url: str | None = None
    ) -> AsyncIterator["AzureStore"]:
        """Open a store. Account and credentials come from the AZURE_STORAGE variables.

        Args:
            container: the container.
            prefix: the prefix of all keys.
            endpoint_url: the server; None for that of AZURE_STORAGE_ENDPOINT or, without it, of the account.

        Raises:
            StoreSettingsError: the library does not accept the settings, or is not installed.

        """
        endpoint_url = endpoint_url or os.environ.get("AZURE_STORAGE_ENDPOINT") or os.environ.get("AZURE_ENDPOINT")
        account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        where = f"{endpoint_url or f'Azure account {account!r}'}, container {container!r}"
        prefix = prefix.strip("/")
        require_plain(prefix, where)
        options = {**CLIENT_OPTIONS, "allow_http": bool(endpoint_url and endpoint_url.startswith("http://"))}
        config = {"endpoint": endpoint_url} if endpoint_url else {}
        try:
            store, uploads = (
                obstore.store.AzureStore(container, config=config, client_options=options, retry_config=retries)
                for retries in (NO_RETRIES, _UPLOAD_RETRIES)
            )
        except (*obstore_errors.RAISED, ValueError) as error:
            raise obstore_errors.settings_error(error, where) from error
        yield cls(store, uploads, f"{prefix}/" if prefix else "", where)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one."""
        try:
            await self._objects.put(key, data, if_absent=True)
        except PreconditionFailedError:
            return False
        return True

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or a range of it."""
        return await self._objects.get(key, offset=offset, length=length)

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator["Upload"]:
        """Write an object under a fresh key."""
        yield Upload(self._uploads, self._prefix + key, self._objects)

    async def replace(self, key: str, data: bytes) -> None:
        """Replace an object. An account with versioning keeps the old version."""
        await self._objects.put(key, data, if_absent=False)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """List objects in key order. The library requests whole pages of 5,000 objects."""
        found: list[ObjectSummary] = []
        first, after = self._prefix + prefix, self._prefix + start_after if start_after else ""
        # The library takes whole folders only, and not every server knows the offset: what both let through is left out
        # here.
        folder = first.rpartition("/")[0]
        listing = ServedListing(f"{folder}/" if folder else "", "", self.where)
        pages = obstore.list(self._container, folder or None, offset=after or None, chunk_size=min(limit, 1000))
        while (page := await self._next_page(pages, prefix)) is not None:
            for each in page:
                taken = listing.take(each["path"], each["size"], each["last_modified"])
                if taken.key.startswith(first):
                    if taken.key > after:
                        found.append(replace(taken, key=taken.key.removeprefix(self._prefix)))
                elif taken.key > first:
                    return found
                if len(found) == limit:
                    return found
        return found

    async def _next_page(self, pages: Any, prefix: str) -> Sequence[Any] | None:
        """Return the next objects that the library lists; None if there are none.

        The library itself requests pages until it has enough objects, also from a server that sends empty ones.
        """
        try:
            async with asyncio.timeout(_PAGE_SECONDS):
                with self._objects.errors_mapped(prefix):
                    return await anext(pages, None)
        except TimeoutError:
            detail = f"{self.where}: no page of a listing within {_PAGE_SECONDS:g} seconds"
            raise StoreUnavailableError("the store lists too slowly", detail=detail) from None

    async def copy(self, source: str, target: str) -> bool:
        """Copy nothing: a copy within Azure may be unfinished when its answer comes, and obstore does not wait."""
        return False

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self._objects.delete(key)


class Upload:
    """An upload that sends a bounded number of blocks concurrently. If it is not finished, no blob appears.

    Args:
        store: the container as a store of obstore, with retries.
        path: the name of the blob.
        objects: maps the errors.

    """

    def __init__(self, store: Any, path: str, objects: Objects) -> None:
        self._objects = objects
        self._path = path
        self._writer = obstore.open_writer_async(
            store, path, buffer_size=_BLOCK_BYTES, max_concurrency=_BLOCKS_IN_FLIGHT
        )

    async def write(self, data: bytes) -> None:
        """Append bytes. May wait for earlier bytes to be sent."""
        with self._objects.errors_mapped(self._path):
            await self._writer.write(data)

    async def finish(self) -> None:
        """Make the object visible."""
        with self._objects.errors_mapped(self._path):
            await self._writer.close()
