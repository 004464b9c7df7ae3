"""The start and the end of a server, as its callers see them."""

import asyncio
import json

import grpc
import holdfast
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.stores.memory import MemoryStore

from tests.support.damage import damage_newest_marker
from tests.support.servers import start
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)


async def test_a_call_in_progress_finishes_after_sigterm_and_the_server_exits_with_0(tmp_path):
    process, target = start(tmp_path.as_uri())
    data = bytes(range(256)) * 100_000
    loop, half_way, may_go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def progress(done, total):
        if done >= total // 2 and not half_way.is_set():
            loop.call_soon_threadsafe(half_way.set)
            asyncio.run_coroutine_threadsafe(may_go_on.wait(), loop).result()

    async with holdfast.AsyncClient(target, timeout=20) as client:
        save = asyncio.create_task(client.save("n", "w", data, format=FORMAT, progress=progress))
        await half_way.wait()
        channel = grpc.aio.insecure_channel(target)
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert await watched.read() == health_pb2.HealthCheckResponse(status="SERVING")
        process.terminate()
        assert await watched.read() == health_pb2.HealthCheckResponse(status="NOT_SERVING")
        may_go_on.set()
        saved = await save
        await channel.close()
    assert await asyncio.to_thread(process.wait, 20) == 0
    process, target = await asyncio.to_thread(start, tmp_path.as_uri())
    async with holdfast.AsyncClient(target) as client:
        assert (await client.load("n", "w", saved.checkpoint_id)).data == data
    process.terminate()
    assert process.wait(20) == 0


async def test_health_and_reflection_are_served_beside_the_api(served):
    def ask():
        with grpc.insecure_channel(served.target) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            return answer.status, set(ProtoReflectionDescriptorDatabase(channel).get_services())

    status, services = await asyncio.to_thread(ask)
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert {"holdfast.v1.CheckpointService", "grpc.health.v1.Health"} <= services


@pytest.mark.parametrize(
    ("manifest", "words"), [(b'{"layoutVersion": 99}', "layout 99"), (b"no JSON", "cannot be read")]
)
async def test_a_store_that_a_newer_server_wrote_is_refused_at_start(manifest, words):
    store = MemoryStore()
    await store.put_if_absent("holdfast.json", manifest)
    with pytest.raises(HoldfastError, match=words):
        async with serving(Config(listen="127.0.0.1:0", store="file:///unused"), store):
            pass


async def test_an_address_that_is_taken_is_named_with_the_cause(served):
    with pytest.raises(OSError, match=f"cannot listen on {served.target}: Address already in use"):
        async with serving(Config(listen=served.target, store="file:///unused"), MemoryStore()):
            pass


async def test_logs_are_json_lines_with_the_trace_id(tmp_path):
    log = tmp_path / "log"
    async with serving_watched(tmp_path) as served, holdfast.AsyncClient(served.target) as client:
        await client.save("n", "w", b"x", format=holdfast.Format("f", 1))
    damage_newest_marker(served.folder, "w")
    with log.open("w") as stderr:
        process, target = start(served.folder.as_uri(), stderr=stderr)
        async with holdfast.AsyncClient(target) as client:
            # Every engine begins with such a call, so it is not logged.
            with pytest.raises(holdfast.WorkflowNotFoundError):
                await client.load("n", "nobody")
            with pytest.raises(holdfast.CheckpointCorruptedError) as caught:
                await client.load("n", "w")
        process.terminate()
        assert process.wait(20) == 0
    [line] = [json.loads(line) for line in log.read_text().splitlines() if "call failed" in line]
    assert line["trace_id"] == caught.value.trace_id
    assert line["reason"] == "CHECKPOINT_CORRUPTED"
    assert line["level"] == "warning"
    assert line["method"] == "holdfast.v1.CheckpointService/Load"


async def test_health_watches_do_not_delay_the_end(tmp_path):
    process, target = start(tmp_path.as_uri(), "--drain-seconds", "60")
    async with grpc.aio.insecure_channel(target) as channel:
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await watched.read()
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0
