"""Watches on a server: their messages, their limits, and what ends them."""

import asyncio
from contextlib import AsyncExitStack, ExitStack

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api.admission import Admission
from holdfast_server.api.capacity import Capacity
from holdfast_server.api.metering import Meter
from holdfast_server.api.watching.heads import SharedHeads
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.trust.quotas import Quota, Quotas

from tests.support.watched import nothing, serving_watched
from tests.unit.server.api.calls import WORKFLOW, header

LONG = 60.0
PART = [{"data": b"x"}]


async def save(stub, number):
    await stub.Save(api.SaveRequest(header=header(request_id=f"r{number}", checkpoint_id=f"c{number}"), parts=PART))


async def next_of(watch):
    return await asyncio.wait_for(watch.read(), LONG)


async def ended(watch):
    """Read a watch to its end. Return the reason; "" for OK; gRPC's own words if the server has sent no status."""
    try:
        async with asyncio.timeout(LONG):
            while await watch.read() is not grpc.aio.EOF:
                pass
    except grpc.aio.AioRpcError as error:
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin")
        if details is None:
            return f"gRPC: {error.details()}"
        status = status_pb2.Status.FromString(details)
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        return info.reason
    return ""


async def test_each_message_says_how_far_it_goes_and_where_the_log_ends(tmp_path):
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        for number in range(3):
            await save(stub, number)
        watch = stub.WatchWorkflow(api.WatchWorkflowRequest(after_revision=1, **WORKFLOW))
        first = await next_of(watch)
        assert (list(first.entries), first.position.revision, first.head.revision) == ([], 1, 3)
        second = await next_of(watch)
        while second.position.revision < 3:
            second = await next_of(watch)
        assert second.position == second.head == first.head
        await save(stub, 3)
        third = await next_of(watch)
        assert [each.revision for each in third.entries] == [4]
        assert third.position.revision == third.head.revision == 4
        watch.cancel()


async def test_a_drain_ends_watches_at_once_so_that_they_go_on_elsewhere(tmp_path):
    channel = None
    async with serving_watched(tmp_path) as served:
        channel = grpc.aio.insecure_channel(served.target)
        stub = CheckpointServiceStub(channel)
        watches = [stub.WatchWorkflow(api.WatchWorkflowRequest(**WORKFLOW)) for _ in range(3)]
        for watch in watches:
            await next_of(watch)
        reading = [asyncio.ensure_future(ended(watch)) for watch in watches]
    assert await asyncio.gather(*reading) == ["SHUTTING_DOWN"] * 3
    await channel.close()


async def open_watches(stub, count, namespace="n"):
    """Return watches that have begun, each of a workflow of its own."""
    requests = [api.WatchWorkflowRequest(namespace=namespace, workflow_id=f"w{number}") for number in range(count)]
    watches = [stub.WatchWorkflow(request) for request in requests]
    for watch in watches:
        await next_of(watch)
    return watches


async def begun(stub):
    """Return a watch that has begun, once the server has noticed the end of the one before."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                [watch] = await open_watches(stub, 1)
            except grpc.aio.AioRpcError as refused:
                if refused.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(0.01)
            else:
                return watch


def alone(target):
    """Return a channel with a connection of its own."""
    return grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])


async def test_a_connection_may_use_half_of_what_it_carries_for_watches(tmp_path):
    async with (
        serving_watched(tmp_path, calls_in_flight=8) as served,
        alone(served.target) as channel,
        alone(served.target) as other,
    ):
        stub = CheckpointServiceStub(channel)
        watches = await open_watches(stub, 2)
        assert await ended(stub.WatchWorkflow(api.WatchWorkflowRequest(**WORKFLOW))) == "OVERLOADED"
        await save(stub, 1)
        watches += await open_watches(CheckpointServiceStub(other), 2)
        for watch in watches:
            watch.cancel()


async def test_a_namespace_may_use_half_of_all_watches_and_the_server_takes_four_times_its_calls(tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=2) as served, AsyncExitStack() as stack:
        stubs = [CheckpointServiceStub(await stack.enter_async_context(alone(served.target))) for _ in range(10)]
        one, *stubs = stubs
        watches = []
        for number, stub in enumerate(stubs[:8]):
            watches += await open_watches(stub, 1, namespace=f"n{number // 4}")
            if number == 3:
                refused = one.WatchWorkflow(api.WatchWorkflowRequest(namespace="n0", workflow_id="more"))
                assert await ended(refused) == "OVERLOADED"
        refused = one.WatchWorkflow(api.WatchWorkflowRequest(namespace="another", workflow_id="w"))
        assert await ended(refused) == "OVERLOADED"
        await save(one, 1)
        for watch in watches:
            watch.cancel()


async def test_watches_leave_all_streams_and_calls_to_others(tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=8) as served, AsyncExitStack() as stack:
        stubs = [CheckpointServiceStub(await stack.enter_async_context(alone(served.target))) for _ in range(8)]
        watches = [each for stub in stubs for each in await open_watches(stub, 2)]
        # As many as one namespace may have.
        assert len(watches) == 16
        streams = []
        for number in range(2):
            stream = stubs[number].SaveStream(metadata=(("holdfast-resume", "1"),))
            await stream.write(api.SaveStreamRequest(header=header(request_id=f"s{number}", namespace="n")))
            await asyncio.wait_for(stream.initial_metadata(), LONG)
            streams.append(stream)
        await asyncio.gather(*(save(stub, number) for number, stub in enumerate(stubs[2:6])))
        for each in (*streams, *watches):
            each.cancel()


async def test_watches_that_end_leave_their_places(tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=4) as served, alone(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        for _ in range(20):
            watch = await begun(stub)
            watch.cancel()
            assert await watch.code() is grpc.StatusCode.CANCELLED


async def test_a_quota_of_streams_counts_watches_and_one_of_calls_does_not():
    quotas = Quotas(Quota(calls_in_flight=1, streams_in_flight=2))
    admission = Admission(Capacity(16, 1 << 20), Meter(lambda: quotas))
    with ExitStack() as stack:

        def watch():
            permit = stack.enter_context(admission.permit("c", is_stream=False))
            permit.enter_namespace("n")
            permit.begin_watch()

        watch()
        watch()
        with pytest.raises(HoldfastError, match="streams_in_flight"):
            watch()
    assert (len(admission.shares), admission.calls, admission.watches) == (0, 0, {})
    await admission.idle()


async def test_a_watch_ends_with_ok_before_its_deadline(tmp_path):
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        for _ in range(20):
            found = await ended(stub.WatchWorkflow(api.WatchWorkflowRequest(**WORKFLOW), timeout=0.5))
            # It ends 50 ms before. A busy machine may be later, and then it is watched again.
            if not found.startswith("gRPC: "):
                break
        assert found == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"namespace": ""},
        {"workflow_id": ""},
        {"after_revision": -1},
        {"after_revision": 1},
        {"after_digest": b"short"},
    ],
)
async def test_bad_input_is_refused(tmp_path, fields):
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        assert await ended(stub.WatchWorkflow(api.WatchWorkflowRequest(**(WORKFLOW | fields)))) == "INVALID_REQUEST"


async def test_another_digest_at_the_revision_to_begin_after_is_noticed(tmp_path):
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        for number in range(3):
            await save(stub, number)
        watch = stub.WatchWorkflow(api.WatchWorkflowRequest(after_revision=2, after_digest=b"o" * 32, **WORKFLOW))
        await next_of(watch)
        contradiction = await next_of(watch)
        assert (list(contradiction.entries), contradiction.head.revision) == ([], 2)
        assert contradiction.head.digest not in (b"", b"o" * 32)
        assert await next_of(watch) is grpc.aio.EOF


async def test_watches_that_begin_together_share_the_read_of_the_head(tmp_path, monkeypatch):
    may_read = asyncio.Event()
    waiting = 0
    read = SharedHeads.read

    async def counted(self, keys):
        nonlocal waiting
        waiting += 1
        # Those before the last one wait for the store by then.
        if waiting == 31:
            may_read.set()
        return await read(self, keys)

    async def hold(operation, key):
        await may_read.wait()

    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        await save(stub, 1)
        monkeypatch.setattr(SharedHeads, "read", counted)
        served.store.before = hold
        served.store.requests.clear()
        watches = [stub.WatchWorkflow(api.WatchWorkflowRequest(**WORKFLOW)) for _ in range(31)]
        found = await asyncio.gather(*map(next_of, watches))
        assert [each.head.revision for each in found] == [1] * 31
        assert served.store.requests.total() < 20
        for watch in watches:
            watch.cancel()


async def test_a_watch_that_gives_up_leaves_the_read_to_the_others_and_later_ones_see_newer_heads(tmp_path):
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        await save(stub, 1)
        begun, may_read = asyncio.Event(), asyncio.Event()

        async def hold(operation, key):
            begun.set()
            await may_read.wait()

        served.store.before = hold
        request = api.WatchWorkflowRequest(**WORKFLOW)
        gone, stays = stub.WatchWorkflow(request), stub.WatchWorkflow(request)
        reading = asyncio.ensure_future(next_of(stays))
        await asyncio.wait_for(begun.wait(), LONG)
        gone.cancel()
        may_read.set()
        served.store.before = nothing
        assert (await reading).head.revision == 1
        await save(stub, 2)
        later = stub.WatchWorkflow(request)
        assert (await next_of(later)).head.revision == 2
        for watch in (stays, later):
            watch.cancel()


async def test_a_store_that_fails_ends_the_watches_that_begin(tmp_path):
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        served.store.lose_request = lambda operation, key: True
        found = await asyncio.gather(*(ended(stub.WatchWorkflow(api.WatchWorkflowRequest(**WORKFLOW))) for _ in "123"))
        assert found == ["STORE_UNAVAILABLE"] * 3
        served.store.lose_request = lambda operation, key: False
        watch = stub.WatchWorkflow(api.WatchWorkflowRequest(**WORKFLOW))
        assert (await next_of(watch)).head.revision == 0
        watch.cancel()


async def test_watches_that_begin_again_while_the_store_fails_share_its_failures(tmp_path):
    async with serving_watched(tmp_path) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = CheckpointServiceStub(channel)
        served.store.lose_request = lambda operation, key: True
        request = api.WatchWorkflowRequest(**WORKFLOW)
        assert await ended(stub.WatchWorkflow(request)) == "STORE_UNAVAILABLE"
        for_one = served.store.requests.total()
        served.store.requests.clear()

        async def begin_again():
            for _ in range(2):
                assert await ended(stub.WatchWorkflow(request)) == "STORE_UNAVAILABLE"

        await asyncio.gather(*(begin_again() for _ in range(30)))
        assert served.store.requests.total() < 20 * for_one
