"""Opens the store of a location: a folder of this machine, or a prefix of a bucket or container."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from holdfast_server import location
from holdfast_server.location import BucketLocation, ContainerLocation, FolderLocation
from holdfast_server.protocol.format.keys import MANIFEST_KEY
from holdfast_server.protocol.format.manifest import NoStoreError, read_manifest
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import DATABASE, Access, FileStore
from holdfast_server.stores.probe import probe
from holdfast_server.stores.s3_settings import DEFAULTS, S3Settings
from holdfast_server.stores.traced import TracedStore

if TYPE_CHECKING:
    from holdfast_server.stores.azure import AzureStore
    from holdfast_server.stores.s3 import S3Store


@asynccontextmanager
async def open_store(
    url: str, *, is_traced: bool, must_exist: bool = False, s3: S3Settings = DEFAULTS, group: int | None = None
) -> AsyncIterator[ObjectStore]:
    """Open the store at a URL. Endpoint and credentials of a bucket or container come from the environment.

    Args:
        url: the location, as `location.parse` accepts it.
        is_traced: whether to open a span and count for each request to the store.
        must_exist: whether to refuse a place without a store.
        s3: the settings of a store on S3.
        group: the number of the group that may use the files of a new store in a folder; None for none.

    Raises:
        NoStoreError: the store must exist and does not. Nothing was created.
        StoreError: the store cannot be used.

    """
    parsed = location.parse(url)
    if isinstance(parsed, FolderLocation):
        # A store of the old layout has a file for its manifest, and is refused with what to do.
        if must_exist and not any((parsed.path / name).is_file() for name in (DATABASE, MANIFEST_KEY)):
            raise NoStoreError
        async with FileStore.open(parsed.path, access=Access(group)) as folder:
            yield TracedStore(folder) if is_traced else folder
        return
    async with _opened(parsed, s3) as store:
        if must_exist:
            # Before the probe, which writes objects.
            await read_manifest(store)
        await probe(store, store.where, why_unprotected=getattr(store, "why_unprotected", None))
        bucket = parsed.bucket if isinstance(parsed, BucketLocation) else ""
        yield TracedStore(store, bucket=bucket, prefix=parsed.prefix) if is_traced else store


def _opened(
    parsed: BucketLocation | ContainerLocation, s3: S3Settings
) -> AbstractAsyncContextManager["S3Store | AzureStore"]:
    """Open a bucket or container. Its module is imported only if it is used: the libraries are large."""
    if isinstance(parsed, ContainerLocation):
        from holdfast_server.stores.azure import AzureStore  # noqa: PLC0415

        return AzureStore.open(parsed.container, parsed.prefix)
    from holdfast_server.stores.s3 import S3Store  # noqa: PLC0415

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return S3Store.open(parsed.bucket, parsed.prefix, endpoint_url=endpoint, settings=s3)
