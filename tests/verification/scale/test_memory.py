"""Payloads of any size pass through the server, and between a caller's files and the server, with bounded memory."""

import asyncio
import filecmp
import io
import sys
from collections.abc import Iterator

import grpc
import holdfast
import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub

from tests.support import object_servers
from tests.support.budget import amount
from tests.support.servers import memory_mib, start

SIZE_BYTES = amount(small=256 << 20, full=2 << 30)
# Azurite keeps everything in memory, and takes a second for a few MiB.
AZURE_BYTES = 256 << 20
LIMIT_MIB = 96


@pytest.fixture
def s3_endpoint(minio_endpoint: str) -> str:
    """MinIO, which keeps objects on the disk: Ceph keeps them in memory, and hangs when that is full."""
    return minio_endpoint


@pytest.fixture
def s3_bucket(s3_endpoint: str, s3_bucket: str) -> Iterator[str]:
    yield s3_bucket
    object_servers.empty_bucket(s3_endpoint, s3_bucket)


class Pattern(io.RawIOBase):
    """A file that is computed while it is read. Each MiB differs from the one before."""

    def __init__(self, size_bytes: int) -> None:
        self._size = size_bytes
        self._position = 0
        self._block = bytes(range(256)) * (1 << 12)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= len(self._block)
        data = (self._position.to_bytes(8, "big") + self._block)[: min(size, self._size - self._position)]
        self._position += len(data)
        return data


@pytest.mark.timeout(600)
async def test_a_payload_of_any_size_raises_the_servers_memory_by_no_more_than_its_limit(store_url):
    size_bytes = AZURE_BYTES if store_url.startswith("az:") else SIZE_BYTES
    process, target = start(store_url)
    try:
        before = memory_mib(process.pid, "VmRSS")
        async with holdfast.AsyncClient(target, timeout=300) as client:
            saved = await client.save("n", "w", Pattern(size_bytes), format=holdfast.Format("test", 1))
        assert saved.size_bytes == size_bytes
        after_save = memory_mib(process.pid, "VmHWM") - before
        received = 0
        async with grpc.aio.insecure_channel(target) as channel:
            async for message in CheckpointServiceStub(channel).LoadStream(
                api.LoadStreamRequest(namespace="n", workflow_id="w")
            ):
                received += len(message.chunk.data)
        assert received == size_bytes
        after_load = memory_mib(process.pid, "VmHWM") - before
        assert max(after_save, after_load) <= LIMIT_MIB, (after_save, after_load)
    finally:
        process.terminate()
        assert process.wait(30) == 0


# Saves a file and loads it into another one, and prints by how many MiB the peak of its memory rose.
CALLER = """
import asyncio, os, sys

import holdfast

from tests.support.servers import memory_mib

async def main(kind, target, source, copy):
    before = memory_mib(os.getpid(), "VmRSS")
    if kind == "AsyncClient":
        async with holdfast.AsyncClient(target, timeout=300) as client:
            with open(source, "rb") as file:
                await client.save("n", "w", {"a": file, "b": b"b"}, format=holdfast.Format("test", 1))
            await client.load_to("n", "w", copy, part="a")
    else:
        with holdfast.Client(target, timeout=300) as client:
            with open(source, "rb") as file:
                client.save("n", "w", {"a": file, "b": b"b"}, format=holdfast.Format("test", 1))
            client.load_to("n", "w", copy, part="a")
    print(memory_mib(os.getpid(), "VmHWM") - before)

asyncio.run(main(*sys.argv[1:]))
"""


# Azurite keeps everything in memory, and is slow.
@pytest.mark.parametrize("store_url", ["file", "s3"], indirect=True)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["AsyncClient", "Client"])
async def test_files_of_any_size_raise_the_memory_of_caller_and_server_by_no_more_than_its_limit(
    kind, store_url, tmp_path
):
    source, copy = tmp_path / "source", tmp_path / "copy"
    with source.open("wb") as file:
        pattern = Pattern(SIZE_BYTES)
        while data := pattern.read(1 << 20):
            file.write(data)
    process, target = start(store_url)
    try:
        before = memory_mib(process.pid, "VmRSS")
        command = [sys.executable, "-c", CALLER, kind, target, str(source), str(copy)]
        caller = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await caller.communicate()
        assert caller.returncode == 0
        of_server = memory_mib(process.pid, "VmHWM") - before
        assert max(float(out), of_server) <= LIMIT_MIB, (float(out), of_server)
        assert filecmp.cmp(source, copy, shallow=False)
    finally:
        process.terminate()
        assert process.wait(30) == 0
        source.unlink()
        copy.unlink(missing_ok=True)
