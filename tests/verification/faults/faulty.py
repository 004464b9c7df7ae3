"""Servers on the real stores, with faults between the two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import holdfast
from holdfast._core.retry import RetryBucket
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.stores.azure import AzureStore
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.s3 import S3Store
from holdfast_server.stores.s3_settings import S3Settings

from tests.verification.faults.faults import Faults
from tests.verification.faults.faulty_store import FaultyStore
from tests.verification.faults.store_proxy import StoreProxy

PREFIX = "some/prefix"


@dataclass
class Faulty:
    """A store with faults in front of it.

    Attributes:
        store: the store with faults.
        sound: the same store without faults.
        faults: the faults.
        proxy: the proxy in front of a store over a network.

    """

    store: ObjectStore
    sound: ObjectStore
    faults: Faults
    proxy: StoreProxy | None = None

    @asynccontextmanager
    async def served(self, **settings: float) -> AsyncIterator[str]:
        """Run a new server, whose cache is empty. Yield its target."""
        config = Config(listen="127.0.0.1:0", store="file:///given", drain_seconds=1, **settings)
        async with serving(config, self.store) as port:
            yield f"127.0.0.1:{port}"

    @asynccontextmanager
    async def client(self, *, timeout: float = 20, **settings: float) -> AsyncIterator[holdfast.AsyncClient]:
        """Run a new server. Yield a client of it."""
        async with self.served(**settings) as target, holdfast.AsyncClient(target, timeout=timeout) as client:
            yield client


def retry_without_end(client: holdfast.AsyncClient) -> None:
    """Give a client more retries than any test uses up: a client without retries left fails at once."""
    give_retries(client, 10**9)


def give_retries(client: holdfast.AsyncClient, count: int) -> None:
    """Give a client a number of retries. After them a call fails with the error of its last attempt, at any speed."""
    policy = holdfast.RetryPolicy(burst_retries=count, retries_per_second=0)
    client._transport._caller._bucket = RetryBucket(policy)


@asynccontextmanager
async def faulty_folder(folder: Path) -> AsyncIterator[Faulty]:
    async with FileStore.open(folder) as store:
        faults = Faults()
        yield Faulty(FaultyStore(store, faults), store, faults)


@asynccontextmanager
async def faulty_s3(endpoint_url: str, bucket: str, client: str = "aioboto3") -> AsyncIterator[Faulty]:
    faults = Faults()
    async with (
        StoreProxy(endpoint_url, f"{bucket}/{PREFIX}", faults).running() as proxy,
        S3Store.open(bucket, PREFIX, endpoint_url=proxy.endpoint_url, settings=S3Settings(client)) as store,
        S3Store.open(bucket, PREFIX, endpoint_url=endpoint_url) as sound,
    ):
        yield Faulty(store, sound, faults, proxy)


@asynccontextmanager
async def faulty_azure(endpoint_url: str, container: str) -> AsyncIterator[Faulty]:
    faults = Faults()
    server_url, _, account = endpoint_url.rpartition("/")
    async with (
        StoreProxy(server_url, f"{account}/{container}/{PREFIX}", faults).running() as proxy,
        AzureStore.open(container, PREFIX, endpoint_url=f"{proxy.endpoint_url}/{account}") as store,
        AzureStore.open(container, PREFIX, endpoint_url=endpoint_url) as sound,
    ):
        yield Faulty(store, sound, faults, proxy)
