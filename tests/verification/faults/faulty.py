"""A server on each real store, with faults between the two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import holdfast
from holdfast._core.retry import RetryBucket
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.s3 import S3Store

from tests.verification.faults.faults import Faults
from tests.verification.faults.faulty_store import FaultyStore
from tests.verification.faults.s3_proxy import S3Proxy

PREFIX = "some/prefix"


@dataclass
class Faulty:
    """A store behind faults.

    Attributes:
        store: as a server meets it.
        sound: the same objects without faults.
        faults: what strikes.
        proxy: what it passes through, where it is one of S3.

    """

    store: ObjectStore
    sound: ObjectStore
    faults: Faults
    proxy: S3Proxy | None = None

    @asynccontextmanager
    async def served(self, **settings: float) -> AsyncIterator[str]:
        """The target of a new server, which has nothing in its cache."""
        config = Config(listen="127.0.0.1:0", store="file:///given", drain_seconds=1, **settings)
        async with serving(config, self.store) as port:
            yield f"127.0.0.1:{port}"

    @asynccontextmanager
    async def client(self, *, timeout: float = 20, **settings: float) -> AsyncIterator[holdfast.AsyncClient]:
        """A client of a new server."""
        async with self.served(**settings) as target, holdfast.AsyncClient(target, timeout=timeout) as client:
            yield client


def retry_without_end(client: holdfast.AsyncClient) -> None:
    """A channel whose bucket of retries is empty gives up at once: right, but not what some tests look at."""
    client._transport._caller._bucket = RetryBucket(holdfast.RetryPolicy(burst_retries=1e9))


@asynccontextmanager
async def faulty_folder(folder: Path) -> AsyncIterator[Faulty]:
    async with FileStore.open(folder) as store:
        faults = Faults()
        yield Faulty(FaultyStore(store, faults), store, faults)


@asynccontextmanager
async def faulty_s3(endpoint_url: str, bucket: str) -> AsyncIterator[Faulty]:
    faults = Faults()
    async with (
        S3Proxy(endpoint_url, f"{bucket}/{PREFIX}", faults).running() as proxy,
        S3Store.open(bucket, PREFIX, endpoint_url=proxy.endpoint_url) as store,
        S3Store.open(bucket, PREFIX, endpoint_url=endpoint_url) as sound,
    ):
        yield Faulty(store, sound, faults, proxy)
