"""Failures that only an S3 store can have."""

import asyncio

import boto3
import pytest
from holdfast_server.stores.base import StoreAccessDeniedError, StoreUnavailableError
from holdfast_server.stores.probe import probe
from holdfast_server.stores.s3 import S3Store


async def test_a_real_s3_server_passes_the_probe(bucket):
    async with bucket.open(bucket.name) as store:
        await probe(store, store.where)
        assert await store.list("probe/") == []


async def test_a_wrong_secret_is_named_as_the_cause(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    async with bucket.open(bucket.name) as store:
        for refused in (store.list("a/"), store.put_if_absent("a", b"x"), store.get("a"), store.delete("a")):
            with pytest.raises(StoreAccessDeniedError, match="secret key"):
                await refused


async def test_a_missing_bucket_is_named_as_the_cause(bucket):
    async with bucket.open("no-such-bucket") as store:
        with pytest.raises(StoreAccessDeniedError, match="does not have the bucket"):
            await store.put_if_absent("a", b"x")
        with pytest.raises(StoreAccessDeniedError, match="does not have the bucket"):
            await store.get("a")


async def test_an_unreachable_server_is_distinguished_from_a_refusal(bucket):
    async with bucket.open("any", endpoint_url="http://127.0.0.1:9") as store:
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await store.get("a")


async def test_an_upload_that_is_cancelled_leaves_nothing_in_the_bucket(bucket):
    plain = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    under_way = asyncio.Event()

    async def upload(store: S3Store) -> None:
        async with store.put("large") as writer:
            for _ in range(40):
                await writer.write(bytes(1 << 20))
                if plain.list_multipart_uploads(Bucket=bucket.name).get("Uploads"):
                    under_way.set()
                    await asyncio.sleep(0)
            await writer.finish()

    async with bucket.open(bucket.name) as store:
        task = asyncio.create_task(upload(store))
        await under_way.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not plain.list_multipart_uploads(Bucket=bucket.name).get("Uploads")
        assert plain.list_objects_v2(Bucket=bucket.name)["KeyCount"] == 0
        assert len(asyncio.all_tasks()) == 1
