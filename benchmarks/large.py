"""Saves and loads of 1 GiB: MB/s, CPU time and peak memory, compared with multipart uploads and `cp`."""

import asyncio
import os
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import aioboto3
import holdfast
from botocore.config import Config

from benchmarks.measure import cpu_seconds, reset_peak, seconds_of
from tests.support.servers import memory_mib

SIZE_BYTES = 1 << 30
FORMAT = holdfast.Format("bench", 1)


def write_input(path: Path) -> None:
    """Write a file of 1 GiB that cannot be compressed."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(SIZE_BYTES >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer of 1 GiB.

    Attributes:
        speed: MB/s.
        caller_seconds: the CPU time of this process.
        server_seconds: that of the server of Holdfast, 0 without one.
        caller_mib: how much the memory of this process rose.

    """

    speed: float
    caller_seconds: float
    server_seconds: float
    caller_mib: float


async def through_holdfast(target: str, pid: int, source: Path, copy: Path) -> tuple[dict[str, Transfer], float]:
    """Return a save of a file, a load into a file and a load into memory, and the growth of the server's memory."""
    workflow_id = uuid.uuid4().hex
    before = memory_mib(pid, "VmRSS")
    async with holdfast.AsyncClient(target, timeout=600) as client:
        with source.open("rb") as file:
            saving = await _measured(client.save("bench", workflow_id, file, format=FORMAT), pid)
        transfers = {
            "save": saving,
            "load to a file": await _measured(client.load_to("bench", workflow_id, copy), pid),
            "load": await _measured(client.load("bench", workflow_id), pid),
        }
    return transfers, memory_mib(pid, "VmHWM") - before


async def by_multipart(endpoint: str, bucket: str, source: Path, target: Path) -> tuple[Transfer, Transfer]:
    """Return aioboto3's managed upload of a file and its download into a file."""
    key = uuid.uuid4().hex
    config = Config(max_pool_connections=64, request_checksum_calculation="when_required")
    async with aioboto3.Session().client("s3", endpoint_url=endpoint, config=config) as client:
        with source.open("rb") as file:
            saving = await _measured(client.upload_fileobj(file, bucket, key))
        with target.open("wb") as file:
            loading = await _measured(client.download_fileobj(bucket, key, file))
    return saving, loading


async def _measured(transfer: Awaitable[object], server: int | None = None) -> Transfer:
    own = os.getpid()
    reset_peak()
    before = memory_mib(own, "VmRSS")
    own_cpu, server_cpu = cpu_seconds(own), cpu_seconds(server) if server else 0.0
    seconds = await seconds_of(transfer)
    return Transfer(
        _speed(seconds),
        cpu_seconds(own) - own_cpu,
        cpu_seconds(server) - server_cpu if server else 0.0,
        memory_mib(own, "VmHWM") - before,
    )


async def by_cp(source: Path, target: Path) -> float:
    """Return the MB/s of `cp` with `sync`."""

    async def copy() -> None:
        process = await asyncio.create_subprocess_shell(f"cp '{source}' '{target}' && sync '{target}'")
        await process.wait()

    return _speed(await seconds_of(copy()))


def _speed(seconds: float) -> float:
    return SIZE_BYTES / seconds / 1e6
