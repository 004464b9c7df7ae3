"""Saves and loads of 4 KiB, on Holdfast and on the stores it is compared with."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioboto3
import holdfast
from botocore.config import Config
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from langgraph.checkpoint.base import empty_checkpoint

from benchmarks.measure import Operation
from benchmarks.savers import Saver

PAYLOAD = os.urandom(4096)
FORMAT = holdfast.Format("bench", 1)


@dataclass(frozen=True)
class Subject:
    """A store under measurement: one save, and one load of the caller's newest save."""

    save: Operation
    load: Operation


@asynccontextmanager
async def sdk(target: str) -> AsyncIterator[Subject]:
    """Open Holdfast, or the service that does nothing, with the SDK."""
    run = uuid.uuid4().hex[:8]
    async with holdfast.AsyncClient(target) as client:
        yield Subject(
            lambda caller, count: client.save("bench", f"{run}-{caller}", PAYLOAD, format=FORMAT),
            lambda caller, count: client.load("bench", f"{run}-{caller}"),
        )


@asynccontextmanager
async def stub(target: str) -> AsyncIterator[Subject]:
    """Open the same with plain gRPC, so that the server takes a larger share of the time."""
    import grpc  # noqa: PLC0415 - used here only

    run = uuid.uuid4().hex[:8]
    async with grpc.aio.insecure_channel(target) as channel:
        service: Any = CheckpointServiceStub(channel)

        def save(caller: int, count: int) -> Any:
            header = checkpoint_pb2.SaveHeader(
                namespace="bench",
                workflow_id=f"{run}-{caller}",
                request_id=f"{count}",
                format=checkpoint_pb2.Format(name="bench", version=1),
            )
            return service.Save(api.SaveRequest(header=header, parts=[checkpoint_pb2.Part(data=PAYLOAD)]))

        yield Subject(
            save,
            lambda caller, count: service.Load(api.LoadRequest(namespace="bench", workflow_id=f"{run}-{caller}")),
        )


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[Subject]:
    """Open a folder of plain files: each is written, synced and renamed, then the folder is synced."""
    with ThreadPoolExecutor(32) as threads:
        loop = asyncio.get_running_loop()

        def save(caller: int, count: int) -> None:
            home = folder / str(caller)
            home.mkdir(exist_ok=True)
            temporary = home / "temporary"
            with temporary.open("wb") as file:
                file.write(PAYLOAD)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(home / f"{count}")
            descriptor = os.open(home, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

        yield Subject(
            lambda caller, count: loop.run_in_executor(threads, save, caller, count),
            lambda caller, count: loop.run_in_executor(threads, (folder / str(caller) / "0").read_bytes),
        )


@asynccontextmanager
async def saves(opened: AbstractAsyncContextManager[Saver]) -> AsyncIterator[Subject]:
    """Open a saver of LangGraph, called without a graph."""
    run = uuid.uuid4().hex[:8]

    def config(caller: int) -> Any:
        return {"configurable": {"thread_id": f"{run}-{caller}", "checkpoint_ns": ""}}

    async with opened as saver:

        def save(caller: int, count: int) -> Any:
            versions: Any = {"state": f"{count + 1:032}.0"}
            checkpoint = {**empty_checkpoint(), "channel_values": {"state": PAYLOAD}, "channel_versions": versions}
            return saver.aput(config(caller), checkpoint, {"source": "loop", "step": count}, versions)  # type: ignore[arg-type]

        yield Subject(save, lambda caller, count: saver.aget_tuple(config(caller)))


@asynccontextmanager
async def s3_objects(endpoint: str, bucket: str) -> AsyncIterator[Subject]:
    """Open a bucket with aioboto3, for plain PUT and GET."""
    run = uuid.uuid4().hex[:8]
    config = Config(max_pool_connections=64, request_checksum_calculation="when_required")
    async with aioboto3.Session().client("s3", endpoint_url=endpoint, config=config) as client:

        async def load(caller: int, count: int) -> bytes:
            answer = await client.get_object(Bucket=bucket, Key=f"{run}/{caller}/0")
            async with answer["Body"]:
                return await answer["Body"].read()

        yield Subject(
            lambda caller, count: client.put_object(Bucket=bucket, Key=f"{run}/{caller}/{count}", Body=PAYLOAD),
            load,
        )
