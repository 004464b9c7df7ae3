"""The stores under measurement: saves and loads of 4 KiB."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aioboto3
import holdfast
import obstore
import obstore.store
from botocore.config import Config
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from langgraph.checkpoint.base import empty_checkpoint

from benchmarks.measure import Subject
from benchmarks.savers import Saver

PAYLOAD = os.urandom(4096)
FORMAT = holdfast.Format("bench", 1)
# More connections than callers only cost memory; with fewer, some callers wait.
_CONNECTIONS = 64


@asynccontextmanager
async def sdk(target: str, *servers: int, **options: Any) -> AsyncIterator[Subject]:
    """Open Holdfast, or the service that does nothing, with the SDK.

    Args:
        target: the target.
        servers: the processes that serve it.
        options: those of the client.

    """
    run = uuid.uuid4().hex[:8]
    async with holdfast.AsyncClient(target, **options) as client:
        yield Subject(
            lambda caller: client.save("bench", f"{run}-{caller}", PAYLOAD, format=FORMAT),
            lambda caller: client.load("bench", f"{run}-{caller}"),
            servers,
        )


@asynccontextmanager
async def stub(target: str, *servers: int) -> AsyncIterator[Subject]:
    """Open the same with plain gRPC: a unary call for each operation, without the SDK."""
    import grpc  # noqa: PLC0415 - used here only

    run = uuid.uuid4().hex[:8]
    numbers = count()
    async with grpc.aio.insecure_channel(target) as channel:
        service: Any = CheckpointServiceStub(channel)

        def save(caller: int) -> Any:
            header = checkpoint_pb2.SaveHeader(
                namespace="bench",
                workflow_id=f"{run}-{caller}",
                request_id=f"{next(numbers)}",
                format=checkpoint_pb2.Format(name="bench", version=1),
            )
            return service.Save(api.SaveRequest(header=header, parts=[checkpoint_pb2.Part(data=PAYLOAD)]))

        def load(caller: int) -> Any:
            return service.Load(api.LoadRequest(namespace="bench", workflow_id=f"{run}-{caller}"))

        yield Subject(save, load, servers)


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[Subject]:
    """Open a folder of plain files: each is written, synced and renamed, then the folder is synced."""
    with ThreadPoolExecutor(32) as threads:
        loop = asyncio.get_running_loop()

        def save(caller: int) -> None:
            home = folder / str(caller)
            home.mkdir(exist_ok=True)
            temporary = home / "temporary"
            with temporary.open("wb") as file:
                file.write(PAYLOAD)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(home / "newest")
            descriptor = os.open(home, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

        yield Subject(
            lambda caller: loop.run_in_executor(threads, save, caller),
            lambda caller: loop.run_in_executor(threads, (folder / str(caller) / "newest").read_bytes),
        )


@asynccontextmanager
async def saves(opened: AbstractAsyncContextManager[Saver], *servers: int) -> AsyncIterator[Subject]:
    """Open a saver of LangGraph, called without a graph."""
    run = uuid.uuid4().hex[:8]
    numbers = count(1)

    def config(caller: int) -> Any:
        return {"configurable": {"thread_id": f"{run}-{caller}", "checkpoint_ns": ""}}

    async with opened as saver:

        def save(caller: int) -> Any:
            number = next(numbers)
            versions: Any = {"state": f"{number:032}.0"}
            checkpoint = {**empty_checkpoint(), "channel_values": {"state": PAYLOAD}, "channel_versions": versions}
            return saver.aput(config(caller), checkpoint, {"source": "loop", "step": number}, versions)  # type: ignore[arg-type]

        yield Subject(save, lambda caller: saver.aget_tuple(config(caller)), servers)


@asynccontextmanager
async def aioboto3_objects(endpoint: str, bucket: str) -> AsyncIterator[Subject]:
    """Open a bucket with aioboto3, for plain PUT and GET."""
    run = uuid.uuid4().hex[:8]
    async with client_of(endpoint) as client:

        async def load(caller: int) -> bytes:
            answer = await client.get_object(Bucket=bucket, Key=f"{run}/{caller}")
            async with answer["Body"]:
                return await answer["Body"].read()

        yield Subject(
            lambda caller: client.put_object(Bucket=bucket, Key=f"{run}/{caller}", Body=PAYLOAD),
            load,
        )


@asynccontextmanager
async def obstore_objects(endpoint: str, bucket: str) -> AsyncIterator[Subject]:
    """Open a bucket with obstore, for plain PUT and GET."""
    run = uuid.uuid4().hex[:8]
    store = store_of(endpoint, bucket)

    async def save(caller: int) -> object:
        return await obstore.put_async(store, f"{run}/{caller}", PAYLOAD, use_multipart=False)

    async def load(caller: int) -> object:
        return await (await obstore.get_async(store, f"{run}/{caller}")).bytes_async()

    yield Subject(save, load)


def client_of(endpoint: str) -> Any:
    """Return a client of aioboto3 that is not open yet."""
    config = Config(max_pool_connections=_CONNECTIONS, request_checksum_calculation="when_required")
    return aioboto3.Session().client("s3", endpoint_url=endpoint, config=config)


def store_of(endpoint: str, bucket: str) -> Any:
    """Return a bucket as a store of obstore. Region and credentials come from the environment."""
    return obstore.store.S3Store(bucket, config={"endpoint": endpoint}, client_options={"allow_http": True})
