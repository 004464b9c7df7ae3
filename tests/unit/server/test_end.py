"""A server ends within the drain and a second, whatever its collector or its callers do."""

import asyncio
import contextlib
import socket
import time

import grpc
import holdfast
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.servers import start

FORMAT = holdfast.Format("f", 1)


@contextlib.contextmanager
def silent_collector():
    """Run a collector that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("collector", ["silent", "refusing"])
def test_a_dead_collector_does_not_delay_the_end(tmp_path, workers, collector):
    with silent_collector() as endpoint:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint if collector == "silent" else "http://127.0.0.1:9"}
        process, target = start(
            tmp_path.as_uri(), "--drain-seconds", "1", "--workers", workers, environment=environment
        )
        with holdfast.Client(target) as client:
            for _ in range(10):
                client.save("n", "w", b"x", format=FORMAT)
        began = time.monotonic()
        process.terminate()
        assert process.wait(30) == 0
        # A busy machine may take a moment longer to end two processes.
        assert time.monotonic() - began < 2 + 1.0


async def test_a_stuck_call_a_health_watch_and_a_dead_collector_together_do_not_delay_the_end(tmp_path):
    with silent_collector() as endpoint:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        process, target = await asyncio.to_thread(
            start, tmp_path.as_uri(), "--drain-seconds", "2", environment=environment
        )
        async with grpc.aio.insecure_channel(target) as channel, holdfast.AsyncClient(target, timeout=60) as client:
            watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            await watched.read()
            half_way, loop = asyncio.Event(), asyncio.get_running_loop()
            may_go_on = asyncio.Event()

            def progress(done, total):
                if not half_way.is_set():
                    loop.call_soon_threadsafe(half_way.set)
                    asyncio.run_coroutine_threadsafe(may_go_on.wait(), loop).result()

            save = asyncio.create_task(
                client.save("n", "w", bytes(20 << 20), format=FORMAT, progress=progress, timeout=8)
            )
            await half_way.wait()
            began = time.monotonic()
            process.terminate()
            assert await asyncio.to_thread(process.wait, 30) == 0
            took = time.monotonic() - began
            may_go_on.set()
            with contextlib.suppress(holdfast.HoldfastError):
                await save
        assert 1.5 < took < 3 + 1.0


async def test_a_working_collector_receives_the_last_spans(tmp_path):
    received = asyncio.Event()

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        if length:
            await reader.readexactly(length)
        if b"/v1/traces" in head:
            received.set()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as collector:
        endpoint = f"http://127.0.0.1:{collector.sockets[0].getsockname()[1]}"
        process, target = await asyncio.to_thread(
            start, tmp_path.as_uri(), "--drain-seconds", "5", environment={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        )
        async with holdfast.AsyncClient(target) as client:
            await client.save("n", "w", b"x", format=FORMAT)
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert received.is_set()
