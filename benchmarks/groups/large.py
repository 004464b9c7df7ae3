"""Saves and loads of 1 GiB: speed, CPU time and peak memory, beside plain transfers of both clients of S3 and `cp`."""

import asyncio
import os
import statistics
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import holdfast
import obstore

from benchmarks import servers, subjects
from benchmarks.groups.small_s3 import CLIENTS
from benchmarks.measure import reset_peak, seconds_of, tree_cpu_seconds
from benchmarks.report import print_table
from benchmarks.servers import S3
from benchmarks.setting import EMBEDDED, REMOTE, Setting
from tests.support.servers import memory_mib

SIZE_BYTES = 1 << 30
FORMAT = holdfast.Format("bench", 1)
_SAVE, _LOAD, _LOAD_TO_MEMORY = "save of a file", "load to a file", "load to memory"


@dataclass(slots=True)
class Transfers:
    """The transfers of one kind.

    Attributes:
        seconds: how long each took.
        caller_seconds: the CPU time of this process in all of them.
        server_seconds: that of the server of Holdfast, 0 without one.
        caller_mib: how much the memory of this process rose at most.
        server_mib: that of the server.

    """

    seconds: list[float] = field(default_factory=list)
    caller_seconds: float = 0.0
    server_seconds: float = 0.0
    caller_mib: float = 0.0
    server_mib: float = 0.0


Found = dict[str, dict[str, Transfers]]


async def run(setting: Setting) -> None:
    """Measure and print them."""
    folder = setting.folder / "large"
    folder.mkdir()
    source, copy = folder / "input", folder / "copy"
    write_input(source)
    found: Found = {}
    for _ in range(setting.effort.rounds):
        await _on_files(folder, source, copy, found)
    _print("1 GiB on file://", found, "cp with sync")
    if setting.s3 is None:
        return
    found = {}
    for _ in range(setting.effort.rounds):
        await _on_s3(setting.s3, source, copy, found)
    _print("1 GiB on s3://", found, *(f"plain {name}" for name in CLIENTS))
    source.unlink()


def write_input(path: Path) -> None:
    """Write a file of 1 GiB that cannot be compressed."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(SIZE_BYTES >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])


async def _on_files(folder: Path, source: Path, copy: Path, found: Found) -> None:
    cp = f"cp '{source}' '{copy}' && sync '{copy}'"
    for verb in (_SAVE, _LOAD):
        await _measured(found, verb, "cp with sync", _shell(cp), None)
    store = folder / "store"
    with servers.holdfast(store.as_uri()) as server:
        await _through_holdfast(found, REMOTE, server, source, copy)
    await _shell(f"rm -r '{store}'")
    await _through_holdfast(found, EMBEDDED, (store.as_uri(), None), source, copy)
    await _shell(f"rm -r '{store}'")


async def _on_s3(s3: S3, source: Path, copy: Path, found: Found) -> None:
    """Transfer by each client in turn, and delete what was stored: the server of S3 keeps it in memory."""
    key = uuid.uuid4().hex
    async with subjects.client_of(s3.endpoint) as client:
        with source.open("rb") as file:
            await _measured(found, _SAVE, "plain aioboto3", client.upload_fileobj(file, s3.bucket, key), None)
        with copy.open("wb") as file:
            await _measured(found, _LOAD, "plain aioboto3", client.download_fileobj(s3.bucket, key, file), None)
    store = subjects.store_of(s3.endpoint, s3.bucket)
    s3.delete_all()
    await _measured(found, _SAVE, "plain obstore", obstore.put_async(store, key, source), None)
    await _measured(found, _LOAD, "plain obstore", _download(store, key, copy), None)
    for s3_client in CLIENTS:
        s3.delete_all()
        with servers.holdfast(f"s3://{s3.bucket}/large", s3_client=s3_client) as server:
            await _through_holdfast(found, f"Holdfast, {s3_client}", server, source, copy)
    s3.delete_all()


async def _download(store: Any, key: str, copy: Path) -> None:
    with copy.open("wb") as file:
        async for chunk in (await obstore.get_async(store, key)).stream(min_chunk_size=8 << 20):
            await asyncio.to_thread(file.write, chunk)


async def _through_holdfast(found: Found, name: str, server: tuple[str, int | None], source: Path, copy: Path) -> None:
    target, pid = server
    workflow_id = uuid.uuid4().hex
    async with holdfast.AsyncClient(target, timeout=600) as client:
        with source.open("rb") as file:
            await _measured(found, _SAVE, name, client.save("bench", workflow_id, file, format=FORMAT), pid)
        await _measured(found, _LOAD, name, client.load_to("bench", workflow_id, copy), pid)
        await _measured(found, _LOAD_TO_MEMORY, name, client.load("bench", workflow_id), pid)


async def _measured(found: Found, verb: str, name: str, transfer: Awaitable[object], server: int | None) -> None:
    own = os.getpid()
    transfers = found.setdefault(verb, {}).setdefault(name, Transfers())
    reset_peak()
    before, served = memory_mib(own, "VmRSS"), memory_mib(server, "VmRSS") if server else 0.0
    # Children are the copies by `cp`.
    own_cpu, server_cpu = sum(os.times()[:4]), tree_cpu_seconds(server) if server else 0.0
    transfers.seconds.append(await seconds_of(transfer))
    transfers.caller_seconds += sum(os.times()[:4]) - own_cpu
    transfers.caller_mib = max(transfers.caller_mib, memory_mib(own, "VmHWM") - before)
    if server:
        transfers.server_seconds += tree_cpu_seconds(server) - server_cpu
        transfers.server_mib = max(transfers.server_mib, memory_mib(server, "VmHWM") - served)


async def _shell(command: str) -> None:
    process = await asyncio.create_subprocess_shell(command)
    assert await process.wait() == 0, command


def _print(title: str, found: Found, *beside: str) -> None:
    for verb, by_name in found.items():
        print(f"\n{title}, {verb}\n")
        known = [name for name in beside if name in by_name or (verb == _LOAD_TO_MEMORY and name in found[_LOAD])]
        theirs = {name: (by_name if name in by_name else found[_LOAD])[name] for name in known}
        columns = ["", "MB/s", *(f"of {name}" for name in known)]
        columns += ["CPU of caller, s", "CPU of server, s", "memory of caller, MiB", "of server"]
        print_table(columns, [[name, *_cells(each, theirs)] for name, each in by_name.items()])


def _cells(transfers: Transfers, theirs: dict[str, Transfers]) -> list[str]:
    count = len(transfers.seconds)
    ratios = [
        statistics.median(other / own for own, other in zip(transfers.seconds, each.seconds, strict=True))
        for each in theirs.values()
    ]
    return [
        f"{SIZE_BYTES / statistics.median(transfers.seconds) / 1e6:.0f}",
        *(f"{ratio:.2f}" for ratio in ratios),
        f"{transfers.caller_seconds / count:.2f}",
        f"{transfers.server_seconds / count:.2f}",
        f"{transfers.caller_mib:.0f}",
        f"{transfers.server_mib:.0f}",
    ]
