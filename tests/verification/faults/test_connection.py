"""The client over a connection that breaks."""

import asyncio

import holdfast
import pytest
from holdfast._core.retry import RetryBucket
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.protocol.payload.parts import PartUpload

from tests.support.cutting_proxy import CuttingProxy

FORMAT = holdfast.Format("test", 1)
LARGE = bytes(range(256)) * 50_000


@pytest.fixture
async def proxy(served):
    async with CuttingProxy(served.target).running() as proxy:
        yield proxy


@pytest.fixture
async def through(proxy):
    async with holdfast.AsyncClient(f"127.0.0.1:{proxy.port}", timeout=20) as client:
        yield client


async def test_a_load_continues_where_its_stream_was_cut(client, through, proxy):
    await client.save("n", "w", LARGE, format=FORMAT)
    asked = []
    stream = through._transport.stub.LoadStream

    def watched(request: api.LoadStreamRequest, **options):
        asked.append([each.offset for each in request.ranges])
        return stream(request, **options)

    through._transport.stub.LoadStream = watched
    proxy.cut_answers_after.append(6_000_000)
    assert (await through.load("n", "w")).data == LARGE
    assert proxy.cuts == 1
    assert asked[0] == []
    assert asked[1][0] > 1_000_000


@pytest.fixture
def sent(monkeypatch):
    """The sizes of the chunks that the server received, over all streams."""
    sizes = []
    write = PartUpload.write

    async def counted(self, data, checksum=None):
        await write(self, data, checksum)
        sizes.append(len(data))

    monkeypatch.setattr(PartUpload, "write", counted)
    return sizes


async def test_a_save_whose_stream_was_cut_continues_there_and_commits_once(client, through, proxy, sent):
    proxy.cut_requests_after.append(6_000_000)
    saved = await through.save("n", "w", LARGE, format=FORMAT)
    assert proxy.cuts == 1
    assert sum(sent) == len(LARGE)
    assert (await client.load("n", "w")).data == LARGE
    assert [each.revision async for each in client.list("n", "w")] == [saved.revision] == [1]


async def test_a_save_of_many_parts_that_was_cut_twice_loses_none(client, through, proxy, sent):
    parts = {"empty": b"", "one": LARGE[:3_000_000], "none": b"", "two": LARGE[5:5_000_000], "last": b"x"}
    proxy.cut_requests_after += [2_500_000, 4_000_000]
    await through.save("n", "w", parts, format=FORMAT)
    assert proxy.cuts == 2
    assert sum(sent) == sum(map(len, parts.values()))
    assert (await client.load("n", "w")).parts == parts


async def test_another_process_with_the_same_request_id_begins_again(client, through, proxy, sent):
    proxy.cut_requests_after.append(6_000_000)
    through._transport._caller._bucket = RetryBucket(holdfast.RetryPolicy(burst_retries=0))
    with pytest.raises(holdfast.ServerUnavailableError):
        await through.save("n", "w", LARGE, format=FORMAT, request_id="r")
    other = LARGE[::-1]
    assert (await client.save("n", "w", other, format=FORMAT, request_id="r")).revision == 1
    assert (await client.load("n", "w")).data == other


async def test_the_synchronous_client_continues_as_well(client, proxy, sent):
    def save():
        with holdfast.Client(f"127.0.0.1:{proxy.port}", timeout=20) as through:
            return through.save("n", "w", LARGE, format=FORMAT)

    proxy.cut_requests_after.append(6_000_000)
    assert (await asyncio.to_thread(save)).revision == 1
    assert proxy.cuts == 1
    assert sum(sent) == len(LARGE)
    assert (await client.load("n", "w")).data == LARGE


async def test_a_large_save_whose_commit_is_unknown_sends_nothing_twice(client, served, sent):
    await client.save("n", "w", b"first", format=FORMAT)
    sent.clear()
    attempts = []
    served.store.lose_request = lambda operation, key: "/log/" in key and len(attempts) == 1
    policy = holdfast.RetryPolicy(attempt_timeout_seconds=1)
    async with holdfast.AsyncClient(served.target, timeout=20, retry=policy) as impatient:
        stream = impatient._transport.stub.SaveStream

        def counted(*arguments, **options):
            attempts.append(options)
            return stream(*arguments, **options)

        impatient._transport.stub.SaveStream = counted
        assert (await impatient.save("n", "w", LARGE, format=FORMAT)).revision == 2
    assert len(attempts) == 2
    assert sum(sent) == len(LARGE)


async def test_an_answer_lost_after_the_commit_is_replayed(client, through, proxy, served):
    def cut_the_next_answer(operation: str, key: str) -> bool:
        if operation == "put_if_absent" and not proxy.cuts and not proxy.cut_answers_after:
            proxy.cut_answers_after.append(1)
        return False

    served.store.lose_answer = cut_the_next_answer
    saved = await through.save("n", "w", b"x", format=FORMAT)
    assert proxy.cuts == 1
    assert saved.revision == 1
    assert saved.replayed
    assert [each.revision async for each in client.list("n", "w")] == [1]


async def test_a_deadline_that_is_too_short_is_reported_as_such(through, served):
    # A fast server reports COMMIT_UNKNOWN before the client's own deadline passes.
    with pytest.raises((holdfast.DeadlineExceededError, holdfast.CommitUnknownError)) as caught:
        await through.save("n", "w", b"x", format=FORMAT, timeout=0.0001)
    assert caught.value.trace_id


async def test_an_unreachable_server_is_reported_with_a_trace_id(served):
    async with holdfast.AsyncClient("127.0.0.1:9", timeout=0.5) as client:
        with pytest.raises((holdfast.ServerUnavailableError, holdfast.DeadlineExceededError)) as caught:
            await client.save("n", "w", b"x", format=FORMAT)
    assert len(caught.value.trace_id) == 32
