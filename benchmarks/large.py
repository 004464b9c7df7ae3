"""One save and one load of 1 GiB: MB/s and peak memory, compared with multipart uploads and `cp`."""

import asyncio
import os
import uuid
from pathlib import Path

import aioboto3
import holdfast
from botocore.config import Config

from benchmarks.measure import reset_peak, seconds_of
from tests.support.servers import memory_mib

SIZE_BYTES = 1 << 30
FORMAT = holdfast.Format("bench", 1)


def write_input(path: Path) -> None:
    """Write a file of 1 GiB that cannot be compressed."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(SIZE_BYTES >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])


async def through_holdfast(target: str, pid: int, source: Path) -> tuple[float, float, float]:
    """Return the MB/s of a save and of a load, and the growth of the server's memory in MiB."""
    workflow_id = uuid.uuid4().hex
    before = memory_mib(pid, "VmRSS")
    async with holdfast.AsyncClient(target, timeout=600) as client:
        with source.open("rb") as file:
            saving = await seconds_of(client.save("bench", workflow_id, file, format=FORMAT))
        loading = await seconds_of(client.load("bench", workflow_id))
    return _speed(saving), _speed(loading), memory_mib(pid, "VmHWM") - before


async def by_multipart(endpoint: str, bucket: str, source: Path, target: Path) -> tuple[float, float, float]:
    """Return the MB/s of aioboto3's managed upload and download, and the growth of this process's memory in MiB."""
    key = uuid.uuid4().hex
    config = Config(max_pool_connections=64, request_checksum_calculation="when_required")
    async with aioboto3.Session().client("s3", endpoint_url=endpoint, config=config) as client:
        before = memory_mib(os.getpid(), "VmRSS")
        reset_peak()
        with source.open("rb") as file:
            saving = await seconds_of(client.upload_fileobj(file, bucket, key))
        with target.open("wb") as file:
            loading = await seconds_of(client.download_fileobj(bucket, key, file))
        lift = memory_mib(os.getpid(), "VmHWM") - before
    return _speed(saving), _speed(loading), lift


async def by_cp(source: Path, target: Path) -> float:
    """Return the MB/s of `cp` with `sync`."""

    async def copy() -> None:
        process = await asyncio.create_subprocess_shell(f"cp '{source}' '{target}' && sync '{target}'")
        await process.wait()

    return _speed(await seconds_of(copy()))


def _speed(seconds: float) -> float:
    return SIZE_BYTES / seconds / 1e6
