"""Quotas of what is stored: counted by collections, held between them, and never in the way of deletions and fences."""

import asyncio
import os

import grpc
import holdfast
import pytest
from crc32c import crc32c
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server import scheduled_gc
from holdfast_server.api.stored import Count, Reservation, Stored
from holdfast_server.config import ConfigError
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys, namespace_of_prefix, namespace_prefix
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust.quotas import Quota, Quotas

from tests.support.watched import serving_watched
from tests.support.workflows import Workflow

FORMAT = holdfast.Format("f", 1)
KEYS = WorkflowKeys("n", "w")


def stored(**quota):
    quotas = Quotas(entries=[(("n",), Quota(**quota))])
    return Stored(lambda: quotas)


def counted(figures, *workflows, prefix="ns/n/wf/"):
    count = figures.counting()
    for stored_bytes in workflows:
        count.add(prefix, stored_bytes, True)
    count.finish()


def refusal(call, *arguments):
    with pytest.raises(HoldfastError) as caught:
        call(*arguments)
    assert caught.value.reason is Reason.QUOTA_EXCEEDED
    return caught.value


def test_the_prefix_of_a_namespace_follows_from_that_of_a_workflow():
    for name in ("n", "wf", "ns", "a%2Fb", "ü", "x" * 128):
        keys = WorkflowKeys(name, "wf")
        assert namespace_of_prefix(keys.prefix) == namespace_prefix(name)


def test_what_was_counted_and_what_was_saved_since_may_not_exceed_the_quota():
    figures = stored(stored_bytes=100)
    counted(figures, 30, 30)
    Reservation(figures, KEYS, 30).take(None)
    error = refusal(Reservation(figures, KEYS, 11).take, None)
    assert error.message == "quota stored_bytes of namespace 'n': the limit is 100, this makes 101"
    assert error.metadata == {"quota": "stored_bytes", "namespace": "n", "limit": "100", "value": "101"}
    Reservation(figures, KEYS, 10).take(None)
    Reservation(figures, WorkflowKeys("other", "w"), 10**9).take(None)


def test_a_save_that_fails_gives_its_room_back_and_one_that_is_stored_smaller_gives_back_the_rest():
    figures = stored(stored_bytes=100, workflows=1)
    failed, small = Reservation(figures, KEYS, 100), Reservation(figures, KEYS, 100)
    failed.take(None)
    refusal(Reservation(figures, KEYS, 1).take, None)
    failed.settle(None)
    small.take(None)
    # It is called again if another writer was faster.
    small.take(None)
    small.settle(40)
    refusal(figures.require, "n", 61)
    figures.require("n", 60)
    assert refusal(figures.require, "n", 1, 1).metadata["quota"] == "workflows"


def test_a_count_replaces_what_was_known_before_it_began_and_keeps_what_was_saved_since():
    figures = stored(stored_bytes=100)
    counted(figures, 90)
    figures.add("n", 5)
    count = figures.counting()
    figures.add("n", 20)
    count.add("ns/n/wf/", 40, True)
    count.finish()
    figures.require("n", 40)
    refusal(figures.require, "n", 41)
    counted(figures)
    counted(figures)
    figures.require("n", 100)
    assert figures._usage == {}


async def test_a_sweep_counts_bytes_and_workflows_that_have_checkpoints():
    log = Log(MemoryStore(), grace_seconds=0.0)
    for name in ("w1", "w2"):
        run = Workflow(log, WorkflowKeys("n", name))
        await run.save(checkpoint_id="c")
    await Workflow(log, WorkflowKeys("wf", "w")).save(checkpoint_id="c")
    await Workflow(log, WorkflowKeys("n", "w2")).delete_workflow()
    found = {}

    def note(prefix, stored_bytes, has_checkpoints):
        count, workflows = found.get(prefix, (0, 0))
        found[prefix] = count + stored_bytes, workflows + has_checkpoints

    # The first one deletes what the deletion has left.
    await sweep(log, Policies({}))
    await sweep(log, Policies({}), on_counted=note)
    sizes = {}
    for each in await log.store.list("ns/"):
        prefix = namespace_of_prefix(each.key)
        sizes[prefix] = sizes.get(prefix, 0) + each.size_bytes
    assert found == {"ns/n/wf/": (sizes["ns/n/wf/"], 1), "ns/wf/wf/": (sizes["ns/wf/wf/"], 1)}


async def test_the_first_collection_comes_soon_if_there_are_quotas(monkeypatch):
    finished = asyncio.Event()
    monkeypatch.setattr(scheduled_gc, "_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(Count, "finish", lambda self: finished.set())
    log = Log(MemoryStore(), grace_seconds=0.0)
    async with (
        scheduled_gc.collecting_garbage(log, Policies({}), 86_400, stored=stored(stored_bytes=1)),
        asyncio.timeout(20),
    ):
        await finished.wait()


async def test_stored_quotas_need_collections(tmp_path):
    (tmp_path / "quotas").write_text("[default]\nstored_bytes = 1")
    with pytest.raises(ConfigError, match="gc_interval_seconds: must not be 0"):
        async with serving_watched(tmp_path, quotas_file=str(tmp_path / "quotas"), gc_interval_seconds=0):
            pass


async def test_a_broken_file_is_named_at_the_start(tmp_path):
    (tmp_path / "quotas").write_text("[default]\nx = 1")
    with pytest.raises(ConfigError, match=r"quotas_file: .*/quotas': default: x: unknown"):
        async with serving_watched(tmp_path, quotas_file=str(tmp_path / "quotas")):
            pass


@pytest.fixture
async def limited(tmp_path):
    """A server whose namespace "full" may store 100 kB."""
    (tmp_path / "quotas").write_text('[[quota]]\nnamespaces = ["full"]\nstored_bytes = 100_000\nworkflows = 3')
    # Compressed, the payloads would take next to nothing.
    async with serving_watched(tmp_path, quotas_file=str(tmp_path / "quotas"), deltas=False) as served:
        yield served


async def test_a_full_namespace_can_delete_fence_and_load_but_not_save(limited):
    async with holdfast.AsyncClient(limited.target) as client:
        saved = [await client.save("full", "w", os.urandom(30_000), format=FORMAT) for _ in range(3)]
        limited.store.requests.clear()
        for size_bytes in (30_000, 2 << 20):
            with pytest.raises(holdfast.QuotaExceededError) as caught:
                await client.save("full", "w", os.urandom(size_bytes), format=FORMAT)
            assert caught.value.metadata["quota"] == "stored_bytes"
            assert caught.value.retry_after_seconds is None
        # Neither was sent again, nor stored.
        assert limited.store.requests["put_if_absent"] == limited.store.requests["put"] == 0
        with pytest.raises(holdfast.QuotaExceededError):
            await client.attach("full", "w", "c", [holdfast.Record("k", b"x" * 20_000)])
        with pytest.raises(holdfast.QuotaExceededError):
            await client.copy_workflow("full", "w", "copy")
        await client.save("other", "w", os.urandom(200_000), format=FORMAT)
        assert len((await client.load("full", "w")).data) == 30_000
        await client.acquire_writer("full", "w")
        await client.delete("full", "w", saved[0].checkpoint_id)
        assert await client.prune("full", "w") == 1
        await client.delete_workflow("full", "w", purge=True)


async def test_the_number_of_workflows_is_limited_and_known_ones_go_on(limited):
    async with holdfast.AsyncClient(limited.target) as client:
        for number in range(3):
            await client.save("full", f"w{number}", b"x", format=FORMAT)
        with pytest.raises(holdfast.QuotaExceededError) as caught:
            await client.save("full", "w3", b"x", format=FORMAT)
        assert caught.value.metadata["quota"] == "workflows"
        # A fence makes a log, but no workflow that counts.
        await client.acquire_writer("full", "w3")
        with pytest.raises(holdfast.QuotaExceededError):
            await client.save("full", "w3", b"x", format=FORMAT)
        await client.save("full", "w2", b"x", format=FORMAT)


async def test_the_retry_of_a_save_that_was_committed_is_answered_though_the_quota_is_full(limited):
    async with holdfast.AsyncClient(limited.target) as client:
        lost = []

        def lose(operation, key):
            if operation == "put_if_absent" and "/log/" in key and not lost:
                lost.append(key)
                return True
            return False

        limited.store.lose_answer = lose
        saved = await client.save("full", "w", os.urandom(90_000), format=FORMAT)
        assert lost
        assert saved.revision == 1
        with pytest.raises(holdfast.QuotaExceededError):
            await client.save("full", "w", os.urandom(90_000), format=FORMAT)


async def stream(stub, data, request_id, attempt):
    """Save a checkpoint as a stream, in a given attempt."""
    header = {"namespace": "full", "workflow_id": "w", "request_id": request_id, "format": {"name": "f", "version": 1}}
    messages = [
        api.SaveStreamRequest(header={**header, "attempt": {"number": attempt, "elapsed": {"seconds": 1}}}),
        api.SaveStreamRequest(chunk={"data": data, "crc32c": crc32c(data)}),
        api.SaveStreamRequest(finish={"size_bytes": len(data)}),
    ]
    return await stub.SaveStream(iter(messages))


async def test_a_later_attempt_of_a_stream_stores_nothing_in_vain_unless_an_earlier_one_was_committed(limited):
    async with grpc.aio.insecure_channel(limited.target) as channel:
        stub = CheckpointServiceStub(channel)
        data = os.urandom(90_000)
        saved = await stream(stub, data, "r1", 1)
        again = await stream(stub, data, "r1", 2)
        assert (again.replayed, again.checkpoint) == (True, saved.checkpoint)
        limited.store.requests.clear()
        for attempt in (1, 2):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream(stub, data, "r2", attempt)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert limited.store.requests["put"] == limited.store.requests["put_if_absent"] == 0


async def test_records_of_a_checkpoint_are_limited(tmp_path):
    (tmp_path / "quotas").write_text("[default]\ncheckpoint_record_bytes = 40_000")
    async with (
        serving_watched(tmp_path, quotas_file=str(tmp_path / "quotas")) as served,
        holdfast.AsyncClient(served.target) as client,
    ):
        for number in range(2):
            await client.attach("n", "w", "c", [holdfast.Record(f"k{number}", b"x")])
        with pytest.raises(holdfast.QuotaExceededError, match="exceed the limit of 40000"):
            await client.attach("n", "w", "c", [holdfast.Record("k2", b"x")])
        await client.attach("n", "w", "c2", [holdfast.Record("k2", b"x")])


async def test_clients_wait_as_a_rate_requires_and_all_calls_succeed(tmp_path):
    (tmp_path / "quotas").write_text("[default]\ncalls_per_second = 40")
    async with (
        serving_watched(tmp_path, quotas_file=str(tmp_path / "quotas")) as served,
        holdfast.AsyncClient(served.target) as client,
        holdfast.AsyncClient(served.target, retry=holdfast.RetryPolicy(burst_retries=0)) as impatient,
    ):
        saving = [asyncio.create_task(client.save("n", f"w{number}", b"x", format=FORMAT)) for number in range(60)]
        refused = await asyncio.gather(
            *(impatient.save("n", "w", b"x", format=FORMAT) for _ in range(60)), return_exceptions=True
        )
        errors = [each for each in refused if isinstance(each, holdfast.OverloadedError)]
        assert errors
        assert errors[0].metadata["quota"] == "calls_per_second"
        assert 0 < errors[0].retry_after_seconds < 2
        assert [each.revision for each in await asyncio.gather(*saving)] == [1] * 60


async def test_streams_wait_as_their_rate_requires(tmp_path):
    (tmp_path / "quotas").write_text("[default]\nbytes_per_second = 20_000_000")
    async with (
        serving_watched(tmp_path, quotas_file=str(tmp_path / "quotas")) as served,
        holdfast.AsyncClient(served.target) as client,
    ):
        await client.save("n", "w", b"x" * (24 << 20), format=FORMAT)
        # The rate is overdrawn: the next call is refused, and sent again.
        assert len((await client.load("n", "w")).data) == 24 << 20
