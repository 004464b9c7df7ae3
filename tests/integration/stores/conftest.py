"""A fixture with one store of each kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.stores.s3 import S3Store


@pytest.fixture(params=["file", "memory", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "file":
        async with FileStore.open(tmp_path / "store") as folder:
            yield folder
    elif request.param == "memory":
        yield MemoryStore()
    else:
        endpoint = request.getfixturevalue("s3_endpoint")
        bucket = request.getfixturevalue("s3_bucket")
        async with S3Store.open(bucket, "some/prefix", endpoint_url=endpoint) as s3:
            yield s3
