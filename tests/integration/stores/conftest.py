"""A fixture with one store of each kind, and one with each S3 server and client."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from holdfast_server.stores.azure import AzureStore
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.stores.s3 import S3Store
from holdfast_server.stores.s3_settings import S3Settings

from tests.support.budget import full
from tests.support.object_servers import create_bucket

PREFIX = "some/prefix"
# By server, the fixture with its URL.
S3_SERVERS = {"ceph": "s3_endpoint", "minio": "minio_endpoint", "versitygw": "versitygw_endpoint"}
S3_KINDS = ["ceph aioboto3"] + [
    full(f"{server} {client}")
    for server in S3_SERVERS
    for client in ("aioboto3", "obstore")
    if (server, client) != ("ceph", "aioboto3")
]


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server, and a client to reach it.

    Attributes:
        endpoint_url: the server.
        name: the bucket.
        open: opens a bucket of this server as a store.

    """

    endpoint_url: str
    name: str
    open: Callable[..., AbstractAsyncContextManager[S3Store]]


@pytest.fixture(params=S3_KINDS)
def bucket(request: pytest.FixtureRequest) -> Bucket:
    return bucket_of(request, request.param)


def bucket_of(request: pytest.FixtureRequest, kind: str) -> Bucket:
    server, client = kind.split()
    endpoint_url = request.getfixturevalue(S3_SERVERS[server])
    return Bucket(
        endpoint_url,
        create_bucket(endpoint_url),
        partial(S3Store.open, endpoint_url=endpoint_url, settings=S3Settings(client)),
    )


@pytest.fixture(params=["file", "memory", *S3_KINDS, full("azure")])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "file":
        async with FileStore.open(tmp_path / "store") as folder:
            yield folder
    elif request.param == "memory":
        yield MemoryStore()
    elif request.param == "azure":
        endpoint = request.getfixturevalue("azure_endpoint")
        container = request.getfixturevalue("azure_container")
        async with AzureStore.open(container, PREFIX, endpoint_url=endpoint) as azure:
            yield azure
    else:
        bucket = bucket_of(request, request.param)
        async with bucket.open(bucket.name, PREFIX) as s3:
            yield s3
