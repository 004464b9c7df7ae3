"""Opens the store of a location: a folder of this machine, or a prefix of a bucket."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from holdfast_server import location
from holdfast_server.location import FolderLocation
from holdfast_server.protocol.format.keys import MANIFEST_KEY
from holdfast_server.protocol.format.manifest import NoStoreError, open_layout
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import DATABASE, FileStore
from holdfast_server.stores.traced import TracedStore


@asynccontextmanager
async def open_store(url: str, *, is_traced: bool, must_exist: bool = False) -> AsyncIterator[ObjectStore]:
    """Open the store at a URL. For S3, endpoint, region and credentials come from the AWS variables.

    Args:
        url: the location, as `location.parse` accepts it.
        is_traced: whether to open a span and count for each request to the store.
        must_exist: whether to refuse a place without a store.

    Raises:
        NoStoreError: the store must exist and does not. Nothing was created.
        StoreError: the store cannot be used.

    """
    parsed = location.parse(url)
    if isinstance(parsed, FolderLocation):
        # A store of the old layout has a file for its manifest, and is refused with what to do.
        if must_exist and not any((parsed.path / name).is_file() for name in (DATABASE, MANIFEST_KEY)):
            raise NoStoreError
        async with FileStore.open(parsed.path) as folder:
            yield TracedStore(folder) if is_traced else folder
        return
    # The S3 client takes two thirds of the time to import everything, and servers on a folder do not need it.
    from holdfast_server.stores.s3 import S3Store  # noqa: PLC0415

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    async with S3Store.open(parsed.bucket, parsed.prefix, endpoint_url=endpoint) as store:
        if must_exist:
            # Before the probe, which writes objects.
            await open_layout(store, must_exist=True)
        await store.probe()
        yield TracedStore(store, bucket=parsed.bucket, prefix=parsed.prefix) if is_traced else store
